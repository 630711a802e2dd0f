"""The texts that are most probable for the frames of a recording: a beam search over prefixes that returns all of them.

The search of beam_search.py is compiled, and returns the best text only ([decision
51](../../../../docs/decisions/051-other-texts-by-native.md)).
"""

from collections import defaultdict

import numpy as np

from speechmodel_decoding.acoustic import LogProbabilities

WIDTH = 50
"""Prefixes that are kept after each frame. The server gives at most 20 texts."""
LIKELY = 1e-3
"""Probability from which a label is tried in a frame."""
MOST_LIKELY = 20
"""Most labels that are tried in a frame. With WIDTH, it bounds the time for vague frames."""

_EMPTY = 0
"""Number of the prefix without labels."""


def probable_texts(frames: LogProbabilities) -> list[list[int]]:
    """Return the classes of up to WIDTH texts, the most probable first, for frames `[frames, labels + 1]`.

    The probability of a text is the sum over the paths that read as it, of those that the beam kept.
    """
    prefixes = _Prefixes()
    beam = {_EMPTY: (1.0, 0.0)}  # for each prefix, of the paths that end in a blank and in its last label
    for row in np.exp(frames.astype(np.float64)):
        likely = np.flatnonzero(row[:-1] >= LIKELY)
        if len(likely) > MOST_LIKELY:
            likely = likely[np.argsort(row[likely])[-MOST_LIKELY:]]
        beam = _after(beam, row.tolist(), likely.tolist(), prefixes)
    best = sorted(beam, key=lambda prefix: -sum(beam[prefix]))
    return [prefixes.labels(each) for each in best]


class _Prefixes:
    """The prefixes of a search, each a number. They are a tree, so that a longer one costs no copy."""

    def __init__(self) -> None:
        self.last: list[int | None] = [None]
        """The last label of each prefix."""
        self._before = [_EMPTY]
        self._longer: dict[tuple[int, int], int] = {}

    def longer(self, prefix: int, label: int) -> int:
        """Return the prefix with one more label."""
        number = self._longer.setdefault((prefix, label), len(self.last))
        if number == len(self.last):
            self.last.append(label)
            self._before.append(prefix)
        return number

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
    """Return the beam after a frame, whose most probable prefix has the probability 1, so that none becomes 0."""
    blank = row[-1]
    blanks: defaultdict[int, float] = defaultdict(float)
    labels: defaultdict[int, float] = defaultdict(float)
    for prefix, (in_blank, in_label) in beam.items():
        last, both = prefixes.last[prefix], in_blank + in_label
        blanks[prefix] += both * blank
        if last is not None:
            labels[prefix] += in_label * row[last]
        for label in likely:
            labels[prefixes.longer(prefix, label)] += (in_blank if label == last else both) * row[label]
    sums = {prefix: blanks.get(prefix, 0.0) + labels.get(prefix, 0.0) for prefix in blanks.keys() | labels.keys()}
    kept = sorted(sums, key=lambda prefix: (-sums[prefix], prefix))[:WIDTH]
    scale = sums[kept[0]] or 1.0
    return {prefix: (blanks.get(prefix, 0.0) / scale, labels.get(prefix, 0.0) / scale) for prefix in kept}
