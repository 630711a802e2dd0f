"""Numbers spelled as words, by num2words."""

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
_WHOLE = regex.compile(
    rf"(?<![\p{{L}}\p{{M}}\p{{N}}])(?<!\p{{N}}[.,:/'\u2019\u00a0 -])(?<![-\u2212+#\u2116])"
    rf"(?!0\p{{Nd}})\p{{Nd}}{{1,{LONGEST}}}"
    r"(?![\p{L}\p{M}\p{N}\u00b0\u00ba\u00aa%\u2030$\u20ac\u00a3])(?![.,:/'\u2019\u00a0 -]\p{N})(?!\s*[%\u2030$\u20ac\u00a3])"
)
"""A whole number by itself. Parts of a decimal, a date, a time, a grouped or a telephone number are
left, and so are leading zeros, ordinals and amounts of money: only a person knows how they are read."""


def spelled(text: str, language: str) -> str:
    """Return `text` with whole numbers as words of `language`, a BCP 47 tag. It is returned as it is
    when num2words does not know the language. A number that it cannot spell in it is left, and so is one that it spells
    in Latin letters in a text of another script: it writes Serbian in Latin letters only. In Serbian, the text needs a
    Latin letter, since a number alone does not tell the script of the others.
    """
    known = _known(language)
    without_latin = _LATIN.search(text) is None and (known == _IN_LATIN or _OTHER.search(text) is not None)

    def words(match: regex.Match[str]) -> str:
        number = int(match[0])
        if known == "am" and number > LARGEST_AMHARIC:
            return match[0]
        try:
            found = str(num2words(number, lang=known))
        except (NotImplementedError, OverflowError):
            return match[0]
        return match[0] if without_latin and _LATIN.search(found) else found

    return text if known is None else str(_WHOLE.sub(words, text))


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
