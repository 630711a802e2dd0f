"""A grammar: the closed set of phrases that a model may answer with, compiled for its alphabet (compiling.py).

Shortest use:

    grammar = Grammar.from_bytes(Path("grammar.zip").read_bytes(), alphabet)

The file is a zip archive of `grammar.json`, `graph.fst` (characters composed with the CTC topology),
`slots.fst` (characters to marks of slots) and, for a grammar with intents, `intents.fst` (characters to the number of the
intent). Equal phrases and alphabets give equal bytes.
"""

import io
import zipfile
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import count

import kaldifst
import numpy as np
from pydantic import ValidationError
from speechmodel_api.base import Document

from speechmodel_decoding.acceptor import read_const
from speechmodel_decoding.errors import GrammarError, GrammarFileError
from speechmodel_decoding.labels import Labels

_ABOUT, _GRAPH, _SLOTS, _INTENTS = "grammar.json", "graph.fst", "slots.fst", "intents.fst"
_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The time of every entry, so that equal grammars are equal files."""


class About(Document):
    """grammar.json."""

    alphabet: tuple[str, ...]
    """Labels of the model that the grammar was compiled for."""
    slots: tuple[str, ...] = ()
    """Names of the slots, in the order of their marks."""
    intents: tuple[str, ...] = ()
    """Names of the intents, in the order of their numbers from 1 on. Empty in files from before there were intents."""


@dataclass(frozen=True)
class Grammar:
    """A compiled grammar."""

    about: About
    graph: bytes
    """The decoding graph as an OpenFst file."""
    slots: bytes
    """The transducer from characters to marks of slots as an OpenFst file. Empty without slots."""
    intents: bytes = b""
    """The transducer from characters to the number of the intent as an OpenFst file. Empty without intents."""

    @cached_property
    def labels(self) -> Labels:
        """The labels of the model."""
        return Labels(self.about.alphabet)

    def to_bytes(self) -> bytes:
        """Return the grammar as a file."""
        content = io.BytesIO()
        with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
            absent = set() if self.intents else {"intents"}  # the bytes, and so the version, stay those of before
            about = self.about.model_dump_json(by_alias=True, exclude=absent).encode()
            parts = {_ABOUT: about, _GRAPH: self.graph, _SLOTS: self.slots}
            for name, data in (parts | ({_INTENTS: self.intents} if self.intents else {})).items():
                archive.writestr(zipfile.ZipInfo(name, _EPOCH), data, zipfile.ZIP_DEFLATED)
        return content.getvalue()

    @classmethod
    def from_bytes(cls, content: bytes, alphabet: Sequence[str]) -> "Grammar":
        """Return the grammar in a file, for a model with this alphabet. Raises GrammarFileError."""
        try:
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                about = About.model_validate_json(archive.read(_ABOUT))
                intents = archive.read(_INTENTS) if about.intents else b""
                grammar = cls(about, archive.read(_GRAPH), archive.read(_SLOTS), intents)
        except (zipfile.BadZipFile, KeyError, ValidationError) as error:
            raise GrammarFileError(f"the grammar is damaged ({error}); fetch it again") from error
        if about.alphabet != tuple(alphabet):
            raise GrammarFileError(
                "the grammar was compiled for a model with another alphabet; evaluate the model again"
            )
        return grammar

    def accepts(self, text: str) -> bool:
        """Return True for a phrase of the grammar."""
        try:
            characters = self.labels.encode(text, text)
        except GrammarError:
            return False
        frames = [label for character in characters for label in (character, self.labels.blank)]
        paths = kaldifst.compose(kaldifst.make_linear_acceptor(frames), self._graph)
        return bool(paths.num_states)

    def phrases(self) -> Iterator[str]:
        """Yield every phrase once, in the order of the alphabet.

        A grammar may have more phrases than can be listed: take as many as are needed.
        """
        stack = [(self.start, "")]  # states whose last label is a blank, and the text that leads there
        while stack:
            state, text = stack.pop()
            if text and self.ends(state):
                yield text
            stack += [(after, text + character) for character, after in reversed(self.characters_after(state))]

    @property
    def start(self) -> int:
        """The state before the first character of every phrase."""
        start: int = self._graph.start
        return start

    def ends(self, state: int) -> bool:
        """Return True if the characters on the way to a state may be a whole phrase."""
        return bool(self._graph.final(state).value < np.inf)

    def characters_after(self, state: int) -> list[tuple[str, int]]:
        """Return the characters that may follow a state, and the states behind them, in the order of the alphabet. The
        last label of each of these states is a blank.
        """
        graph, labels = self._graph, self.labels
        return [
            (labels.decode([arc.olabel]), _after_blank(graph, arc.nextstate, labels.blank))
            for arc in kaldifst.ArcIterator(graph, state)
            if arc.olabel not in (0, labels.catch_all)
        ]

    @cached_property
    def _graph(self) -> kaldifst.StdFst:
        return read_const(self.graph)

    def filled_slots(self, text: str) -> dict[str, str]:
        """Return the words that each slot of a phrase has, by the slot's name. Later values of a slot have a number behind
        its name: room, room_2, room_3.

        Of several readings of the phrase, it is always the same one.
        """
        if not self.slots:
            return {}
        phrase = kaldifst.make_linear_acceptor(self.labels.encode(text, text))
        readings = kaldifst.compose(phrase, self._slot_transducer)
        return _spans(kaldifst.shortest_path(readings), self.about.slots, self.labels)

    @cached_property
    def _slot_transducer(self) -> kaldifst.StdFst:
        return read_const(self.slots)

    def intent(self, text: str) -> str | None:
        """Return the intent of a phrase, which has one at most. None for a phrase without one."""
        if not self.intents:
            return None
        phrase = kaldifst.make_linear_acceptor(self.labels.encode(text, text))
        path = kaldifst.shortest_path(kaldifst.compose(phrase, self._intent_transducer))
        numbers = kaldifst.get_linear_symbol_sequence(path)[2]
        return self.about.intents[numbers[0] - 1] if numbers else None

    @cached_property
    def _intent_transducer(self) -> kaldifst.StdFst:
        return read_const(self.intents)


def _after_blank(graph: kaldifst.StdFst, state: int, blank: int) -> int:
    target: int = next(arc.nextstate for arc in kaldifst.ArcIterator(graph, state) if arc.ilabel == blank)
    return target


def _spans(path: kaldifst.StdVectorFst, slots: Sequence[str], labels: Labels) -> dict[str, str]:
    """Return the characters between the marks of each slot on a path of the slot transducer."""
    found: dict[str, str] = {}
    opened: dict[int, list[int]] = {}
    state = path.start
    while state >= 0:
        following = -1
        for arc in kaldifst.ArcIterator(path, state):
            mark = arc.olabel
            if mark % 2:
                opened[(mark - 1) // 2] = []
            elif mark:
                slot = (mark - 2) // 2
                found[_free(slots[slot], found, slots)] = labels.decode(opened.pop(slot)).strip()
            if arc.ilabel:
                for characters in opened.values():
                    characters.append(arc.ilabel)
            following = arc.nextstate
        state = following
    return found


def _free(slot: str, found: Collection[str], slots: Collection[str]) -> str:
    """Return the name of a slot if it has no value yet, or else with the first number that makes it nobody's name."""
    numbered = (f"{slot}_{number}" for number in count(2))
    return slot if slot not in found else next(name for name in numbered if name not in found and name not in slots)
