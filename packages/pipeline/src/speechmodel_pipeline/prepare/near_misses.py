"""Near misses: phrases of the set in which one word is replaced by a word of no language.

A network that hears only phrases of the set learns which word follows which, and then hears the word
of the set whatever is said. In a near miss, the transcript has the catch-all label in the place of the
replaced word.
"""

import random
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from speechmodel_api.alphabet import CATCH_ALL

SHORTEST, LONGEST = 3, 9
"""Characters of a word of no language."""
ATTEMPTS = 100
"""Draws of a word, most of which are only needed where the words of the set are few and alike."""


@dataclass(frozen=True)
class Text:
    """A text to be spoken, and the transcript that training learns for it."""

    spoken: str
    transcript: str


def near_miss(phrase: str, words: Collection[str], chance: random.Random) -> Text | None:
    """Return a near miss of a phrase, or None if it has one word only.

    A long word is replaced more often than a short one, of which little is heard. `words` are those of
    the set. None also when no other word can be made of their characters.
    """
    parts = phrase.split()
    if len(parts) < 2:
        return None
    (place,) = chance.choices(range(len(parts)), [len(part) for part in parts])
    known, followers = set(words), _followers(words)
    for _ in range(ATTEMPTS):
        word = "".join(_walk(followers, chance))
        if len(word) >= SHORTEST and word not in known:
            return Text(_replaced(parts, place, word), _replaced(parts, place, CATCH_ALL))
    return None


def _followers(words: Collection[str]) -> dict[str, list[str]]:
    """Return the characters that follow each character in the words. The empty string is the beginning and the
    end of a word.
    """
    followers: dict[str, list[str]] = {}
    for word in sorted(words):
        for first, second in zip(["", *word], [*word, ""], strict=True):
            followers.setdefault(first, []).append(second)
    return followers


def _walk(followers: dict[str, list[str]], chance: random.Random) -> Iterator[str]:
    """Yield the characters of a word, each of which follows the one before in some word of the set."""
    character = ""
    for _ in range(LONGEST):
        character = chance.choice(followers[character])
        if not character:
            return
        yield character


def _replaced(parts: list[str], place: int, word: str) -> str:
    return " ".join([*parts[:place], word, *parts[place + 1 :]])
