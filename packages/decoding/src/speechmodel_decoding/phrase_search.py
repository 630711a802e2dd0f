"""The search for the phrases of a grammar that have some letters, without listing all of its phrases.

The graph of the grammar is walked together with the automaton of Knuth, Morris and Pratt for the letters, so that a place
from which no match can be reached is visited once, however many phrases lead there.
"""

import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from speechmodel_decoding.grammar import Grammar

MOST_PLACES = 20_000
"""Places of the walk that are visited: a state of the grammar, and how many of the letters were read. They take about
0.5 s. A grammar of some lists with a hundred values has fewer. One of 50,000 different sentences has millions."""


@dataclass(frozen=True)
class FoundPhrases:
    """The phrases of a grammar that have some letters."""

    phrases: tuple[str, ...]
    """The first ones in the order of the alphabet. Those that begin with the letters are first if these are not all."""
    complete: bool
    """True if these are all of them. False if there are more, or if the search would take too long."""


def folded(text: str) -> str:
    """Return a text without capitals and accents. Letters and accents are composed first, and each character stays one
    then. A syllable of Hangul is no letter with accents, so it stays whole.
    """
    return "".join(map(_folded_character, unicodedata.normalize("NFC", text)))


def _folded_character(character: str) -> str:
    first, *others = list(unicodedata.normalize("NFD", character))
    accented = all(unicodedata.category(each) == "Mn" for each in others)
    return (first if accented else character).lower()[0]


def find_phrases(grammar: Grammar, letters: str, most: int) -> FoundPhrases:
    """Return at most `most` phrases that have `letters` in them, without regard to case and accents.

    `letters` must not be empty. Phrases that begin with them are found in a grammar of any size.
    """
    wanted, budget = folded(letters), _Budget(MOST_PLACES)
    beginning, everywhere = _Walk(grammar, wanted, most, budget), _Walk(grammar, wanted, most, budget)
    if beginning.run(_beginnings(grammar, wanted, budget)) and everywhere.run([(grammar.start, 0, "")]):
        return FoundPhrases(tuple(everywhere.found), complete=True)
    found = dict.fromkeys([*beginning.found, *everywhere.found])
    return FoundPhrases(tuple(found)[:most], complete=False)


@dataclass
class _Budget:
    """The places that a search may still visit."""

    left: int


def _beginnings(grammar: Grammar, wanted: str, budget: _Budget) -> Iterator[tuple[int, int, str]]:
    """Yield the states behind `wanted` at the beginning of a phrase, the number of its letters, and the texts that lead
    there, in the order of the alphabet, until the budget is used up. A letter may have many spellings with accents.
    """
    reached = [(grammar.start, 0, "")]
    while reached and budget.left > 0:
        budget.left -= 1
        state, read, text = reached.pop()
        if read == len(wanted):
            yield state, read, text
            continue
        following = [
            (after, read + 1, text + character)
            for character, after in grammar.characters_after(state)
            if _folded_character(character) == wanted[read]
        ]
        reached += reversed(following)


@dataclass
class _Place:
    """A place on the way from the start to the phrase that is being read."""

    key: tuple[int, int]
    """State whose last label is a blank, and the number of letters that were read."""
    text: str
    following: list[tuple[tuple[int, int], str]]
    """The places behind it that are still to be visited, the last one first."""
    found: int
    """Phrases that were found before it."""


class _Walk:
    def __init__(self, grammar: Grammar, wanted: str, most: int, budget: _Budget) -> None:
        self._grammar, self._wanted, self._most, self._budget = grammar, wanted, most, budget
        self._fallback = _fallbacks(wanted)
        self._barren: set[tuple[int, int]] = set()
        """Places from which no phrase with the letters is reached."""
        self.found: list[str] = []

    def run(self, starts: Iterable[tuple[int, int, str]]) -> bool:
        """Fill `found` with the phrases behind `starts`: states, the letters that were read, and texts. Return True if it
        has every phrase.
        """
        return all(self._run(self._place((state, read), text)) for state, read, text in starts)

    def _run(self, start: "_Place") -> bool:
        way = [start]
        while way:
            if len(self.found) > self._most or self._budget.left < 0:
                del self.found[self._most :]
                return False
            here = way[-1]
            if here.following:
                key, text = here.following.pop()
                if key not in self._barren:
                    way.append(self._place(key, text))
            else:
                way.pop()
                if len(self.found) == here.found:
                    self._barren.add(here.key)
        return True

    def _place(self, key: tuple[int, int], text: str) -> _Place:
        self._budget.left -= 1
        state, read = key
        before = len(self.found)
        if text and read == len(self._wanted) and self._grammar.ends(state):
            self.found.append(text)
        following = [
            ((after, self._step(read, character)), text + character)
            for character, after in self._grammar.characters_after(state)
        ]
        return _Place(key, text, following[::-1], before)

    def _step(self, read: int, character: str) -> int:
        """Return how many of the letters are read after one more character. All of them stay read."""
        if read == len(self._wanted):
            return read
        letter = _folded_character(character)
        while read and self._wanted[read] != letter:
            read = self._fallback[read - 1]
        return read + (self._wanted[read] == letter)


def _fallbacks(wanted: str) -> list[int]:
    """Return for each beginning of `wanted` the length of its longest proper end with which `wanted` begins."""
    lengths = [0] * len(wanted)
    for place in range(1, len(wanted)):
        length = lengths[place - 1]
        while length and wanted[length] != wanted[place]:
            length = lengths[length - 1]
        lengths[place] = length + (wanted[length] == wanted[place])
    return lengths
