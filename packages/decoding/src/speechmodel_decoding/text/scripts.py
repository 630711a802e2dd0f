"""Letters of another script that look like those of the word around them.

A Latin e in a Cyrillic word looks right and is another letter, which the model would learn as a label
of its own. Latin, Cyrillic and Greek share such letters. Other scripts are mixed on purpose, as in
Japanese.
"""

from collections.abc import Mapping, Set

import regex

LATIN, CYRILLIC, GREEK = "Latin", "Cyrillic", "Greek"
SCRIPT_OF = {
    **dict.fromkeys(
        ("ab", "av", "ba", "be", "bg", "ce", "cv", "kk", "kv", "ky", "mk", "mn", "os", "ru", "rue", "sah", "tg", "tt", "uk"),
        CYRILLIC,
    ),
    "el": GREEK,
    **dict.fromkeys(
        ("af", "br", "ca", "cs", "cy", "da", "de", "en", "eo", "es", "et", "eu", "fi", "fr", "ga", "gl", "gn", "haw", "hr",
         "hu", "id", "is", "it", "lt", "lv", "ms", "mt", "nl", "no", "nb", "nn", "pl", "pt", "ro", "sk", "sl", "sq", "sv",
         "sw", "fil", "tr", "vi"),
        LATIN,
    ),
}  # fmt: skip
"""The script of languages that are written in one of the three only. Serbian and Uzbek have two."""

_LATIN_CYRILLIC = ("ABCEHIJKMOPSTXYËÏaceijopsxyëï", "АВСЕНІЈКМОРЅТХУЁЇасеіјорѕхуёї")
_LATIN_GREEK = ("ABEHIKMNOPTXYZovóí", "ΑΒΕΗΙΚΜΝΟΡΤΧΥΖονόί")
_RARE_LATIN_CYRILLIC = ("ÄÖÆƏäöæəh", "ӒӦӔӘӓӧӕәһ")
"""Letters that most alphabets of the other script lack. They stand for each other only in a word of both scripts: ö
in a Russian sentence is not ӧ."""
_LOOK_ALIKES = {
    (LATIN, CYRILLIC): dict(zip(*_LATIN_CYRILLIC, strict=True)),
    (CYRILLIC, LATIN): dict(zip(*reversed(_LATIN_CYRILLIC), strict=True)),
    (LATIN, GREEK): dict(zip(*_LATIN_GREEK, strict=True)),
    (GREEK, LATIN): dict(zip(*reversed(_LATIN_GREEK), strict=True)),
}
_ALL_LOOK_ALIKES = _LOOK_ALIKES | {
    (LATIN, CYRILLIC): _LOOK_ALIKES[LATIN, CYRILLIC] | dict(zip(*_RARE_LATIN_CYRILLIC, strict=True)),
    (CYRILLIC, LATIN): _LOOK_ALIKES[CYRILLIC, LATIN] | dict(zip(*reversed(_RARE_LATIN_CYRILLIC), strict=True)),
}
_WORD = regex.compile(r"[\p{Latin}\p{Cyrillic}\p{Greek}\p{M}]+")
SCRIPTS = {name: regex.compile(rf"\p{{{name}}}") for name in (LATIN, CYRILLIC, GREEK)}


class MixedScripts(Exception):
    """A word has letters of several scripts that do not stand for each other."""

    def __init__(self, word: str) -> None:
        super().__init__(word)
        self.word = word


def in_one_script(text: str, language: str, keep: Set[str]) -> str:
    """Return `text` with each word in one script, as far as look-alikes allow.

    `language` is a primary language, whose script is preferred; else the one that most letters of a
    word have. A word that is in another script altogether is changed only among words in the
    language's, and only if it has no rare letter. A Latin word with several letters stays: in a Russian sentence, HIT is
    more likely English. Words whose characters are all in `keep` stay. Raises MixedScripts.
    """
    own = SCRIPT_OF.get(language)

    def unmixed(match: regex.Match[str]) -> str:
        word = match[0]
        scripts = _scripts(word)
        if set(word) <= keep or len(scripts) < 2:
            return word
        fitting = {script: found for script in scripts if (found := _converted(word, script, _ALL_LOOK_ALIKES))}
        if own in fitting:
            return fitting[own]
        counts = sorted(((_count(word, script), script) for script in fitting), reverse=True)
        if not counts or (len(counts) > 1 and counts[0][0] == counts[1][0]):
            raise MixedScripts(word)
        return fitting[counts[0][1]]

    def own_script(match: regex.Match[str]) -> str:
        word = match[0]
        if own != LATIN and len(word) > 1 and _scripts(word) == {LATIN}:
            return word
        return (own and not set(word) <= keep and _converted(word, own, _LOOK_ALIKES)) or word

    text = str(_WORD.sub(unmixed, text))
    certain = any(_scripts(word) == {own} for word in _WORD.findall(text))
    return str(_WORD.sub(own_script, text)) if certain else text


def _scripts(word: str) -> set[str]:
    return {name for name in SCRIPTS if _count(word, name)}


def _count(word: str, script: str) -> int:
    return len(SCRIPTS[script].findall(word))


def _converted(word: str, script: str, look_alikes: Mapping[tuple[str, str], Mapping[str, str]]) -> str | None:
    """Return `word` with all its letters in `script`, or None when one has no look-alike there."""
    letters = []
    for letter in word:
        of = next((name for name in SCRIPTS if name != script and SCRIPTS[name].match(letter)), None)
        converted = letter if of is None else look_alikes.get((of, script), {}).get(letter)
        if converted is None:
            return None
        letters.append(converted)
    return "".join(letters)
