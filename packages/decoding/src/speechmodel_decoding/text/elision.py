"""Words that lose their vowel before another word, and are joined to it by an apostrophe: l'ampoule, dell'acqua.

Only these are joined in templates, since other words with an apostrophe are not: un po' di luce, goin' home.
"""

from collections.abc import Set

from speechmodel_decoding.text.normalise import primary_language

_ROMANCE = ("l", "d", "m", "t", "s", "n", "c")
_ELIDED: dict[str, frozenset[str]] = {
    "fr": frozenset({*_ROMANCE, "j", "qu", "jusqu", "lorsqu", "puisqu", "quoiqu", "quelqu", "presqu"}),
    "ca": frozenset(_ROMANCE),
    "oc": frozenset({*_ROMANCE, "qu"}),
    "it": frozenset(
        {*_ROMANCE, "v", "un", "gl", "dell", "nell", "all", "dall", "sull", "coll", "quell", "quest", "bell", "sant"}
        | {"anch", "com", "dov", "cos", "tutt", "mezz", "senz", "nessun", "qualcun", "ciascun", "buon", "grand"}
    ),
}


def elided_words(language: str) -> Set[str]:
    """Return the elided words of a language, a BCP 47 tag, without their apostrophe. Most languages have none."""
    return _ELIDED.get(primary_language(language), frozenset())
