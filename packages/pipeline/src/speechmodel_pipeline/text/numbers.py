"""Numbers spelled as words, by num2words."""

import regex
from num2words import num2words

LONGEST = 12
"""Digits. Longer numbers are codes and telephone numbers, which people read in groups."""
_WHOLE = regex.compile(
    rf"(?<![\p{{L}}\p{{M}}\p{{N}}])(?<!\p{{N}}[.,:/'\u2019\u00a0 -])(?<![-\u2212+#\u2116])"
    rf"(?!0\p{{Nd}})\p{{Nd}}{{1,{LONGEST}}}"
    r"(?![\p{L}\p{M}\p{N}\u00b0\u00ba\u00aa%\u2030$\u20ac\u00a3])(?![.,:/'\u2019\u00a0 -]\p{N})(?!\s*[%\u2030$\u20ac\u00a3])"
)
"""A whole number by itself. Parts of a decimal, a date, a time, a grouped or a telephone number are
left, and so are leading zeros, ordinals and amounts of money: only a person knows how they are read."""


def spelled(text: str, language: str) -> str:
    """Return `text` with whole numbers as words of `language`, a BCP 47 tag. It is returned as it is
    when num2words does not know the language.
    """
    try:
        num2words(0, lang=language.replace("-", "_"))
    except NotImplementedError:
        return text
    return str(_WHOLE.sub(lambda match: num2words(int(match[0]), lang=language.replace("-", "_")), text))
