"""A transcript as given -> as it is trained, by rules. report.json names those that changed it:

    Unicode      NFC: a letter and its accent become one character
    Invisible    control and format characters are dropped, also zero-width spaces and soft hyphens
    Stress       acute and grave accents on Cyrillic letters are dropped (за́мок, дѐла), except
                 those of ACCENTED_LETTERS
    LowerCase    capitals become small letters
    Apostrophe   typographic apostrophes between two letters become ' (d'or, п'ять)
    Separator    dashes, underscores and slashes become spaces
    Punctuation  the rest is dropped; one or more marks between two letters become a space (uno,dos;
                 hola...adiós), except a single ' between letters, and l·l
    WhiteSpace   any white space becomes one space, with none at the ends

A row with digits or signs (5, %, &, €) is rejected, because only a person knows how they are
spoken.

No rule but WhiteSpace changes or drops a character of a given alphabet. A character that the
alphabet has only in parts (й as и and a breve) is written in these parts.
"""

import unicodedata
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import StrEnum

import regex

from speechmodel_pipeline.prepare.report import RejectionReason, quoted

APOSTROPHE = "'"
MIDDLE_DOT = "·"
ACCENTED_LETTERS = {
    "bg": frozenset({"ѝ"}),
    "mk": frozenset({"ѐ", "ѝ"}),
    "cnr": frozenset({"с\u0301", "з\u0301"}),
    "sr": frozenset({"с\u0301", "з\u0301"}),
}
"""Cyrillic letters that keep their accent, by language: ѝ (her) is another word than и (and), and
Montenegrin, also written sr-ME, has two consonants with an acute. In all other languages ѐ and ѝ
are е and и under stress. ѓ and ќ are letters of their own in Unicode."""
TURKIC = frozenset({"tr", "az"})
"""Languages in which I is the capital of ı and İ that of i."""

_TYPOGRAPHIC = "’‘ʼʻ`´′＇"
_SPOKEN = "%&@#‰§"
"""Signs that Unicode counts as punctuation and that are spoken as words."""
_STRESS = "\u0300\u0301"
"""Grave and acute accent, by which dictionaries mark the stress of a Cyrillic word."""
_LETTER = rf"[[\p{{L}}\p{{M}}]--[{_TYPOGRAPHIC}]]"
_MARK = rf"[\p{{P}}\p{{Sk}}{_TYPOGRAPHIC}]--[{_SPOKEN}]"
_FLAGS = regex.VERSION1  # set difference in character classes


class Rule(StrEnum):
    """The rules in the order of their application."""

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
    """The rules that changed it."""


class TranscriptUnusable(Exception):
    """The transcript cannot be trained on, and no rule changes that."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def normalise(given: str, *, language: str = "", alphabet: Set[str] = frozenset()) -> Normalised:
    """Apply the rules to `given`. An empty `alphabet` means that it is derived from the
    transcripts.

    Raises TranscriptUnusable for digits or signs, for characters outside of a given alphabet, and
    for an empty result.
    """
    primary = language.split("-")[0].lower()
    steps: tuple[tuple[Rule, Callable[[str], str]], ...] = (
        (Rule.UNICODE, lambda text: _unicode(text, alphabet)),
        (Rule.INVISIBLE, lambda text: _sub(r"[\p{Cc}\p{Cf}]--[\s\x1c-\x1f]", "", text, alphabet)),
        (Rule.STRESS, lambda text: _unstressed(text, alphabet, ACCENTED_LETTERS.get(primary, frozenset()))),
        (Rule.LOWER_CASE, lambda text: _lower(text, alphabet, turkic=primary in TURKIC)),
        (Rule.APOSTROPHE, lambda text: _apostrophes(text, alphabet)),
        (Rule.SEPARATOR, lambda text: _sub(r"[\p{Pd}_/\\]", " ", text, alphabet)),
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


def _without(characters: str, keep: Set[str]) -> str:
    """Return the character class of `characters` that are not in `keep`."""
    return f"[{characters}--[{regex.escape(''.join(sorted(keep)), special_only=False)}]]" if keep else f"[{characters}]"


def _sub(characters: str, replacement: str, text: str, keep: Set[str]) -> str:
    return regex.sub(_without(characters, keep), replacement, text, flags=_FLAGS)


def _unstressed(text: str, keep: Set[str], accented: Set[str]) -> str:
    def plain(match: regex.Match[str]) -> str:
        letter, marks = match[1], match[2]
        return letter + "".join(c for c in marks if c not in _STRESS or c in keep or letter.lower() + c in accented)

    text = regex.sub(r"([\p{Cyrillic}--[\p{M}\p{Lm}]])(\p{M}+)", plain, text, flags=_FLAGS)
    stressed = (c for c in "ѐѝЀЍ" if not {c, c.lower()} & (keep | accented))
    return _unicode(text.translate({ord(c): unicodedata.normalize("NFD", c)[0] for c in stressed}), keep)


def _lower(text: str, keep: Set[str], *, turkic: bool) -> str:
    if turkic:
        text = "".join(c if c in keep else {"I": "ı", "İ": "i"}.get(c, c) for c in text)
    kept_capitals = any(c in keep and c != c.lower() for c in text)
    # the whole text at once where possible, since Σ becomes ς at the end of a word
    lowered = "".join(c if c in keep else c.lower() for c in text) if kept_capitals else text.lower()
    return _unicode(lowered, keep)


def _apostrophes(text: str, keep: Set[str]) -> str:
    pattern = f"(?<={_LETTER}){_without(f'[{_TYPOGRAPHIC}]', keep)}(?={_LETTER})"
    return regex.sub(pattern, APOSTROPHE, text, flags=_FLAGS)


def _punctuation(text: str, keep: Set[str]) -> str:
    marks = f"{_without(_MARK, keep)}++"
    kept = f"{APOSTROPHE}|(?<=l){MIDDLE_DOT}(?=l)"
    pattern = f"(?<={_LETTER})(?:({kept})|({marks}))(?={_LETTER})|{marks}"
    return regex.sub(pattern, lambda match: match[1] or (" " if match[2] else ""), text, flags=_FLAGS)


def _require_usable(text: str, given: str, alphabet: Set[str]) -> None:
    if not text:
        problem = "the transcript has only punctuation" if given.strip() else "the transcript is empty"
        raise TranscriptUnusable(
            RejectionReason.EMPTY_TRANSCRIPT, f"{problem}; write the spoken words, or delete the row"
        )
    silent = rf"[\p{{L}}\p{{M}} {APOSTROPHE}{MIDDLE_DOT}]--[{_TYPOGRAPHIC}]"
    if spoken := sorted(set(_sub(silent, "", text, frozenset())) - alphabet):
        raise TranscriptUnusable(
            RejectionReason.NOT_SPELLED_OUT,
            f"{_listed(spoken)} not spelled out in {quoted(given)}; write numbers and signs as spoken words",
        )
    if outside := sorted(set(text) - alphabet) if alphabet else []:
        raise TranscriptUnusable(
            RejectionReason.OUTSIDE_ALPHABET,
            f"{_listed(outside)} not in dataset.alphabet; rewrite {quoted(text)} or extend dataset.alphabet",
        )


def _listed(characters: list[str], most: int = 10) -> str:
    named = ", ".join("the space" if c == " " else f"{c!r}" for c in characters[:most])
    more = f" and {len(characters) - most} more" if len(characters) > most else ""
    return f"{named}{more} {'is' if len(characters) == 1 else 'are'}"
