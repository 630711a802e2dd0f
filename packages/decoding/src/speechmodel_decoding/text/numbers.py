"""Numbers spelled as words, by num2words."""

from collections.abc import Callable

import langcodes
import regex
from num2words import CONVERTER_CLASSES, num2words

LONGEST = 12
"""Digits. Longer numbers are codes and telephone numbers, which people read in groups."""
LARGEST_AMHARIC = 1_000
"""For many larger numbers in Amharic, num2words 0.5.14 raises TypeError or never ends."""
_NAMES = {"kk": "kz", "nb": "no", "arb": "ar", "lvs": "lv", "pes": "fa"}
"""Names in num2words that are not those of BCP 47. Its Norwegian is Bokmål: in Nynorsk (nn), 1 and 7 are other words."""
_IN_LATIN = "sr"
"""Language that num2words writes in Latin letters, and people also in Cyrillic ones."""
_LATIN, _OTHER = regex.compile(r"\p{Latin}"), regex.compile(r"[\p{L}--\p{Latin}]", regex.VERSION1)
_SIGNS = "%‰‱٪؉؊$€£ºª"
_DASHES = r"\p{Pd}\u2212"
_BETWEEN = rf"(?:\s|[^\s\p{{L}}\p{{M}}\p{{N}}]+|\s+[xX]\s+|\s*[{_DASHES}/:*^]\s*)"
"""Characters between two parts of a decimal, a date, a time, a range or a telephone number, or of a calculation."""
_WHOLE = regex.compile(
    rf"(?<![\p{{L}}\p{{M}}\p{{N}}{_DASHES}+#\u2116])(?<!\p{{N}}{_BETWEEN})"
    rf"\p{{Nd}}{{1,{LONGEST}}}"
    rf"(?![\p{{L}}\p{{M}}\p{{N}}\u00b0])(?!{_BETWEEN}\p{{N}})(?!\s*[{_SIGNS}])(?!['\u2019\u02bc\u2018:.]\p{{L}})"
)
"""A whole number by itself. Parts of other numbers are left, and so are ordinals (5º, 5's, 5:e, 1.er) and amounts of money:
only a person knows how they are read."""
_DIGITS = regex.compile(r"\p{Nd}+")
_SUFFIXED = regex.compile(rf"[{_DASHES}]\p{{L}}")
_ORDINAL = regex.compile(r"\.\s*\p{L}")
_WITHOUT_SUFFIXES = frozenset({"en"})
"""Languages in which a word behind a number and a hyphen is a word of its own (5-minute). In others it is often an
ending (5-й)."""
_ORDINAL_PERIOD = frozenset({"az", "cs", "da", "de", "fi", "hu", "is", "lv", "no", "pl", "sk", "sl", "sr", "tr"})
"""Languages in which a number with a period is an ordinal (5. Mai), unless it ends the sentence."""
_HUNDREDS = {
    "en": (range(1010, 2000), range(2010, 2100)),
    **dict.fromkeys(("da", "no", "sv"), (range(1100, 2000), range(2010, 2100))),
    **dict.fromkeys(("de", "fr", "is", "nl"), (range(1100, 2000),)),
}
"""Numbers that are read in hundreds when they are years, and often also when they are not, by language."""
_COUNTED = regex.compile(r"\s+([\p{L}\p{M}]+)")
_NEVER_COUNTED = {
    "ca": frozenset({"per", "si", "quan"}),
    "cs": frozenset({"pro", "aby", "pokud", "když"}),
    "de": frozenset({"für", "um", "wenn", "falls"}),
    "es": frozenset({"para", "si", "cuando"}),
    "fr": frozenset({"pour", "si", "quand"}),
    "it": frozenset({"per", "se", "quando"}),
    "pl": frozenset({"dla", "aby", "żeby", "jeśli", "gdy"}),
    "pt": frozenset({"para", "se", "quando"}),
    "ro": frozenset({"pentru", "dacă", "când"}),
    "ru": frozenset({"для", "чтобы", "если", "когда"}),
    "uk": frozenset({"для", "щоб", "якщо", "коли"}),
}
"""Words behind a number that begin another phrase, as in `marque 1 para salir`: the number is spelled as at the end of a
sentence. Conjunctions such as `o` are none of them: 1 o 2 luces are una o dos."""


def _ending(*digits: int, teens: bool = False) -> Callable[[int], bool]:
    """Return a test for numbers that end with one of these digits, except 11 to 19 unless `teens` is True."""
    return lambda number: number % 10 in digits and (teens or not 11 <= number % 100 <= 19)


def _hundreds(number: int) -> bool:
    return 2 <= number // 100 % 10 <= 9


_FORMS: dict[str, Callable[[int], bool]] = {
    **dict.fromkeys(("it", "fr", "da", "no", "sv"), _ending(1)),
    **dict.fromkeys(("ru", "uk", "be", "pl", "cs", "sk", "sr"), _ending(1, 2)),
    **dict.fromkeys(("lt", "lv"), _ending(*range(1, 10))),
    "es": lambda number: _ending(1)(number) or _hundreds(number),
    **dict.fromkeys(("pt", "ca"), lambda number: _ending(1, 2)(number) or _hundreds(number)),
    "ro": lambda number: _ending(1, 2)(number) or number % 100 == 12,
    "de": lambda number: number % 100 == 1,
    "hu": _ending(2, teens=True),
    "is": _ending(1, 2, 3, 4),
    "sl": _ending(1, 2, 3, 4),
    "cy": _ending(2, 3, 4, teens=True),
    **dict.fromkeys(("ar", "he", "ja", "ko"), _ending(*range(10), teens=True)),
}
"""Tests, by language, for numbers whose word depends on the noun that they count: un minuto, una luz, uno; две минуты; két perc."""


def spelled(text: str, language: str) -> str:
    """Return `text` with whole numbers as words of `language`, a BCP 47 tag. It is returned as it is
    when num2words does not know the language. A number that it cannot spell in it is left, and so are leading zeros and
    what may be an ordinal or a year. So is a number before another word whose own word may depend on it (1 luz, 2 минуты);
    which words do is not known, so canal 1 por favor is left too. A number that
    it spells in Latin letters in a text of another script is left too: it writes Serbian in Latin letters only. In Serbian, the
    text needs a Latin letter, since a number alone does not tell the script of the others.
    """
    known = _known(language)
    if known is None:
        return text

    def words(match: regex.Match[str]) -> str:
        try:
            return _words(match, known)
        except _Left:
            return match[0]

    return str(_WHOLE.sub(words, text))


def why_left(text: str, language: str) -> str | None:
    """Return why `spelled` leaves the first number that it leaves in `text`, as a clause. None if it leaves none."""
    known, whole = _known(language), {match.start(): match for match in _WHOLE.finditer(text)}
    for number in _DIGITS.finditer(text):
        if known is None:
            return f"num2words does not know the language {language!r}"
        if len(number[0]) > LONGEST:
            return f"it has more than {LONGEST} digits"
        if number.start() not in whole:
            return "it may be part of a time, a date, a code or a word"
        try:
            _words(whole[number.start()], known)
        except _Left as left:
            return str(left)
    return None


class _Left(Exception):
    """A number is not spelled. The message is why."""


def _words(match: regex.Match[str], known: str) -> str:
    """Return the words of a whole number in a language that num2words knows. Raises _Left."""
    number, text = int(match[0]), match.string
    if len(match[0]) > 1 and int(match[0][0]) == 0:
        raise _Left("it begins with 0")
    _require_one_reading(number, known.partition("_")[0], text, match.end())
    if known == "am" and number > LARGEST_AMHARIC:
        raise _Left("num2words cannot spell it")
    try:
        found = str(num2words(number, lang=known))
    except (NotImplementedError, OverflowError) as error:
        raise _Left("num2words cannot spell it") from error
    without_latin = _LATIN.search(text) is None and (known == _IN_LATIN or _OTHER.search(text) is not None)
    if without_latin and _LATIN.search(found):
        raise _Left("num2words writes this language in Latin letters")
    return found


def _require_one_reading(number: int, language: str, text: str, end: int) -> None:
    """Raise _Left for a number that may be an ordinal, a part of a word or a year, by what follows it, and for one whose
    word depends on the word that follows.
    """
    counted = _FORMS.get(language)
    next_word = _COUNTED.match(text, end)
    never_counted = _NEVER_COUNTED.get(language, frozenset())
    if counted and counted(number) and next_word and next_word[1].casefold() not in never_counted:
        raise _Left("its word may depend on the next one")
    if language not in _WITHOUT_SUFFIXES and _SUFFIXED.match(text, end):
        raise _Left("it may have an ending")
    if language in _ORDINAL_PERIOD and _ORDINAL.match(text, end):
        raise _Left("it may be an ordinal")
    if any(number in hundreds for hundreds in _HUNDREDS.get(language, ())):
        raise _Left("it may be a year")


def _known(language: str) -> str | None:
    """Return the name of `language` in num2words, or None. It takes the first two letters of a tag that it does not know,
    so that fil, Filipino, would be fi, Finnish.
    """
    names = {name.casefold(): name for name in CONVERTER_CLASSES}
    try:
        tag = langcodes.standardize_tag(language)  # deu is de
    except ValueError:
        return None
    tag = tag.replace("-", "_").casefold()
    subtag = tag.partition("_")[0]
    return names.get(tag) or names.get(_NAMES.get(subtag, subtag))
