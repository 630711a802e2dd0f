"""Free text by a beam search over prefixes: the sum of all paths that read as a text decides, as in libdeepspeech
without a scorer. Other texts come from other_texts.py.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

import fast_ctc_decode
import numpy as np
from speechmodel_api.alphabet import spoken

from speechmodel_decoding.acoustic import LogProbabilities
from speechmodel_decoding.alignment import align
from speechmodel_decoding.labels import SPACE
from speechmodel_decoding.other_texts import probable_texts

LEAST_PROBABLE = 1e-4
"""Probability below which a label is not tried in a frame. On 72 clips, half of them in loud noise, a limit of 0
gave the same texts and took five times as long."""
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
        self._characters = [chr(_FIRST + index) for index in range(len(alphabet) + 1)]
        self._limit = min(LEAST_PROBABLE, 0.5 / len(self._characters))

    def spell(self, frames: LogProbabilities) -> Spelling:
        """Return the text that fits the frames best, `[frames, labels + 1]` with the blank last."""
        blank_first = np.ascontiguousarray(np.exp(np.roll(frames, 1, axis=1)))
        found, _ = fast_ctc_decode.beam_search(
            blank_first, self._characters, beam_size=self._beam_width, beam_cut_threshold=self._limit
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
