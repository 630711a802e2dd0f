"""The texts that are most probable for the frames of a recording: a beam search over prefixes that returns all of them.

The search of beam_search.py is compiled, and returns the best text only ([decision
51](../../../../docs/decisions/051-other-texts-by-native.md)).
"""

from collections import defaultdict
from collections.abc import Callable

import numpy as np

from speechmodel_decoding.acoustic import LogProbabilities

WIDTH = 50
"""Prefixes that are kept after each frame. The server gives at most 20 texts."""
LIKELY = 1e-3
"""Probability from which a label is tried in a frame."""
MOST_LIKELY = 20
"""Most labels that are tried in a frame. With WIDTH, it bounds the time for vague frames."""
INTERRUPTED = 50
"""Frames between two calls of `interrupt`, 1 s."""

_Candidate = int | tuple[int, int]
"""A prefix with a number, or one without, which is a numbered prefix and one more label."""
_EMPTY = 0
"""Number of the prefix without labels."""


def probable_texts(frames: LogProbabilities, interrupt: Callable[[], None]) -> list[list[int]]:
    """Return the classes of up to WIDTH texts, the most probable first, for frames `[frames, labels + 1]`.

    The probability of a text is the sum over the paths that read as it, of those that the beam kept.
    `interrupt` is called now and then, and ends the search by raising an error.
    """
    prefixes = _Prefixes()
    beam = {_EMPTY: (1.0, 0.0)}  # for each prefix, of the paths that end in a blank and in its last label
    for number, row in enumerate(np.exp(frames.astype(np.float64))):
        if number % INTERRUPTED == 0:
            interrupt()
        likely = np.flatnonzero(row[:-1] >= LIKELY)
        if len(likely) > MOST_LIKELY:
            likely = likely[np.argsort(row[likely])[-MOST_LIKELY:]]
        beam = _after(beam, row.tolist(), likely.tolist(), prefixes)
    best = sorted(beam, key=lambda prefix: -sum(beam[prefix]))
    return [prefixes.labels(each) for each in best]


class _Prefixes:
    """The prefixes that a beam has kept, each a number. They are a tree, so that a longer one costs no copy."""

    def __init__(self) -> None:
        self.last: list[int | None] = [None]
        """The last label of each prefix."""
        self._before = [_EMPTY]
        self._longer: dict[tuple[int, int], int] = {}

    def longer(self, prefix: int, label: int) -> _Candidate:
        """Return the prefix with one more label, by its number if it has one."""
        return self._longer.get((prefix, label), (prefix, label))

    def keep(self, candidate: _Candidate) -> int:
        """Return the number of a prefix, which is a new one if it had none."""
        if isinstance(candidate, int):
            return candidate
        prefix, label = candidate
        self.last.append(label)
        self._before.append(prefix)
        return self._longer.setdefault(candidate, len(self.last) - 1)

    def labels(self, prefix: int) -> list[int]:
        """Return the labels of a prefix."""
        labels = []
        while (label := self.last[prefix]) is not None:
            labels.append(label)
            prefix = self._before[prefix]
        return labels[::-1]


def _after(
    beam: dict[int, tuple[float, float]], row: list[float], likely: list[int], prefixes: _Prefixes
) -> dict[int, tuple[float, float]]:
    """Return the beam after a frame, whose most probable prefix has the probability 1, so that none becomes 0.

    Only prefixes that it keeps get a number, since those that are tried are too many to store.
    """
    blank = row[-1]
    blanks: defaultdict[_Candidate, float] = defaultdict(float)
    labels: defaultdict[_Candidate, float] = defaultdict(float)
    for prefix, (in_blank, in_label) in beam.items():
        last, both = prefixes.last[prefix], in_blank + in_label
        blanks[prefix] += both * blank
        if last is not None:
            labels[prefix] += in_label * row[last]
        for label in likely:
            labels[prefixes.longer(prefix, label)] += (in_blank if label == last else both) * row[label]
    sums = {each: blanks.get(each, 0.0) + labels.get(each, 0.0) for each in blanks | labels}
    best = sorted(sums, key=sums.__getitem__, reverse=True)[:WIDTH]
    scale = sums[best[0]] or 1.0
    return {prefixes.keep(each): (blanks.get(each, 0.0) / scale, labels.get(each, 0.0) / scale) for each in best}
