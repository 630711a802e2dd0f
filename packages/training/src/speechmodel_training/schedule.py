"""The batches that an epoch has left, the same after every restart.

An epoch sees every clip once. Clips of about the same length share a batch, since the shorter ones
are padded to the longest. The batches and their order depend on seed and epoch only.

The past of a running epoch is a list of segments, one per batch size that was used: (batch size,
batches done). Replaying them gives the clips that are left. When the batch size changed between two
runs, these are divided again, so no clip is seen twice or left out.
"""

from collections.abc import Sequence
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
    """The part of an epoch that was trained with one batch size."""

    batch_size: int = Field(ge=1)
    batches_done: int = Field(ge=0)


def batches_left(lengths: Sequence[int], segments: Sequence[Segment], *, seed: int, epoch: int) -> list[ClipIndexes]:
    """Return the batches that the last of `segments` has left, in order. `lengths` are the frames
    of every training clip.
    """
    left: Sequence[int] = range(len(lengths))
    batches: list[ClipIndexes] = []
    for segment in segments:
        batches = _cut(left, lengths, segment.batch_size, f"{seed}/{epoch}")[segment.batches_done :]
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
