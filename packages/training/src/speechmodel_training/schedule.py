"""The batches that an epoch has left, the same after every restart.

An epoch sees every clip once. Clips of about the same length share a batch, since the shorter ones
are padded to the longest. The batches and their order depend on seed and epoch only.

The past of a running epoch is a list of segments, one per way in which it was divided into batches.
Replaying them gives the clips that are left. When the batch size, the augmentation or maxEpochs
changed between two runs, these are divided again, so no clip is seen twice or left out.
"""

from collections.abc import Callable, Sequence
from itertools import pairwise

from pydantic import Field
from speechmodel_api.base import Document

from speechmodel_training.draws import uniform

ClipIndexes = tuple[int, ...]
"""Indexes into the clips of a part."""

JITTER = 0.1
"""Share by which lengths are stretched at most before clips are grouped, so that batches differ
from epoch to epoch."""


class Segment(Document):
    """The part of an epoch that was divided into batches in one way."""

    batch_size: int = Field(ge=1)
    batches_done: int = Field(ge=0)
    augmentation: tuple[str, ...] | None = None
    """Entries that the lengths of the clips depend on, besides `max_epochs`. None in a state from before
    they were recorded."""
    max_epochs: int | None = None

    def divides_as(self, other: "Segment") -> bool:
        """Return True for a segment that differs in the batches done at most."""
        return self.model_copy(update={"batches_done": other.batches_done}) == other


def batches_left(
    clips: int, lengths: Callable[[Segment], Sequence[int]], segments: Sequence[Segment], *, seed: int, epoch: int
) -> list[ClipIndexes]:
    """Return the batches that the last of `segments` has left, in order.

    `clips` is the number of training clips, and `lengths` returns the frames of each in a segment.
    """
    left: Sequence[int] = range(clips)
    batches: list[ClipIndexes] = []
    for segment in segments:
        batches = _cut(left, lengths(segment), segment.batch_size, f"{seed}/{epoch}")[segment.batches_done :]
        left = [clip for batch in batches for clip in batch]
    return batches


def in_order_of_length(lengths: Sequence[int], batch_size: int) -> list[ClipIndexes]:
    """Return the batches for dev clips, where order does not matter: least padding, always the
    same.
    """
    return _groups(sorted(range(len(lengths)), key=lambda clip: (lengths[clip], clip)), batch_size)


def _cut(clips: Sequence[int], lengths: Sequence[int], batch_size: int, salt: str) -> list[ClipIndexes]:
    by_length = sorted(clips, key=lambda clip: (lengths[clip] * (1 + JITTER * uniform(f"{salt}/clip/{clip}")), clip))
    batches = _groups(by_length, batch_size)
    order = sorted(range(len(batches)), key=lambda batch: uniform(f"{salt}/batch/{batch}"))
    return [batches[batch] for batch in order]


def _groups(clips: Sequence[int], batch_size: int) -> list[ClipIndexes]:
    """Return as few groups as `batch_size` allows, whose sizes differ by one at most.

    A last batch of a single clip would give a noisy step.
    """
    count = -(-len(clips) // batch_size)
    edges = [len(clips) * group // count for group in range(count)] + [len(clips)]
    return [tuple(clips[start:end]) for start, end in pairwise(edges)]
