"""The head of the phrase network: a dense layer and the output layer over the pre-trained speech embedding.

The embedding has heard many people, so a head that is trained on few voices understands others. It sees one frame at a
time and is trained when the graph is finished, in a minute or two. A stop begins it anew.
"""

import logging
from collections.abc import Iterator, Sequence
from math import ceil, cos, pi

import numpy as np
import tensorflow as tf
from speechmodel_embedding import Head

from speechmodel_training.augmentation import Augmenter
from speechmodel_training.dataset import TrainingSet
from speechmodel_training.draws import number
from speechmodel_training.embeddings import EmbeddedClip, embedded_clips, leave_if_stopped
from speechmodel_training.features import Frames

log = logging.getLogger(__name__)

MOST_STEPS = 1000
"""Most steps. A graph that was trained for fewer steps has a head of as few."""
BATCH_SIZE = 32
MOST_OUTPUTS = 10_000_000
"""Most outputs of a step, 40 MB: with thousands of labels or clips of half a minute, a step has fewer clips."""
MOST_VERSIONS = 2
"""Most versions of a clip, each augmented differently. Each costs as much as the steps."""
UNITS, DROPOUT, NOISE = 128, 0.2, 0.1
"""Units of the dense layer, and what training takes from or adds to its standardised inputs."""
LEARNING_RATE, WEIGHT_DECAY, WARM_UP = 3e-3, 0.01, 0.2
"""AdamW with a rate that rises over the first fifth of the steps, and falls to 0 as a cosine."""
_BETA_1, _BETA_2, _EPSILON, _CLIP_NORM = 0.9, 0.999, 1e-8, 5.0
_LEAST_DEVIATION = 1e-3


def train_head(training_set: TrainingSet, augmenter: Augmenter, *, seed: int, steps: int) -> Head:
    """Return a head that was trained on these clips for `steps` steps. Equal arguments give equal weights.

    Raises ArtefactMissing, and Stopped after SIGTERM.
    """
    versions = min(ceil(steps * BATCH_SIZE / len(training_set.train)), MOST_VERSIONS)
    clips = embedded_clips(training_set, augmenter, seed=seed, versions=versions)
    learner = _Learner(clips, classes=len(training_set.alphabet) + 1, seed=seed)
    batches, loss = _batches(len(clips), _batch_size(clips, len(training_set.alphabet) + 1), seed), 0.0
    for step in range(steps):
        leave_if_stopped()
        loss = learner.step([clips[clip] for clip in next(batches)], step, _share_of_rate((step + 1) / steps))
    log.info("the phrase network's head has a CTC loss of %.2f after %d steps on %d clips", loss, steps, len(clips))
    return learner.head()


def _batch_size(clips: Sequence[EmbeddedClip], classes: int) -> int:
    """Return the number of clips in a step."""
    longest = max(len(clip.embeddings) for clip in clips)
    return max(min(BATCH_SIZE, len(clips), MOST_OUTPUTS // (longest * classes)), 1)


def _batches(clips: int, size: int, seed: int) -> Iterator[list[int]]:
    """Yield batches of clips without end, each clip once before any is there again."""
    chance = np.random.default_rng(number(f"{seed}/phrase head"))
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += chance.permutation(clips).tolist()
        yield waiting[:size]
        del waiting[:size]


def _share_of_rate(progress: float) -> float:
    if progress < WARM_UP:
        return progress / WARM_UP
    return (1 + cos(pi * (progress - WARM_UP) / (1 - WARM_UP))) / 2


class _Learner:
    """The weights, and AdamW's moments of them."""

    def __init__(self, clips: Sequence[EmbeddedClip], *, classes: int, seed: int) -> None:
        self._mean, self._deviation = _moments(clips)
        width = len(self._mean)
        self._seed = number(f"{seed}/phrase head weights") % 2**31
        chance = np.random.default_rng(self._seed)
        he, glorot = np.sqrt(2 / width), np.sqrt(2 / (UNITS + classes))
        self._weights = [
            tf.Variable(value.astype(np.float32))
            for value in (
                chance.normal(0, he, (width, UNITS)),
                np.zeros(UNITS),
                chance.normal(0, glorot, (UNITS, classes)),
                np.zeros(classes),
            )
        ]
        self._first, self._second = ([tf.Variable(tf.zeros_like(weight)) for weight in self._weights] for _ in range(2))
        signature = [
            tf.TensorSpec([None, None, width], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.SparseTensorSpec([None, None], tf.int32),
            tf.TensorSpec([], tf.int32),
            tf.TensorSpec([], tf.float32),
        ]
        self._compiled = tf.function(self._step, input_signature=signature, autograph=False)

    def step(self, clips: Sequence[EmbeddedClip], step: int, share_of_rate: float) -> float:
        """Train on the clips and return their mean loss."""
        lengths = [len(clip.embeddings) for clip in clips]
        padded = np.zeros((len(clips), max(lengths), len(self._mean)), np.float32)
        for row, clip in zip(padded, clips, strict=True):
            row[: len(clip.embeddings)] = (clip.embeddings - self._mean) / self._deviation
        labels = tf.RaggedTensor.from_row_lengths(
            [label for clip in clips for label in clip.labels], [len(clip.labels) for clip in clips]
        )
        labels = tf.cast(labels, tf.int32).to_sparse()
        loss = self._compiled(padded, tf.constant(lengths, tf.int32), labels, step, share_of_rate)
        return float(loss)

    def head(self) -> Head:
        """Return the weights."""
        kernel, bias, output, output_bias = (weight.numpy() for weight in self._weights)
        return Head(self._mean, self._deviation, kernel, bias, output, output_bias)

    def _step(
        self, values: tf.Tensor, lengths: tf.Tensor, labels: tf.SparseTensor, step: tf.Tensor, share: tf.Tensor
    ) -> tf.Tensor:
        with tf.GradientTape() as tape:
            kernel, bias, output, output_bias = self._weights
            values += NOISE * tf.random.stateless_normal(tf.shape(values), [self._seed, 4 * step])
            units = tf.nn.relu(self._dropped(values, 4 * step + 1) @ kernel + bias)
            logits = self._dropped(units, 4 * step + 2) @ output + output_bias
            losses = tf.compat.v1.nn.ctc_loss(labels, tf.transpose(logits, [1, 0, 2]), lengths)
            loss = tf.reduce_mean(losses / tf.cast(tf.maximum(_counts(labels), 1), tf.float32))
        gradients, _ = tf.clip_by_global_norm(tape.gradient(loss, self._weights), _CLIP_NORM)
        count = tf.cast(step + 1, tf.float32)
        for weight, first, second, gradient in zip(self._weights, self._first, self._second, gradients, strict=True):
            first.assign(_BETA_1 * first + (1 - _BETA_1) * gradient)
            second.assign(_BETA_2 * second + (1 - _BETA_2) * tf.square(gradient))
            direction = (first / (1 - _BETA_1**count)) / (tf.sqrt(second / (1 - _BETA_2**count)) + _EPSILON)
            weight.assign_sub(LEARNING_RATE * share * (direction + WEIGHT_DECAY * weight))
        return loss

    def _dropped(self, values: tf.Tensor, draw: tf.Tensor) -> tf.Tensor:
        return tf.nn.experimental.stateless_dropout(values, DROPOUT, [self._seed, draw])


def _moments(clips: Sequence[EmbeddedClip]) -> tuple[Frames, Frames]:
    """Return mean and deviation of the embeddings, [96] each, without a copy of all of them."""
    frames = sum(len(clip.embeddings) for clip in clips)
    mean = sum(clip.embeddings.sum(axis=0, dtype=np.float64) for clip in clips) / frames
    squares = sum(np.square(clip.embeddings - mean).sum(axis=0) for clip in clips) / frames
    return mean.astype(np.float32), np.maximum(np.sqrt(squares), _LEAST_DEVIATION).astype(np.float32)


def _counts(labels: tf.SparseTensor) -> tf.Tensor:
    """Return the number of labels of each clip, [batch]."""
    return tf.math.bincount(tf.cast(labels.indices[:, 0], tf.int32), minlength=tf.cast(labels.dense_shape[0], tf.int32))
