"""Adam, the compiled training step, the averaged weights, and the tensors of a checkpoint."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.network import Dropout, Geometry, fresh_weights, logits
from speechmodel_training.standardisation import Standardisation

BETA_1, BETA_2, EPSILON = 0.9, 0.999, 1e-8
"""Constants of Adam in the form of TensorFlow 1, which adds epsilon outside of the bias correction."""

Tensors = dict[str, tf.Tensor | npt.NDArray[np.generic]]
"""The tensors of a checkpoint by name: 12 weights, or 20 with layer norm, of each also `<weight>/Adam`, `<weight>/Adam_1`
and `<weight>/ExponentialMovingAverage`, and 4 scalars."""

AVERAGE_DECAY = 0.99
"""Decay of the moving average of the weights, which dev clips measure and which is exported: at a
constant learning rate the weights themselves oscillate around it (decision 4). It is lower in
the first 890 steps, as in tf.train.ExponentialMovingAverage."""


@dataclass(frozen=True)
class Measured:
    """The network's answer to a batch."""

    loss_sum: float
    """Sum of the clips' CTC losses."""
    labels: npt.NDArray[np.int32]
    """The likeliest label of each frame, [time, batch]. The blank is the last label."""


@dataclass(frozen=True)
class Batch:
    """Clips, padded to the longest one."""

    features: tf.Tensor
    """float32 [batch, time, 26], zeros after the end of a clip"""
    frames: tf.Tensor
    """int32 [batch], frames of each clip"""
    leading_silence: tf.Tensor
    """int32 [batch], frames before the speech"""
    labels: tf.SparseTensor
    """int32 [batch, labels], alphabet indexes"""
    transcripts: tuple[str, ...]
    """Transcripts of the clips, [batch]."""

    @property
    def clips(self) -> int:
        """Clips in the batch."""
        return len(self.transcripts)


class Learner:
    """Weights, their averages, Adam's moments and the sum of losses since it was last cleared."""

    def __init__(
        self, geometry: Geometry, *, seed: int, learning_rate: float, dropout: float, clip_norm: float | None = None
    ) -> None:
        self.geometry = geometry
        self._weights = {name: tf.Variable(value) for name, value in fresh_weights(geometry, seed).items()}
        self._averages = {name: tf.Variable(weight) for name, weight in self._weights.items()}
        self._first = {name: tf.Variable(tf.zeros(shape)) for name, shape in geometry.weight_shapes().items()}
        self._second = {name: tf.Variable(tf.zeros(shape)) for name, shape in geometry.weight_shapes().items()}
        self._power_1, self._power_2 = tf.Variable(BETA_1), tf.Variable(BETA_2)
        self._learning_rate = tf.Variable(learning_rate, dtype=tf.float32)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._dropout = Dropout(dropout, seed, self._step)
        self._clip_norm = clip_norm
        batch = [
            tf.TensorSpec([None, None, COEFFICIENTS], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.SparseTensorSpec([None, None], tf.int32),
        ]
        leading_silence = tf.TensorSpec([None], tf.int32)
        self._train = tf.function(self._train_eagerly, input_signature=[*batch, leading_silence])
        self._measure = tf.function(self._measure_eagerly, input_signature=batch)

    def train(self, batch: Batch) -> None:
        """Make one step of Adam on CTC loss plus the loss in leading silence.

        Adds the clips' CTC losses to `loss_sum`.
        """
        self._train(batch.features, batch.frames, batch.labels, batch.leading_silence)

    def measure(self, batch: Batch) -> Measured:
        """Return losses and labels with the averaged weights and without dropout. Nothing is learned."""
        loss_sum, labels = self._measure(batch.features, batch.frames, batch.labels)
        return Measured(float(loss_sum), labels.numpy())

    def standardise_inputs(self, standardisation: Standardisation) -> None:
        """Let the first layer see standardised features. The weights must be fresh."""
        names = "layer_1/weights", "layer_1/bias"
        folded = standardisation.folded(*(self._weights[name].numpy() for name in names))
        for name, value in zip(names, folded, strict=True):
            self._weights[name].assign(value)
            self._averages[name].assign(value)

    @property
    def step(self) -> int:
        """Optimizer steps so far."""
        return int(self._step)

    @property
    def learning_rate(self) -> float:
        """Learning rate of the next step."""
        return float(self._learning_rate)

    @learning_rate.setter
    def learning_rate(self, value: float) -> None:
        self._learning_rate.assign(value)

    @property
    def loss_sum(self) -> float:
        """Sum of the CTC losses of the clips trained on since it was last set.

        It stays NaN once it is NaN.
        """
        return float(self._loss_sum)

    @loss_sum.setter
    def loss_sum(self, value: float) -> None:
        self._loss_sum.assign(value)

    def tensors(self) -> Tensors:
        """Return the tensors of a checkpoint, as they are now.

        Nothing is copied here: the next step leaves tensors that are still in use as they are, and writes
        to new memory.
        """
        return {name: variable.read_value() for name, variable in self._named().items()}

    def load(self, tensors: Mapping[str, tf.Tensor | npt.NDArray[np.generic]]) -> None:
        """Continue from the tensors of a checkpoint. The learning rate stays that of this run."""
        for name, variable in self._named().items():
            if variable is not self._learning_rate:
                variable.assign(tensors[name])

    def begin_with(self, weights: Mapping[str, npt.NDArray[np.float32]]) -> None:
        """Replace the weights and their averages, before the first step."""
        for name, weight in self._weights.items():
            weight.assign(weights[name])
            self._averages[name].assign(weights[name])

    def _named(self) -> dict[str, tf.Variable]:
        named = {
            "beta1_power": self._power_1,
            "beta2_power": self._power_2,
            "global_step": self._step,
            "learning_rate": self._learning_rate,
        }
        for name, weight in self._weights.items():
            named |= {name: weight, f"{name}/Adam": self._first[name], f"{name}/Adam_1": self._second[name]}
            named[average_of(name)] = self._averages[name]
        return named

    def _train_eagerly(
        self, features: tf.Tensor, frames: tf.Tensor, labels: tf.SparseTensor, leading_silence: tf.Tensor
    ) -> None:
        with tf.GradientTape() as tape:
            outputs = logits(self._weights, features, self._dropout)
            losses = _ctc_losses(outputs, frames, labels)
            loss = tf.reduce_mean(losses + _silence_losses(outputs, leading_silence))
        gradients = tape.gradient(loss, self._weights)
        if self._clip_norm is not None:
            clipped, _ = tf.clip_by_global_norm(list(gradients.values()), self._clip_norm)
            gradients = dict(zip(gradients, clipped, strict=True))
        for name, weight in self._weights.items():
            tf.raw_ops.ResourceApplyAdam(
                var=weight.handle,
                m=self._first[name].handle,
                v=self._second[name].handle,
                beta1_power=self._power_1,
                beta2_power=self._power_2,
                lr=self._learning_rate,
                beta1=BETA_1,
                beta2=BETA_2,
                epsilon=EPSILON,
                grad=gradients[name],
            )
        self._power_1.assign(self._power_1 * BETA_1)
        self._power_2.assign(self._power_2 * BETA_2)
        self._step.assign_add(1)
        steps = tf.cast(self._step, tf.float32)
        decay = tf.minimum(AVERAGE_DECAY, (1 + steps) / (10 + steps))
        for name, weight in self._weights.items():
            self._averages[name].assign(decay * self._averages[name] + (1 - decay) * weight)
        self._loss_sum.assign_add(tf.reduce_sum(tf.cast(losses, tf.float64)))

    def _measure_eagerly(
        self, features: tf.Tensor, frames: tf.Tensor, labels: tf.SparseTensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        outputs = logits(self._averages, features)
        return tf.reduce_sum(_ctc_losses(outputs, frames, labels)), tf.argmax(outputs, axis=2, output_type=tf.int32)


def sum_of_magnitudes(tensors: Tensors) -> float:
    """Return the sum over all weights, averages and moments, which is infinite or NaN as soon as one of them
    is.
    """
    return float(tf.add_n([tf.reduce_sum(tf.abs(tensor)) for tensor in tensors.values() if tensor.ndim]))


def tensor_shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in our checkpoints: those of upstream, and the averages."""
    averages = {average_of(name): shape for name, shape in geometry.weight_shapes().items()}
    return upstream_shapes(geometry) | averages


def upstream_shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in a checkpoint of upstream."""
    shapes: dict[str, tuple[int, ...]] = dict.fromkeys(
        ("beta1_power", "beta2_power", "global_step", "learning_rate"), ()
    )
    for name, shape in geometry.weight_shapes().items():
        shapes |= {name: shape, f"{name}/Adam": shape, f"{name}/Adam_1": shape}
    return shapes


def average_of(weight: str) -> str:
    """Return the name of a weight's average in a checkpoint, as tf.train.ExponentialMovingAverage
    gives it.
    """
    return f"{weight}/ExponentialMovingAverage"


def _ctc_losses(outputs: tf.Tensor, frames: tf.Tensor, labels: tf.SparseTensor) -> tf.Tensor:
    """Return the losses, [batch].

    The blank is the last class; repeats are merged in the path, not in the labels.
    """
    return tf.compat.v1.nn.ctc_loss(labels=labels, inputs=outputs, sequence_length=frames)


def _silence_losses(outputs: tf.Tensor, leading_silence: tf.Tensor) -> tf.Tensor:
    """Return the cross entropy with the blank, summed over the frames before the speech, [batch]
    (see onset.py).
    """
    mask = tf.sequence_mask(leading_silence, tf.shape(outputs)[0], tf.float32)
    return -tf.reduce_sum(tf.transpose(mask) * tf.nn.log_softmax(outputs)[:, :, -1], axis=0)
