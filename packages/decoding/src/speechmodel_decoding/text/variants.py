"""Letters that a language writes in several ways which look alike, within one script (scripts.py has other scripts).

A Romanian ş with a cedilla reads like the ș with a comma, and an Arabic kaf like the Persian one. The model would
learn each as a label of its own.
"""

from collections.abc import Callable, Set

import regex

_PERSIAN = ("كيى", "کیی")
_DOTS = ".•‧∙⋅・ꞏ"
"""Characters that people type for the middle dot of l·l."""
CHILLU = "ണനരലളക"
"""Malayalam consonants, which with a virama and a joiner are the letters ൺ, ൻ, ർ, ൽ, ൾ and ൿ."""


def _letters(written: str, meant: str) -> list[tuple[str, str]]:
    return list(zip(written, meant, strict=True))


VARIANTS: dict[str, list[tuple[str, str]]] = {
    "ro": _letters("şţŞŢ", "șțȘȚ"),
    "el": _letters("µ", "μ"),  # the micro sign
    "fa": _letters(*_PERSIAN),
    "ckb": _letters(*_PERSIAN),
    "ur": _letters(_PERSIAN[0] + "ه", _PERSIAN[1] + "ہ"),
    "ps": _letters("ك", "ک"),
    "vi": _letters("Ðð", "Đđ"),  # the Icelandic letter, whose capital looks the same
    "ca": [(rf"(?<=[lL])[{_DOTS}](?=[lL])", "·")],
    "th": [("เเ", "แ"), ("\u0e4d([\u0e48-\u0e4b]?)\u0e32", "\\1\u0e33")],  # sara ae, and sara am around its tone
    "lo": [("\u0ecd([\u0ec8-\u0ecb]?)\u0eb2", "\\1\u0eb3")],
    "ml": [(f"{letter}\u0d4d\u200d", chillu) for letter, chillu in _letters(CHILLU, "ൺൻർൽൾൿ")],
}
"""Regular expressions of what is written and what is meant, by primary language."""


def as_usual(text: str, language: str, keep: Set[str]) -> str:
    """Return `text` with the usual one of such letters. `language` is a primary language. What consists of characters
    in `keep` stays.
    """
    for written, meant in VARIANTS.get(language, ()):
        text = regex.sub(written, _unless_kept(meant, keep), text)
    return text


def _unless_kept(meant: str, keep: Set[str]) -> Callable[[regex.Match[str]], str]:
    return lambda match: match[0] if set(match[0]) <= keep else match.expand(meant)
