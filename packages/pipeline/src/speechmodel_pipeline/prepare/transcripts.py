"""From what was written to what is trained: one rule after the other, each of them named in report.json where it changed something.

    Unicode      NFC: a letter and its accent are one character
    Invisible    control and format characters, zero-width spaces and soft hyphens among them, are dropped
    Stress       acute and grave accents on Cyrillic letters are dropped (за́мок, дѐла), but for those of ACCENTED_LETTERS
    LowerCase    capitals become small letters
    Apostrophe   typographic apostrophes with a letter on both sides become ' (d'or, п'ять)
    Separator    dashes, underscores and slashes become spaces
    Punctuation  the rest is dropped; marks between two letters, however many, part words (uno,dos; hola...adiós). What stays:
                 a single ' between letters, l·l
    WhiteSpace   any white space becomes one space, none at the ends

Digits and signs (5, %, &, €) are not dropped: they are spoken as words that only a person knows, so the row is rejected.

A character of a given alphabet is neither changed nor dropped by any rule but WhiteSpace, and one that the alphabet has only in
parts (й as и and a breve) is written in these parts.
"""

import unicodedata
from collections.abc import Callable, Iterable, Set
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby

from speechmodel_pipeline.prepare.report import Reason, quoted

APOSTROPHE = "'"
TYPOGRAPHIC_APOSTROPHES = frozenset("’‘ʼʻ`´′＇")
SEPARATORS = frozenset("_/\\")
"""Besides all of Unicode's dashes (Pd)."""
SPOKEN_SIGNS = frozenset("%&@#‰§")
"""Punctuation by Unicode's lights, words by a speaker's."""
STRESS = frozenset("\u0300\u0301")
"""Grave and acute accent, by which dictionaries and readers mark the stress of a Cyrillic word: nobody writes a text so."""
ACCENTED_LETTERS = {
    "bg": frozenset({"ѝ"}),
    "mk": frozenset({"ѐ", "ѝ"}),
    "cnr": frozenset({"с\u0301", "з\u0301"}),
    "sr": frozenset({"с\u0301", "з\u0301"}),
}
"""By language, Cyrillic letters whose accent its orthography asks for: ѝ (her) is another word than и (and), and Montenegrin, also
written sr-ME, has two consonants with an acute. Everywhere else ѐ and ѝ are е and и under stress. Unicode's ѓ and ќ hold no mark."""
TURKIC = frozenset({"tr", "az"})
"""Languages in which I is the capital of ı and İ that of i."""


class Rule(StrEnum):
    """The rules in the order in which they are applied."""

    UNICODE = "Unicode"
    INVISIBLE = "Invisible"
    STRESS = "Stress"
    LOWER_CASE = "LowerCase"
    APOSTROPHE = "Apostrophe"
    SEPARATOR = "Separator"
    PUNCTUATION = "Punctuation"
    WHITE_SPACE = "WhiteSpace"


@dataclass(frozen=True)
class Normalised:
    """A transcript as it is trained."""

    text: str
    rules: tuple[Rule, ...]
    """Those that changed it."""


class TranscriptUnusable(Exception):
    """No rule makes this transcript one that can be trained."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def normalise(given: str, *, language: str = "", alphabet: Set[str] = frozenset()) -> Normalised:
    """`given` by the rules above; `alphabet` is the given one, empty when it is derived.

    Raises TranscriptUnusable for what holds digits or signs, characters outside of a given alphabet, or nothing to learn.
    """
    primary = language.split("-")[0].lower()
    steps: tuple[tuple[Rule, Callable[[str], str]], ...] = (
        (Rule.UNICODE, lambda text: _unicode(text, alphabet)),
        (Rule.INVISIBLE, lambda text: _without(text, alphabet, _invisible)),
        (Rule.STRESS, lambda text: _unstressed(text, alphabet, ACCENTED_LETTERS.get(primary, frozenset()))),
        (Rule.LOWER_CASE, lambda text: _lower(text, alphabet, turkic=primary in TURKIC)),
        (Rule.APOSTROPHE, lambda text: _apostrophes(text, alphabet)),
        (Rule.SEPARATOR, lambda text: "".join(" " if _separates(c) and c not in alphabet else c for c in text)),
        (Rule.PUNCTUATION, lambda text: _punctuation(text, alphabet)),
        (Rule.WHITE_SPACE, lambda text: " ".join(text.split())),
    )
    text, rules = given, []
    for rule, apply in steps:
        changed = apply(text)
        if changed != text:
            rules.append(rule)
        text = changed
    _require_usable(text, given, alphabet)
    return Normalised(text, tuple(rules))


def _unicode(text: str, keep: Set[str]) -> str:
    return "".join(_parts(c, keep) for c in unicodedata.normalize("NFC", text))


def _parts(character: str, keep: Set[str]) -> str:
    parts = unicodedata.normalize("NFD", character)
    return parts if keep and character not in keep and all(part in keep for part in parts) else character


def _invisible(character: str) -> bool:
    return unicodedata.category(character) in ("Cc", "Cf") and not character.isspace()


def _without(text: str, keep: Set[str], unwanted: Callable[[str], bool]) -> str:
    return "".join(c for c in text if c in keep or not unwanted(c))


def _unstressed(text: str, keep: Set[str], accented: Set[str]) -> str:
    plain, letter = [], ""
    for c in text:
        if c in STRESS:
            stress = c not in keep and _cyrillic(letter) and letter.lower() + c not in accented
            plain.append("" if stress else c)
            continue
        if not _mark(c):
            letter = c
        stressed = c in "ѐѝЀЍ" and not {c, c.lower()} & (keep | accented)
        plain.append(unicodedata.normalize("NFD", c)[0] if stressed else c)
    return _unicode("".join(plain), keep)


def _mark(character: str) -> bool:
    return unicodedata.category(character).startswith("M")


def _cyrillic(letter: str) -> bool:
    return unicodedata.name(letter, "").startswith("CYRILLIC") if letter else False


def _lower(text: str, keep: Set[str], *, turkic: bool) -> str:
    if turkic:
        text = "".join(c if c in keep else {"I": "ı", "İ": "i"}.get(c, c) for c in text)
    kept_capitals = any(c in keep and c != c.lower() for c in text)
    # the whole at once where that can be: Σ is ς at the end of a word
    lowered = "".join(c if c in keep else c.lower() for c in text) if kept_capitals else text.lower()
    return _unicode(lowered, keep)


def _apostrophes(text: str, keep: Set[str]) -> str:
    return "".join(
        APOSTROPHE if c in TYPOGRAPHIC_APOSTROPHES and c not in keep and _between_letters(text, at, at + 1) else c
        for at, c in enumerate(text)
    )


def _separates(character: str) -> bool:
    return character in SEPARATORS or unicodedata.category(character) == "Pd"


def _punctuation(text: str, keep: Set[str]) -> str:
    remains = []
    at = 0
    for marks, run in groupby(text, lambda c: c not in keep and _punctuates(c)):
        length = len(list(run))
        remains.append(_remainder(text, at, at + length) if marks else text[at : at + length])
        at += length
    return "".join(remains)


def _punctuates(character: str) -> bool:
    if character in TYPOGRAPHIC_APOSTROPHES:
        return True
    category = unicodedata.category(character)
    return (category.startswith("P") and character not in SPOKEN_SIGNS) or category == "Sk"


def _remainder(text: str, start: int, end: int) -> str:
    """What is left of the punctuation marks from `start` to `end`."""
    if not _between_letters(text, start, end):
        return ""
    marks = text[start:end]
    return marks if marks == APOSTROPHE or text[start - 1 : end + 1] == "l·l" else " "


def _between_letters(text: str, start: int, end: int) -> bool:
    return start > 0 and end < len(text) and _letter(text[start - 1]) and _letter(text[end])


def _letter(character: str) -> bool:
    return unicodedata.category(character)[0] in "LM" and character not in TYPOGRAPHIC_APOSTROPHES


def _require_usable(text: str, given: str, alphabet: Set[str]) -> None:
    if not text:
        problem = "the transcript holds nothing but punctuation" if given.strip() else "the transcript is empty"
        raise TranscriptUnusable(Reason.EMPTY_TRANSCRIPT, f"{problem}; write what is said, or delete the row")
    if spoken := _distinct(c for c in text if c not in alphabet and c != " " and not _letter(c) and not _kept_mark(c)):
        problem = f"{_listed(spoken)} not spelled out in {quoted(given)}"
        raise TranscriptUnusable(
            Reason.NOT_SPELLED_OUT, f"{problem}; write numbers and signs as the words that are spoken"
        )
    if outside := _distinct(c for c in text if alphabet and c not in alphabet):
        raise TranscriptUnusable(
            Reason.OUTSIDE_ALPHABET,
            f"{_listed(outside)} not in the given alphabet; write {quoted(text)} without, or add to dataset.alphabet",
        )


def _kept_mark(character: str) -> bool:
    return character in (APOSTROPHE, "·")


def _distinct(characters: Iterable[str]) -> list[str]:
    return sorted(set(characters))


def _listed(characters: list[str], most: int = 10) -> str:
    named = ", ".join("the space" if c == " " else f"{c!r}" for c in characters[:most])
    more = f" and {len(characters) - most} more" if len(characters) > most else ""
    return f"{named}{more} {'is' if len(characters) == 1 else 'are'}"
