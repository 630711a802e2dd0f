"""Clips -> padded tensors, made by a thread ahead of the network."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from itertools import islice

import numpy as np
import tensorflow as tf
from speechmodel_stagekit.dataset import Clip

from speechmodel_training.augmentation import AugmentedClip, Augmenter
from speechmodel_training.features import COEFFICIENTS, Frames, read_samples
from speechmodel_training.learner import Batch
from speechmodel_training.network import Share
from speechmodel_training.schedule import ClipIndexes
from speechmodel_training.workers import Workers

_AHEAD = 2
"""Batches that wait for the network."""
MOST_KEPT_FRAMES = 1_000_000
"""Most frames of clips that are kept: 104 MB, for 5.5 hours of speech. The others are made again."""


class BatchMaker:
    """Makes batches of the clips of one part, each clip augmented on its own.

    Clips that change are made again in every epoch: without augmentation, one core makes features about 1200 times
    faster than speech. With `repeats`, clips are the same in every epoch, and are kept in memory. Of several workers,
    each makes its share of every batch. With several versions, all clips of a batch are in it once for each version, in
    the same order.
    """

    def __init__(
        self,
        clips: Sequence[Clip],
        alphabet: Sequence[str],
        augmenter: Augmenter,
        workers: Workers | None = None,
        *,
        versions: int = 1,
        repeats: bool = False,
    ) -> None:
        self._versions = versions
        self._repeats = repeats
        self._kept: dict[int, AugmentedClip] = {}
        """Clips by their index. Those that repeat are equal in all versions."""
        self._room = MOST_KEPT_FRAMES
        self._workers = workers or Workers()
        self._clips = clips
        self._index = {label: index for index, label in enumerate(alphabet)}
        self._augmenter = augmenter

    def make(self, clips: ClipIndexes, epoch: int = 0) -> Batch:
        """Return the batch of the clips with these indexes, as they are in this epoch. Raises ArtefactMissing."""
        if self._workers.count == 1:
            return self._make(clips, epoch)
        rows = range(self._workers.index, len(clips), self._workers.count)
        in_versions = [version * len(clips) + row for version in range(self._versions) for row in rows or (0,)]
        share = Share(
            rows=tf.constant(in_versions, tf.int32),
            clips=tf.constant(len(clips) * self._versions),
            frames=tf.constant(max(self._frames(clip, epoch) for clip in clips)),
            counted=tf.constant(1.0 if rows else 0.0),
        )
        return replace(self._make([clips[row] for row in rows or (0,)], epoch), share=share)

    def _make(self, chosen: Sequence[int], epoch: int) -> Batch:
        augmented = [self._augmented(clip, epoch, version) for version in range(self._versions) for clip in chosen]
        clips = [*chosen] * self._versions
        needed = [self._clips[clip].frames_needed for clip in clips]
        features = [lengthened(each.features, most) for each, most in zip(augmented, needed, strict=True)]
        frames = [len(each) for each in features]
        silence = [
            # the transcript must have enough frames left
            max(0, min(each.leading_silence, total - 2 * most))
            for each, total, most in zip(augmented, frames, needed, strict=True)
        ]
        padded = np.zeros((len(clips), max(frames), COEFFICIENTS), np.float32)
        for row, each in zip(padded, features, strict=True):
            row[: len(each)] = each
        labels = [[self._index[character] for character in self._clips[clip].transcript] for clip in clips]
        with tf.device("CPU:0"):
            return Batch(
                tf.constant(padded),
                tf.constant(frames, tf.int32),
                tf.constant(silence, tf.int32),
                _sparse(labels),
                tuple(self._clips[clip].transcript for clip in clips),
                versions=self._versions,
            )

    def lengths(self, epoch: int = 0) -> list[int]:
        """Return the frames of every clip in this epoch, pauses and changes of speed included."""
        return [self._frames(index, epoch) for index in range(len(self._clips))]

    def stream(self, batches: Iterable[ClipIndexes], epoch: int = 0) -> Iterator[Batch]:
        """Yield the batches in order, each made while the ones before it are used."""
        waiting = iter(batches)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
            ahead: list[Future[Batch]] = [thread.submit(self.make, clips, epoch) for clips in islice(waiting, _AHEAD)]
            try:
                while ahead:
                    batch = ahead.pop(0).result()
                    ahead += [thread.submit(self.make, clips, epoch) for clips in islice(waiting, 1)]
                    yield batch
            finally:
                for future in ahead:
                    future.cancel()

    def _augmented(self, clip: int, epoch: int, version: int) -> AugmentedClip:
        """Return a clip as it is in this epoch. It is made by one thread at a time."""
        if (kept := self._kept.get(clip)) is not None:
            return kept
        samples = read_samples(self._clips[clip].path)
        made = self._augmenter.augment(samples, clip=clip, epoch=epoch, version=version)
        if self._repeats and len(made.features) <= self._room:
            self._room -= len(made.features)
            self._kept[clip] = made
        return made

    def _frames(self, index: int, epoch: int) -> int:
        clip = self._clips[index]
        return max(self._augmenter.frames(clip.samples, clip=index, epoch=epoch), clip.frames_needed)


def lengthened(features: Frames, fewest: int) -> Frames:
    """Return the features with at least `fewest` frames, the last one repeated: faster speech may
    leave fewer frames than CTC needs.
    """
    return np.pad(features, ((0, max(fewest - len(features), 0)), (0, 0)), mode="edge")


def _sparse(labels: Sequence[Sequence[int]]) -> tf.SparseTensor:
    places = [(row, column) for row, line in enumerate(labels) for column in range(len(line))]
    values = [label for line in labels for label in line]
    shape = [len(labels), max(len(line) for line in labels)]
    return tf.SparseTensor(
        np.array(places, np.int64).reshape(-1, 2), np.array(values, np.int32), np.array(shape, np.int64)
    )
