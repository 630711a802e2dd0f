"""Free text by a beam search over prefixes: the sum of all paths that read as a text decides, as in libdeepspeech
without a scorer. Other texts come from other_texts.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import fast_ctc_decode
import numpy as np
import numpy.typing as npt
from speechmodel_api.alphabet import spoken

from speechmodel_decoding.acoustic import LogProbabilities
from speechmodel_decoding.alignment import align
from speechmodel_decoding.labels import SPACE
from speechmodel_decoding.other_texts import probable_texts

LEAST_PROBABLE = 1e-4
"""Probability below which a label is not tried in a frame. On 72 clips, half of them in loud noise, a limit of 0
gave the same texts and took five times as long."""
MOST_LABELS = 40
"""Labels that are tried in a frame, the most probable ones, as in libdeepspeech (its cutoff_top_n)."""
LARGEST_BYTES = 512 << 20
"""Memory of one search. Of clear speech, 30 s with 500 prefixes need less. For frames in which everything is nearly as
probable, fewer prefixes are kept."""
_NODE_BYTES = 40
"""Memory of a prefix in fast-ctc-decode, without the 4 bytes for each label that may follow it."""
_FIRST = 0xF0000
"""First of the 65,534 characters of a private plane that stand for the labels, which may be longer than one."""


@dataclass(frozen=True)
class Spelling:
    """The labels of free text."""

    labels: tuple[str, ...]
    """Without the catch-all label."""
    frames: tuple[int, ...]
    """The frame in which each label begins on the best path, 20 ms each."""

    @property
    def text(self) -> str:
        """The labels as text."""
        return "".join(self.labels)

    def words(self) -> Iterator[tuple[str, int, int]]:
        """Yield each word with the frames in which its first and its last label begin."""
        for space, together in groupby(zip(self.labels, self.frames, strict=True), lambda each: each[0] == SPACE):
            if not space:
                labels, frames = zip(*together, strict=True)
                yield "".join(labels), frames[0], frames[-1]


class BeamSearch:
    """Spells free text. Safe for any number of threads."""

    def __init__(self, alphabet: Sequence[str], *, beam_width: int) -> None:
        """Search for texts of `alphabet`, with at most `beam_width` prefixes after each frame."""
        self._alphabet = tuple(alphabet)
        self._beam_width = beam_width
        self._limit = min(LEAST_PROBABLE, 0.5 / (len(alphabet) + 1))

    def spell(self, frames: LogProbabilities) -> Spelling:
        """Return the text that fits the frames best, `[frames, labels + 1]` with the blank last."""
        blank_first = np.exp(np.roll(frames, 1, axis=1))
        tried = blank_first >= np.maximum(self._limit, _least_of_most(blank_first))
        tried[:, 0] = True
        # a prefix has room for each label that any frame tries, so labels that none tries are left out
        used = np.flatnonzero(tried.any(axis=0))
        prefixes = LARGEST_BYTES // (_NODE_BYTES + 4 * len(used))
        beam_width = max(1, min(self._beam_width, prefixes // max(1, int(tried[:, 1:].sum()))))
        found, _ = fast_ctc_decode.beam_search(
            np.ascontiguousarray(np.where(tried, blank_first, 0)[:, used]),
            [chr(_FIRST + index) for index in used],
            beam_size=beam_width,
            beam_cut_threshold=self._limit,
        )
        return self._spelling(frames, [ord(character) - _FIRST - 1 for character in found])

    def spell_several(self, frames: LogProbabilities, most: int, interrupt: Callable[[], None]) -> list[Spelling]:
        """Return the text of spell(), and up to `most` - 1 others, the most probable first.

        They differ from each other, and the others are not empty. There are none if the best text is empty.
        `interrupt` is called now and then, and ends the search by raising an error.
        """
        best = self.spell(frames)
        if most < 2 or not best.text:
            return [best]
        different = {best.text: best}
        for classes in probable_texts(frames, interrupt):
            if len(different) >= most:
                break
            interrupt()
            other = self._spelling(frames, classes)
            if other.text:
                different.setdefault(other.text, other)
        return list(different.values())

    def _spelling(self, frames: LogProbabilities, classes: list[int]) -> Spelling:
        if not classes:
            return Spelling((), ())
        labels, spans = [self._alphabet[each] for each in classes], align(frames, classes)
        places = spoken(labels)
        return Spelling(tuple(labels[place] for place in places), tuple(spans[place].first for place in places))


def _least_of_most(probabilities: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return the least probability of the MOST_LABELS most probable labels of each frame, `[frames, 1]`."""
    most = min(MOST_LABELS, probabilities.shape[1] - 1)
    return -np.partition(-probabilities[:, 1:], most - 1, axis=1)[:, most - 1 : most]
