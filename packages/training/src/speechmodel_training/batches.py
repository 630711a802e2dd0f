"""Clips -> padded tensors, made ahead of the network by a thread."""

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice

import numpy as np
import tensorflow as tf

from speechmodel_training.audio import COEFFICIENTS
from speechmodel_training.dataset import Clip
from speechmodel_training.features import clip_features, read_samples
from speechmodel_training.learner import Batch
from speechmodel_training.room import Heard, Room
from speechmodel_training.schedule import Clips

_AHEAD = 2


class BatchMaker:
    """Makes batches of the clips of one part, each clip heard in a room of its own.

    Nothing is kept in memory: a core makes features at about 1200 times the speed of speech.
    """

    def __init__(self, clips: Sequence[Clip], alphabet: Sequence[str], room: Room) -> None:
        self._clips = clips
        self._index = {label: index for index, label in enumerate(alphabet)}
        self._room = room

    def make(self, clips: Clips, epoch: int = 0) -> Batch:
        """The batch of the clips with these indexes, as they are heard in this epoch."""
        heard = [self._heard(clip, epoch) for clip in clips]
        features = [clip_features(each.samples) for each in heard]
        frames = [len(each) for each in features]
        silent = [self._silent(each, clip, total) for each, clip, total in zip(heard, clips, frames, strict=True)]
        padded = np.zeros((len(clips), max(frames), COEFFICIENTS), np.float32)
        for row, each in zip(padded, features, strict=True):
            row[: len(each)] = each
        labels = [[self._index[character] for character in self._clips[clip].transcript] for clip in clips]
        with tf.device("CPU:0"):
            return Batch(
                tf.constant(padded),
                tf.constant(frames, tf.int32),
                tf.constant(silent, tf.int32),
                _sparse(labels),
                len(clips),
            )

    def lengths(self, epoch: int = 0) -> list[int]:
        """Frames of every clip, as they are heard in this epoch."""
        return [clip.frames + sum(self._room.pauses(index, epoch)) for index, clip in enumerate(self._clips)]

    def stream(self, batches: Iterable[Clips], epoch: int = 0) -> Iterator[Batch]:
        """The batches in order, each made while the ones before it are used."""
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

    def _silent(self, heard: Heard, clip: int, frames: int) -> int:
        """Frames before the first speech; whatever their loudness says, room is left for what is said."""
        return max(0, min(heard.silent_frames, frames - 2 * self._clips[clip].frames_needed))

    def _heard(self, clip: int, epoch: int) -> Heard:
        return self._room.around(read_samples(self._clips[clip].path), clip=clip, epoch=epoch)


def _sparse(labels: Sequence[Sequence[int]]) -> tf.SparseTensor:
    places = [(row, column) for row, line in enumerate(labels) for column in range(len(line))]
    values = [label for line in labels for label in line]
    shape = [len(labels), max(len(line) for line in labels)]
    return tf.SparseTensor(
        np.array(places, np.int64).reshape(-1, 2), np.array(values, np.int32), np.array(shape, np.int64)
    )
