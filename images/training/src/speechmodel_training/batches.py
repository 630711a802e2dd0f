"""Clips -> padded tensors, made one batch ahead of the network by a thread."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import tensorflow as tf

from speechmodel_training.audio import COEFFICIENTS
from speechmodel_training.dataset import Clip
from speechmodel_training.features import Frames, clip_features
from speechmodel_training.learner import Batch
from speechmodel_training.schedule import Clips

CACHE_BYTES = 1 << 30
"""Of features kept in memory: 57 hours of speech. What does not fit is computed anew in every epoch, at about 2000 times the speed of
speech per core."""
_AHEAD = 2


class BatchMaker:
    """Makes batches of the clips of one part."""

    def __init__(self, clips: Sequence[Clip], alphabet: Sequence[str], cache_bytes: int = CACHE_BYTES) -> None:
        self._clips = clips
        self._index = {label: index for index, label in enumerate(alphabet)}
        self._cache: dict[int, Frames] = {}
        self._cache_bytes_left = cache_bytes

    def make(self, clips: Clips) -> Batch:
        """The batch of the clips with these indexes."""
        features = [self._features(clip) for clip in clips]
        frames = [len(each) for each in features]
        padded = np.zeros((len(clips), max(frames), COEFFICIENTS), np.float32)
        for row, each in zip(padded, features, strict=True):
            row[: len(each)] = each
        labels = [[self._index[character] for character in self._clips[clip].transcript] for clip in clips]
        with tf.device("CPU:0"):
            return Batch(tf.constant(padded), tf.constant(frames, tf.int32), _sparse(labels), len(clips))

    def stream(self, batches: Iterable[Clips]) -> Iterator[Batch]:
        """The batches in order, each made while the ones before it are used."""
        waiting = iter(batches)
        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="batches") as thread:
            ahead: list[Future[Batch]] = [thread.submit(self.make, clips) for clips in islice(waiting, _AHEAD)]
            try:
                while ahead:
                    batch = ahead.pop(0).result()
                    ahead += [thread.submit(self.make, clips) for clips in islice(waiting, 1)]
                    yield batch
            finally:
                for future in ahead:
                    future.cancel()

    def _features(self, clip: int) -> Frames:
        if (known := self._cache.get(clip)) is not None:
            return known
        features = clip_features(self._clips[clip].path)
        if features.nbytes <= self._cache_bytes_left:
            self._cache_bytes_left -= features.nbytes
            self._cache[clip] = features
        return features


def _sparse(labels: Sequence[Sequence[int]]) -> tf.SparseTensor:
    places = [(row, column) for row, line in enumerate(labels) for column in range(len(line))]
    values = [label for line in labels for label in line]
    shape = [len(labels), max(len(line) for line in labels)]
    return tf.SparseTensor(
        np.array(places, np.int64).reshape(-1, 2), np.array(values, np.int32), np.array(shape, np.int64)
    )
