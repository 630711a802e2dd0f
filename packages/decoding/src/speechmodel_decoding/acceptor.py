"""Deterministic character acceptors as arrays, and their way into and out of OpenFst.

Arrays instead of OpenFst's own construction, because a set of 100,000 sentences has millions of
states: each costs a call from Python there, and OpenFst's minimisation of their trie takes 12 s.
"""

import os
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain

import kaldifst
import numpy as np
import numpy.typing as npt

Labels32 = npt.NDArray[np.int32]
States = npt.NDArray[np.int64]

_MAGIC = 2125659606
_VECTOR, _CONST = (b"vector", 2), (b"const", 2)
"""OpenFst's names and versions of its two file types. Version 2 of const is not aligned."""
_EXPANDED, _MUTABLE = 1, 2
"""Property bits of OpenFst. All others are unknown, which OpenFst may find out itself."""
_ARC = np.dtype([("input", "<i4"), ("output", "<i4"), ("weight", "<f4"), ("target", "<i4")])
_CONST_STATE = np.dtype(
    [("final", "<f4"), ("first", "<u4"), ("arcs", "<u4"), ("input_epsilons", "<u4"), ("output_epsilons", "<u4")]
)
_VECTOR_STATE_BYTES = 12
"""A float32 and an int64: the final weight and the number of arcs."""


@dataclass(frozen=True)
class Acceptor:
    """A deterministic acceptor without epsilons. State 0 is the start.

    Arcs are sorted by source, then by label.
    """

    source: States
    """State that each arc leaves, `[arcs]`."""
    label: Labels32
    """Kaldi's label of each arc, `[arcs]`."""
    target: States
    """State that each arc enters, `[arcs]`."""
    final: npt.NDArray[np.bool_]
    """True for the states that end a phrase, `[states]`."""

    @property
    def states(self) -> int:
        """Number of states."""
        return len(self.final)


def trie(phrases: Sequence[Sequence[int]]) -> Acceptor:
    """Return the trie of `phrases`, each a sequence of Kaldi's labels of at least one label."""
    lengths = np.array([len(phrase) for phrase in phrases])
    table = np.zeros((len(phrases), lengths.max()), ">u2")
    table[np.arange(lengths.max()) < lengths[:, None]] = np.fromiter(chain.from_iterable(phrases), ">u2", lengths.sum())
    # big-endian rows compare as bytes like the sequences of labels that they hold
    rows = np.unique(table.view(f"S{table.shape[1] * 2}").ravel())
    table = rows.view(">u2").reshape(len(rows), -1)
    lengths = (table > 0).sum(axis=1)
    opens = table > 0
    opens[1:] &= ~np.logical_and.accumulate(table[1:] == table[:-1], axis=1)
    number = np.cumsum(opens, dtype=np.int64).reshape(opens.shape)
    node = np.maximum.accumulate(np.where(opens, number, 0), axis=0)
    before = np.zeros_like(node)
    before[:, 1:] = node[:, :-1]
    final = np.zeros(number[-1, -1] + 1, bool)
    final[node[np.arange(len(rows)), lengths - 1]] = True
    source, label, target = before[opens], table[opens].astype(np.int32), number[opens]
    order = np.argsort(source, kind="stable")  # the labels of a state are in order already
    return Acceptor(source[order], label[order], target[order], final)


def minimise(acceptor: Acceptor) -> Acceptor:
    """Return the acceptor without cycles that has the fewest states and accepts the same phrases.

    States with the same height, finality and arcs are one. They are compared by 64-bit hashes of
    their arcs: with a million states, two different ones are taken for one with a probability of
    3e-8.
    """
    height = _heights(acceptor)
    arcs_by_height, arc_bounds = _grouped(height[acceptor.source])
    states_by_height, state_bounds = _grouped(height)
    merged = np.arange(acceptor.states)
    for level in range(height.max() + 1):
        here = states_by_height[state_bounds[level] : state_bounds[level + 1]]
        arcs = arcs_by_height[arc_bounds[level] : arc_bounds[level + 1]]
        signature = acceptor.final[here].astype(np.uint64)
        np.add.at(
            signature,
            np.searchsorted(here, acceptor.source[arcs]),
            _mixed(acceptor.label[arcs].astype(np.uint64), merged[acceptor.target[arcs]].astype(np.uint64)),
        )
        _, first, inverse = np.unique(signature, return_index=True, return_inverse=True)
        merged[here] = here[first][inverse]
    kept = merged == np.arange(acceptor.states)
    number = np.cumsum(kept) - 1
    arcs = kept[acceptor.source]
    return Acceptor(
        number[acceptor.source[arcs]],
        acceptor.label[arcs],
        number[merged[acceptor.target[arcs]]],
        acceptor.final[kept],
    )


def to_openfst(acceptor: Acceptor) -> kaldifst.StdVectorFst:
    """Return the acceptor as OpenFst's mutable type, its arcs sorted by label."""
    counts = np.bincount(acceptor.source, minlength=acceptor.states)
    words = np.zeros(3 * acceptor.states + 4 * len(acceptor.source), "<u4")
    first = np.cumsum(counts) - counts
    at = 3 * np.arange(acceptor.states) + 4 * first
    words[at] = np.where(acceptor.final, 0.0, np.inf).astype("<f4").view("<u4")
    words[at + 1] = counts
    arcs = words[(3 * (acceptor.source + 1) + 4 * np.arange(len(acceptor.source)))[:, None] + np.arange(4)]
    arcs[:, 0] = arcs[:, 1] = acceptor.label
    arcs[:, 3] = acceptor.target
    words[(3 * (acceptor.source + 1) + 4 * np.arange(len(acceptor.source)))[:, None] + np.arange(4)] = arcs
    head = _header(_VECTOR, _EXPANDED | _MUTABLE, acceptor.states, 0)
    with memory_file(head + words.tobytes()) as path:
        return kaldifst.StdVectorFst.read(path)


def from_openfst(fst: kaldifst.StdVectorFst) -> Acceptor:
    """Return a deterministic acceptor of OpenFst, whose arcs have no weights."""
    number = {fst.start: 0}
    queue = [fst.start]
    source, label, target = [], [], []
    for state in queue:
        for arc in kaldifst.ArcIterator(fst, state):
            if arc.nextstate not in number:
                number[arc.nextstate] = len(number)
                queue.append(arc.nextstate)
            source.append(number[state])
            label.append(arc.ilabel)
            target.append(number[arc.nextstate])
    final = np.array([fst.final(state).value < np.inf for state in queue])
    return _sorted(np.array(source, np.int64), np.array(label, np.int32), np.array(target, np.int64), final)


def const_bytes(source: States, labels: npt.NDArray[np.int32], target: States, final: npt.NDArray[np.bool_]) -> bytes:
    """Return a transducer as the bytes of OpenFst's constant type.

    `labels` is `[arcs, 2]`, input and output; arcs are sorted by source; state 0 is the start.
    """
    states = np.zeros(len(final), _CONST_STATE)
    counts = np.bincount(source, minlength=len(final))
    states["final"] = np.where(final, 0.0, np.inf)
    states["arcs"] = counts
    states["first"] = np.cumsum(counts) - counts
    states["input_epsilons"] = np.bincount(source[labels[:, 0] == 0], minlength=len(final))
    states["output_epsilons"] = np.bincount(source[labels[:, 1] == 0], minlength=len(final))
    arcs = np.zeros(len(source), _ARC)
    arcs["input"], arcs["output"], arcs["target"] = labels[:, 0], labels[:, 1], target
    return _header(_CONST, _EXPANDED, len(final), len(source)) + states.tobytes() + arcs.tobytes()


def read_const(content: bytes) -> kaldifst.StdFst:
    """Return the constant transducer in the bytes of an OpenFst file."""
    with memory_file(content) as path:
        return kaldifst.StdConstFst.read(path)


@contextmanager
def memory_file(content: bytes) -> Iterator[str]:
    """Give the path of a file in memory: OpenFst reads and writes files only, and the root file
    system of a pod is read-only.
    """
    descriptor = os.memfd_create("openfst")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        os.lseek(descriptor, 0, os.SEEK_SET)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _header(kind: tuple[bytes, int], properties: int, states: int, arcs: int) -> bytes:
    name, version = kind
    strings = b"".join(struct.pack("<i", len(text)) + text for text in (name, b"standard"))
    return struct.pack("<i", _MAGIC) + strings + struct.pack("<iiQqqq", version, 0, properties, 0, states, arcs)


def _sorted(source: States, label: Labels32, target: States, final: npt.NDArray[np.bool_]) -> Acceptor:
    order = np.lexsort((label, source))
    return Acceptor(source[order].astype(np.int64), label[order], target[order].astype(np.int64), final)


def _heights(acceptor: Acceptor) -> npt.NDArray[np.int16]:
    """Return the length of the longest way from each state to an end."""
    height = np.zeros(acceptor.states, np.int16)
    arcs = np.arange(len(acceptor.source))
    while len(arcs):
        raised = height.copy()
        np.maximum.at(raised, acceptor.source[arcs], height[acceptor.target[arcs]] + 1)
        changed = raised != height
        arcs, height = np.flatnonzero(changed[acceptor.target]), raised
    return height


def _grouped(height: npt.NDArray[np.int16]) -> tuple[States, States]:
    """Return the indices by height, each height's in order, and the place where each height begins."""
    return np.argsort(height, kind="stable"), np.concatenate([[0], np.cumsum(np.bincount(height))])


def _mixed(label: npt.NDArray[np.uint64], state: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """Return a hash of each pair, by the finaliser of SplitMix64 (Steele, Lea and Flood, 2014)."""
    value = (state << np.uint64(16)) + label + np.uint64(0x9E3779B97F4A7C15)
    value = (value ^ (value >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    value = (value ^ (value >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return value ^ (value >> np.uint64(31))
