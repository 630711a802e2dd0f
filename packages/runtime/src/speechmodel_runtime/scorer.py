"""External scorers of DeepSpeech 0.9.3: a language model and the words that it knows, in one `.scorer` file.

    [KenLM binary][int32 "TRIE"][int32 version 6][uint8 bytes mode][float64 alpha][float64 beta][OpenFst]

The automaton accepts the words, each followed by the space. Its labels are numbers of an alphabet that
the file does not name, so a scorer for another alphabet loads and decodes nonsense. The runtime does
not notice a truncated or damaged file either. So all of this is checked here.
"""

import mmap
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from os import PathLike, fspath
from pathlib import Path

import numpy as np
import numpy.typing as npt
from speechmodel_api.alphabet import CATCH_ALL

from speechmodel_runtime.errors import ScorerIncompatible, ScorerUnreadable

VERSION = 6
_HEADER = struct.Struct("<ii?dd")
_HEADER_MAGIC = 0x54524945
_FST_NAMES = b"\x05\0\0\0const\x08\0\0\0standard"
_FST_MAGIC = struct.pack("<i", 2125659606)
_FST_REST = struct.Struct("<iiQqqq")
"""Version, flags, properties, start state, number of states, number of arcs."""
_ALIGNED, _ALIGNMENT = 4, 16
_ALIGNED_VERSION = 1
"""Version of an automaton whose tables are aligned; the others have 2."""
_STATE = np.dtype([("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("inputs", "<u4"), ("outputs", "<u4")])
_ARC = np.dtype([("label", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("target", "<i4")])
SPACE = b" "


@dataclass(frozen=True)
class Scorer:
    """A scorer as the decoder uses it."""

    path: Path
    alpha: float
    """Weight of the language model."""
    beta: float
    """Reward of each word."""
    hot_words: Mapping[str, float] = field(default_factory=dict)
    """Words that are more likely than the language model says. The boost is added to the natural
    logarithm of the probability of each n-gram that contains the word, before alpha. A negative one
    makes a word less likely. libdeepspeech leaves out the last word of a recording."""


class ScorerWords:
    """The words of a scorer, for a model with an alphabet."""

    def __init__(self, path: str | PathLike[str], labels: Sequence[bytes]) -> None:
        """Read the words of the scorer at `path`, for a model with these labels in order.

        Raises ScorerUnreadable when the file is not a whole scorer, and ScorerIncompatible when it was
        made for another alphabet.
        """
        self._path = fspath(path)
        if labels and labels[-1] == CATCH_ALL.encode():  # it is the last, and part of no word
            labels = labels[:-1]
        self.alpha = self.beta = 0.0
        """Weight of the language model and reward of each word, as the file names them."""
        self._number = {label.decode(errors="replace"): index + 1 for index, label in enumerate(labels)}
        try:
            with Path(path).open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
                self._start = self._read(content)
        except OSError as error:
            raise ScorerUnreadable(self._path, f"cannot be read ({error.strerror}); check the path") from error
        except ValueError as error:  # mmap refuses a file without bytes
            raise ScorerUnreadable(self._path, "is empty; copy it again") from error
        self._require_alphabet(labels)

    def __contains__(self, word: str) -> bool:
        """Return True for a word that the decoder can emit with the scorer."""
        state = self._start
        for character in f"{word} ":
            number = self._number.get(character)
            first, arcs = int(self._states["first"][state]), int(self._states["arcs"][state])
            labels = self._arcs["label"][first : first + arcs].tolist()
            if number not in labels:
                return False
            state = int(self._arcs["target"][first + labels.index(number)])
        return bool(np.isfinite(self._states["final"][state]))

    def _read(self, content: mmap.mmap) -> int:
        names = content.rfind(_FST_NAMES)
        begin = names - len(_FST_MAGIC)
        header = begin - _HEADER.size
        if names < 0 or header < 0 or content[begin:names] != _FST_MAGIC:
            raise ScorerUnreadable(self._path, "is not a .scorer of DeepSpeech 0.9.3; generate it again")
        magic, version, bytes_mode, alpha, beta = _HEADER.unpack(content[header:begin])
        if magic != _HEADER_MAGIC or version != VERSION:
            problem = f"is not a .scorer of version {VERSION}, which DeepSpeech 0.9.3 reads"
            raise ScorerUnreadable(self._path, f"{problem}; generate it with generate_scorer_package 0.9.3")
        if bytes_mode:
            raise ScorerIncompatible(self._path, "is for models of bytes; generate it from an alphabet")
        self.alpha, self.beta = float(alpha), float(beta)
        rest = names + len(_FST_NAMES)
        if len(content) < rest + _FST_REST.size:
            raise self._truncated()
        _, flags, _, start, states, arcs = _FST_REST.unpack(content[rest : rest + _FST_REST.size])
        at = _aligned(rest + _FST_REST.size, flags)
        self._states = self._table(content, at, _STATE, states)
        self._arcs = self._table(content, _aligned(at + states * _STATE.itemsize, flags), _ARC, arcs)
        self._require_whole(start)
        return int(start)

    def _table(self, content: mmap.mmap, at: int, row: np.dtype[np.void], rows: int) -> npt.NDArray[np.void]:
        if rows < 0 or len(content) < at + rows * row.itemsize:
            raise self._truncated()
        return np.frombuffer(content[at : at + rows * row.itemsize], row)

    def _require_whole(self, start: int) -> None:
        """Refuse numbers that lead out of the tables: the runtime would read beyond them."""
        states, targets = self._states, self._arcs["target"]
        ends = states["first"].astype(np.int64) + states["arcs"]
        whole = (
            0 <= start < len(states)
            and ends.max(initial=0) <= len(targets)
            and 0 <= targets.min(initial=0) <= targets.max(initial=0) < len(states)
            and self._arcs["label"].min(initial=0) >= 0
        )
        if not whole:
            raise ScorerUnreadable(self._path, "is damaged; copy it again")

    def _truncated(self) -> ScorerUnreadable:
        return ScorerUnreadable(self._path, "is truncated; copy it again")

    def _require_alphabet(self, labels: Sequence[bytes]) -> None:
        if SPACE not in labels:
            raise ScorerIncompatible(self._path, "needs a model whose alphabet has the space; remove the scorer")
        largest = int(self._arcs["label"].max(initial=0))
        if largest > len(labels):
            problem = f"has a label {largest - 1}, and the last of the model's alphabet is {len(labels) - 1}"
            raise ScorerIncompatible(self._path, f"{problem}; generate it from the alphabet of the model")
        ends = np.unique(self._arcs["label"][np.isfinite(self._states["final"][self._arcs["target"]])])
        space = labels.index(SPACE)
        if ends.tolist() != [space + 1]:
            found = ", ".join(str(int(label) - 1) for label in ends[:3]) or "nothing"
            problem = f"ends words with the label {found}, and the space of the model's alphabet is {space}"
            raise ScorerIncompatible(self._path, f"{problem}; generate it from the alphabet of the model")


def header(alpha: float, beta: float) -> bytes:
    """Return what stands between the language model and the automaton of a scorer for an alphabet."""
    return _HEADER.pack(_HEADER_MAGIC, VERSION, False, alpha, beta)


def aligned_automaton(content: bytes, at: int) -> bytes:
    """Return the automaton, as OpenFst writes it by default, for the position `at` of a file.

    Its tables are aligned there, so that the runtime maps them instead of copying them with a warning.
    """
    rest = len(_FST_MAGIC) + len(_FST_NAMES)
    tables = rest + _FST_REST.size
    _, flags, properties, start, states, arcs = _FST_REST.unpack(content[rest:tables])
    head = content[:rest] + _FST_REST.pack(_ALIGNED_VERSION, flags | _ALIGNED, properties, start, states, arcs)
    ends = tables + states * _STATE.itemsize
    for table in (content[tables:ends], content[ends:]):
        head += bytes(-(at + len(head)) % _ALIGNMENT) + table
    return head


def _aligned(at: int, flags: int) -> int:
    return at + (-at % _ALIGNMENT if flags & _ALIGNED else 0)
