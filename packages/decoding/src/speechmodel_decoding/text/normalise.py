"""A transcript as given -> as it is trained, by rules. report.json names those that changed it:

    Unicode      NFC: a letter and its accent become one character. Ligatures, full-width letters and
                 other presentation forms become the letters that they show (NFKC), and a sound mark
                 joins its kana (カ゛ is ガ)
    Annotation   with `dataset.annotations: Strip`, text and signs in brackets or asterisks are dropped
    Invisible    control and format characters are dropped, also zero-width spaces, soft hyphens, variation
                 selectors and the tatweel, except the joiners inside words of scripts that need them (می‌روم, क्‍ष)
    Script       a letter of another script that looks like those around it becomes one of theirs
    Numbers      with `dataset.numbers: Spell`, whole numbers become words
    Stress       acute and grave accents on Cyrillic letters are dropped (за́мок, дѐла), except
                 those of ACCENTED_LETTERS
    LowerCase    capitals become small letters
    Variant      a letter that the language writes in several ways gets the usual one (ş → ș in Romanian)
    Apostrophe   typographic apostrophes between two letters become ' (d'or, п'ять), quotation marks
                 between two Hebrew letters geresh and gershayim, and those between letters of
                 OKINA_LANGUAGES the okina, also before a vowel that begins a word (‘ofa), and in Uzbek behind
                 o and g at the end of one (tog‘), unless they quote
    Separator    dashes, underscores and slashes become spaces
    Punctuation  the rest is dropped; one or more marks between two letters become a space (uno,dos;
                 hola...adiós), except a single ' between letters, l·l, n·h, geresh, gershayim and okina
    WhiteSpace   any white space becomes one space, with none at the ends

A row with other digits or signs (5, %, &, €, º) is rejected, because only a person knows how they are
spoken. So is one with an annotation such as [laughs], unless `annotations` is Strip, one with a bracket
without its other end, one with a word of two scripts that do not look alike, and one whose letters were
lost in another encoding (niÃ±a, ni�a).

No rule but WhiteSpace changes or drops a character of a given alphabet. A character that the
alphabet has only in parts (й as и and a breve) is written in these parts.
"""

import unicodedata
from collections.abc import Callable, Set
from dataclasses import dataclass
from enum import StrEnum

import langcodes
import regex
from speechmodel_api.dataset_spec import Annotations, Numbers

from speechmodel_decoding.text.numbers import spelled, why_left
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_decoding.text.scripts import MixedScripts, in_one_script
from speechmodel_decoding.text.variants import CHILLU, as_usual

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
TURKIC = frozenset({"tr", "az", "crh", "gag"})
"""Languages in which I is the capital of ı and İ that of i."""
OKINA = "ʻ"
OKINA_LANGUAGES = frozenset({"haw", "sm", "to", "ty", "uz"})
"""Languages in which the okina, which looks like a quotation mark, is a letter."""
GERESH, GERSHAYIM = "׳", "״"
JOINERS = "\u200c\u200d"
"""Zero-width non-joiner and joiner."""

_PRESENTATION = frozenset(
    {"<wide>", "<narrow>", "<small>", "<vertical>", "<font>", "<initial>", "<medial>", "<final>", "<isolated>"}
)
"""Kinds of compatibility characters that only show another character in another way."""
_LIGATURES = frozenset("ﬀﬁﬂﬃﬄﬅﬆﬓﬔﬕﬖﬗﭏĲĳĿŀŉǄǅǆǇǈǉǊǋǌǱǲǳſ")
"""Compatibility characters of other kinds that are safe to replace. Most are not: Thai am and the
Armenian ev are letters, and ½ and ² would become digits."""
_COMBINING = {"\u309b": "\u3099", "\u309c": "\u309a"}
"""Sound marks that stand alone, as older programs write them behind a kana, and those that join it: カ゛ is ガ."""
_SOUND_MARK = regex.compile(f"(?<=[\\p{{Hiragana}}\\p{{Katakana}}])[{''.join(_COMBINING)}]")
_TYPOGRAPHIC = "’‘ʼʻ`´′＇"
APOSTROPHES = APOSTROPHE + _TYPOGRAPHIC
"""Characters that people type for an apostrophe."""
_DIGITS = frozenset("0123456789")
SPOKEN_SIGNS = "%&@#‰‱§٪؉؊⁊"
"""Signs that Unicode counts as punctuation and that are spoken as words."""
_NUMBER = regex.compile(r"\p{Nd}+(?:[^\s\p{L}\p{M}\p{Nd}]+\p{Nd}+)*")
_ORDINAL = "ªº"
"""Signs of ordinals and abbreviations, which Unicode counts as letters."""
_LENGTHENED = "\u0640\u07fa"
"""The tatweel and the lajanyalan, which lengthen a word and are not spoken. Unicode counts them as letters."""
_LOST = "\ufffd"
"""The character that programs write for bytes that are no text."""
_VOWEL = "[aeiouāēīōū]"
_STRESS = "\u0300\u0301"
"""Grave and acute accent, by which dictionaries mark the stress of a Cyrillic word."""
_LETTER = rf"[[\p{{L}}\p{{M}}]--[{_TYPOGRAPHIC}]]"
_MARK = rf"[\p{{P}}\p{{Sk}}{_TYPOGRAPHIC}]--[{SPOKEN_SIGNS}]"
_JOINING_SCRIPTS = (
    "Arabic", "Syriac", "Mongolian", "Devanagari", "Bengali", "Gurmukhi", "Gujarati", "Oriya", "Tamil", "Telugu",
    "Kannada", "Malayalam", "Sinhala",
)  # fmt: skip
_JOINING = "[" + "".join(rf"\p{{{script}}}" for script in _JOINING_SCRIPTS) + "]"
_PAIRS = r"\[[^\[\]]*\]|\([^()]*\)|\{[^{}]*\}|<[^<>]*>|\*[^*]*\*|〔[^〔〕]*〕|【[^【】]*】"
_OPENED = r"[\[\]{}〔〕【】]|(?<![:;=]['\-]?\(*)\((?=\p{L})"
"""Brackets of an annotation whose other end is missing. A parenthesis counts if a letter follows it directly, as in (risas:
others are smileys (жаль ( и всё; hola :(adiós), and single asterisks are footnotes and bullets."""
_SPELL = ", or set dataset.numbers to Spell"
_FLAGS = regex.VERSION1  # set difference in character classes


class Rule(StrEnum):
    """The rules in the order of their application."""

    UNICODE = "Unicode"
    ANNOTATION = "Annotation"
    INVISIBLE = "Invisible"
    SCRIPT = "Script"
    NUMBERS = "Numbers"
    STRESS = "Stress"
    LOWER_CASE = "LowerCase"
    VARIANT = "Variant"
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


def normalise(
    given: str,
    *,
    language: str = "",
    alphabet: Set[str] = frozenset(),
    annotations: Annotations = Annotations.REJECT,
    numbers: Numbers = Numbers.REJECT,
) -> Normalised:
    """Apply the rules to `given`. An empty `alphabet` means that it is derived from the
    transcripts.

    Raises TranscriptUnusable for digits or signs, for annotations, for a wrong encoding, for a word of several scripts,
    for characters outside of a given alphabet, and for an empty result.
    """
    primary = primary_language(language)
    kept = alphabet | {OKINA} if primary in OKINA_LANGUAGES else alphabet
    steps: tuple[tuple[Rule, Callable[[str], str]], ...] = (
        (Rule.UNICODE, lambda text: _unicode(_unpresented(text, alphabet), alphabet)),
        (Rule.ANNOTATION, lambda text: _unannotated(text, alphabet, strip=annotations is Annotations.STRIP)),
        (Rule.INVISIBLE, lambda text: _visible(text, alphabet)),
        (Rule.SCRIPT, lambda text: _in_one_script(text, primary, alphabet)),
        (
            Rule.NUMBERS,
            lambda text: spelled(text, language) if numbers is Numbers.SPELL and not alphabet & _DIGITS else text,
        ),
        (Rule.STRESS, lambda text: _unstressed(text, alphabet, ACCENTED_LETTERS.get(primary, frozenset()))),
        (Rule.LOWER_CASE, lambda text: _lower(text, alphabet, turkic=primary in TURKIC)),
        (Rule.VARIANT, lambda text: as_usual(text, primary, alphabet)),
        (Rule.APOSTROPHE, lambda text: _apostrophes(text, kept, primary)),
        (Rule.SEPARATOR, lambda text: _separated(text, alphabet)),
        (Rule.PUNCTUATION, lambda text: _punctuation(text, kept)),
        (Rule.WHITE_SPACE, lambda text: " ".join(text.split())),
    )
    if meant := _misread(given):
        raise TranscriptUnusable(
            RejectionReason.WRONG_ENCODING,
            f"{quoted(given)} was saved in the wrong encoding and seems to be {quoted(meant)}; save the table as UTF-8",
        )
    if _LOST in set(given) - alphabet:
        raise TranscriptUnusable(
            RejectionReason.WRONG_ENCODING,
            f"{quoted(given)} lost letters in another encoding ({_LOST}); write them again and save the table as UTF-8",
        )
    text, found = given, set[Rule]()
    while True:
        before = text
        for rule, apply in steps:
            changed = apply(text)
            if changed != text:
                found.add(rule)
            text = changed
        if text == before:
            break
        # what one rule leaves may be for one before it: A:Ѐ is two words, each of one script. But 5. Mai has lost its dot
        steps = tuple(step for step in steps if step[0] is not Rule.NUMBERS)
    _require_usable(text, given, alphabet, kept, language, spell=numbers is Numbers.SPELL)
    return Normalised(text, tuple(rule for rule in Rule if rule in found))


def not_spelled_out(found: list[str], text: str, why: str | None, advice: str = "") -> TranscriptUnusable:
    """Return the error for numbers and signs in a text. `why` says why numbers were not spelled, and `advice` which setting
    spells them.
    """
    because = f": {why}" if why else ""
    return TranscriptUnusable(
        RejectionReason.NOT_SPELLED_OUT,
        f"{_listed(found)} not spelled out in {quoted(text)}{because}; write numbers and signs as spoken words{advice}",
    )


def separates(marks: str, alphabet: Set[str]) -> bool:
    """Return True if `marks` between two letters become a space, such as a dash, an ellipsis or white space."""
    between = _visible(f"x{marks}x", alphabet)
    return any(map(str.isspace, _punctuation(_separated(between, alphabet), alphabet)))


def apostrophe_inside(mark: str, letter: str, language: str, alphabet: Set[str]) -> str:
    """Return the character that `mark`, one of APOSTROPHES, becomes between letters of the script of `letter`."""
    primary = primary_language(language)
    kept = alphabet | {OKINA} if primary in OKINA_LANGUAGES else alphabet
    return _apostrophes(_unpresented(f"{letter}{mark}{letter}", alphabet), kept, primary)[1:-1]


def primary_language(language: str) -> str:
    """Return the primary language of a tag, in the code by which the rules know it: tr for tur, fa for pes."""
    try:
        return langcodes.standardize_tag(language, macro=True).partition("-")[0].lower()
    except ValueError:  # a tag of nobody's language
        return language.partition("-")[0].lower()


def _misread(text: str) -> str | None:
    """Return what `text` was before its UTF-8 bytes were read as Windows-1252 or Latin-1, if they were."""
    for encoding in ("cp1252", "latin-1"):
        try:
            meant = text.encode(encoding).decode()
        except UnicodeError:
            continue
        if meant != text:
            return meant
    return None


def _unpresented(text: str, keep: Set[str]) -> str:
    """Return `text` with the letters that ligatures, presentation forms and sound marks behind a kana show."""

    def shown(character: str) -> str:
        kind = unicodedata.decomposition(character).partition(" ")[0]
        safe = kind in _PRESENTATION or character in _LIGATURES
        return unicodedata.normalize("NFKC", character) if safe and character not in keep else character

    return _SOUND_MARK.sub(lambda mark: mark[0] if mark[0] in keep else _COMBINING[mark[0]], "".join(map(shown, text)))


def _unannotated(text: str, keep: Set[str], *, strip: bool) -> str:
    """Return `text` without annotations, or raise TranscriptUnusable for the first one unless they
    are to be stripped.
    """
    left = text
    while found := next((m for m in regex.finditer(_PAIRS, left) if m[0][0] not in keep), None):
        if not regex.search(r"\p{L}", found[0]) and not _is_sign(found[0], keep):
            left = f"{left[: found.start()]} {left[found.end() :]}"
            continue
        if not strip:
            raise TranscriptUnusable(
                RejectionReason.ANNOTATION,
                f"{quoted(found[0])} may not be spoken; write the spoken words only, "
                "or set dataset.annotations to Strip to drop such text",
            )
        left = text = f"{left[: found.start()]} {left[found.end() :]}"
    if unclosed := sorted(set(regex.findall(_OPENED, left)) - keep):
        raise TranscriptUnusable(
            RejectionReason.ANNOTATION, f"{_listed(unclosed)} unpaired in {quoted(text)}; write the spoken words only"
        )
    return text


def _is_sign(annotation: str, keep: Set[str]) -> bool:
    """Return True for a sign in brackets that shows what the words beside it name: at [@], plus (+). Numbers may be spoken."""
    inside = annotation[1:-1]
    signs = set(regex.findall(rf"[[\p{{S}}--\p{{Sk}}]{SPOKEN_SIGNS}]", inside, flags=_FLAGS)) - keep
    return bool(signs) and regex.search(r"\p{N}", inside) is None


def _visible(text: str, keep: Set[str]) -> str:
    joiner = f"(?<=({_JOINING}|\\p{{M}}))[{JOINERS}](?={_JOINING})|(?<=[{CHILLU}]\u0d4d)\u200d"
    dropped = _without(rf"[\p{{Cc}}\p{{Cf}}\p{{Default_Ignorable_Code_Point}}{_LENGTHENED}]--[\s\x1c-\x1f]", keep)
    return regex.sub(f"({joiner})|{dropped}", lambda match: match[1] or "", text, flags=_FLAGS)


def _in_one_script(text: str, primary: str, keep: Set[str]) -> str:
    try:
        return in_one_script(text, primary, keep)
    except MixedScripts as mixed:
        raise TranscriptUnusable(
            RejectionReason.MIXED_SCRIPTS, f"{quoted(mixed.word)} has letters of several scripts; write it in one"
        ) from mixed


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
    small = {"I": "ı", "İ": "i"} if turkic else {"İ": "i"}
    text = "".join(c if c in keep else small.get(c, c) for c in text)
    kept_capitals = any(c in keep and c != c.lower() for c in text)
    # the whole text at once where possible, since Σ becomes ς at the end of a word
    if kept_capitals and "Σ" not in keep:
        text = regex.sub(r"(?<=[\p{L}\p{M}])Σ(?![\p{L}\p{M}])", "ς", text)
    lowered = "".join(c if c in keep else c.lower() for c in text) if kept_capitals else text.lower()
    return _unicode(lowered, keep)


def _apostrophes(text: str, keep: Set[str], primary: str) -> str:
    apostrophe = OKINA if OKINA in keep else APOSTROPHE
    for marks, hebrew in (("'" + _TYPOGRAPHIC, GERESH), ('"”“„', GERSHAYIM)):
        pattern = rf"(?<=\p{{Hebrew}}){_without(f'[{marks}]', keep)}(?=\p{{Hebrew}})"
        text = regex.sub(pattern, hebrew, text, flags=_FLAGS)
    marks = _without(f"[{_TYPOGRAPHIC if apostrophe == APOSTROPHE else APOSTROPHE + _TYPOGRAPHIC}]", keep)
    text = regex.sub(f"(?<={_LETTER}){marks}(?={_LETTER})", apostrophe, text, flags=_FLAGS)
    if apostrophe == APOSTROPHE:
        return text
    opening, closing = f"(?<!{_LETTER}){marks}(?={_LETTER})", f"(?<={_LETTER}){marks}(?!{_LETTER})"
    if primary == "uz" and not regex.search(opening, text, flags=_FLAGS):
        return regex.sub(f"(?<=[og]){closing}", apostrophe, text, flags=_FLAGS)
    if primary != "uz" and not regex.search(closing, text, flags=_FLAGS):
        return regex.sub(f"{opening}(?={_VOWEL})", apostrophe, text, flags=_FLAGS)
    return text


def _separated(text: str, keep: Set[str]) -> str:
    return _sub(r"[\p{Pd}_/\\]", " ", text, keep)


def _punctuation(text: str, keep: Set[str]) -> str:
    marks = f"{_without(_MARK, keep)}++"
    hebrew = rf"(?<=\p{{Hebrew}}){GERESH}|(?<=\p{{Hebrew}}){GERSHAYIM}(?=\p{{Hebrew}})"
    kept = f"{APOSTROPHE}|(?<=l){MIDDLE_DOT}(?=l)|(?<=[ns]){MIDDLE_DOT}(?=h)"
    pattern = f"({hebrew})|(?<={_LETTER})(?:({kept})|({marks}))(?={_LETTER})|{marks}"
    return regex.sub(pattern, lambda match: match[1] or match[2] or (" " if match[3] else ""), text, flags=_FLAGS)


def _require_usable(text: str, given: str, alphabet: Set[str], kept: Set[str], language: str, *, spell: bool) -> None:
    """Raise TranscriptUnusable for a text that cannot be trained. With `spell`, numbers were spelled where they can be."""
    if not text:
        left = "punctuation and annotations" if any(map(str.isalnum, given)) else "punctuation"
        problem = f"the transcript has only {left}" if given.strip() else "the transcript is empty"
        raise TranscriptUnusable(
            RejectionReason.EMPTY_TRANSCRIPT, f"{problem}; write the spoken words, or delete the row"
        )
    silent = rf"[\p{{L}}\p{{M}} {APOSTROPHE}{MIDDLE_DOT}{GERESH}{GERSHAYIM}{JOINERS}]--[{_TYPOGRAPHIC}{_ORDINAL}]"
    if spoken := sorted(set(_sub(silent, "", text, frozenset())) - kept):
        shown = _unicode(_unpresented(given, alphabet), alphabet)
        left = spelled(shown, language) if spell else shown
        numbers = dict.fromkeys(found for found in _NUMBER.findall(left) if not set(found) <= kept)
        signs = [sign for sign in spoken if not (numbers and sign.isdecimal())]
        why = why_left(shown, language) if spell and not signs else None
        suggested = not (spell or signs) and why_left(shown, language) is None
        raise not_spelled_out([*numbers, *signs], given, why, _SPELL if suggested else "")
    if outside := sorted(set(text) - alphabet) if alphabet else []:
        raise TranscriptUnusable(
            RejectionReason.OUTSIDE_ALPHABET,
            f"{_listed(outside)} not in dataset.alphabet; rewrite {quoted(text)} or extend dataset.alphabet",
        )


def _listed(characters: list[str], most: int = 10) -> str:
    named = ", ".join("the space" if c == " " else f"{c!r}" for c in characters[:most])
    more = f" and {len(characters) - most} more" if len(characters) > most else ""
    return f"{named}{more} {'is' if len(characters) == 1 else 'are'}"
