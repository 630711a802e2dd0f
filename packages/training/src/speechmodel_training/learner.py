"""Adam, the compiled training step, the averaged weights, and the tensors of a checkpoint."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.kernels import PLAIN, Kernels
from speechmodel_training.network import Dropout, Geometry, Share, fresh_weights, logits
from speechmodel_training.products import FLOAT32
from speechmodel_training.standardisation import Standardisation
from speechmodel_training.workers import Sum, Workers

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
    """Sum of the clips' CTC losses, those of other workers included."""
    labels: npt.NDArray[np.int32]
    """The likeliest label of each frame of the clips of this worker, [time, batch]. The blank is the last label."""


@dataclass(frozen=True)
class Gradients:
    """The gradients of a batch, those of other workers included."""

    by_weight: Mapping[str, tf.Tensor]
    loss_sum: tf.Tensor
    """float64 scalar, the sum of the clips' CTC losses"""


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
    share: Share | None = None
    """The share of the batch that this is. None for the whole batch."""
    versions: int = 1
    """Versions of each clip. The first rows are the first versions of all clips, the next ones the second."""

    @property
    def clips(self) -> int:
        """Clips in the batch, those of other workers included. A clip in several versions counts once."""
        return (len(self.transcripts) if self.share is None else int(self.share.clips)) // self.versions

    @property
    def counted(self) -> bool:
        """False for a clip that only stands in, where the batch has none for this worker."""
        return self.share is None or bool(self.share.counted)


def _at_once(compute: Callable[[], Gradients]) -> Gradients:
    return compute()


class Learner:
    """Weights, their averages, Adam's moments and the sum of losses since it was last cleared."""

    def __init__(
        self,
        geometry: Geometry,
        *,
        seed: int,
        learning_rate: float,
        dropout: float,
        clip_norm: float | None = None,
        consistency: float | None = None,
        workers: Workers | None = None,
        kernels: Kernels = PLAIN,
    ) -> None:
        self.geometry = geometry
        self._workers, self._kernels = workers or Workers(), kernels
        self._weights = {name: tf.Variable(value) for name, value in fresh_weights(geometry, seed).items()}
        self._averages = {name: tf.Variable(weight) for name, weight in self._weights.items()}
        self._first = {name: tf.Variable(tf.zeros(shape)) for name, shape in geometry.weight_shapes().items()}
        self._second = {name: tf.Variable(tf.zeros(shape)) for name, shape in geometry.weight_shapes().items()}
        self._power_1, self._power_2 = tf.Variable(BETA_1), tf.Variable(BETA_2)
        self._learning_rate = tf.Variable(learning_rate, dtype=tf.float32)
        self._step = tf.Variable(0, dtype=tf.int64)
        self._loss_sum = tf.Variable(0.0, dtype=tf.float64)
        self._dropout = Dropout(dropout, seed, self._step)
        self._clip_norm, self._consistency = clip_norm, consistency
        batch = [
            tf.TensorSpec([None, None, COEFFICIENTS], tf.float32),
            tf.TensorSpec([None], tf.int32),
            tf.SparseTensorSpec([None, None], tf.int32),
        ]
        leading_silence, number = tf.TensorSpec([None], tf.int32), tf.TensorSpec([], tf.int32)
        share = Share(leading_silence, number, number, tf.TensorSpec([], tf.float32))
        asked = tf.TensorSpec([], tf.float64)
        # AutoGraph has nothing to convert here, and leaves files in the temporary folder when the program is killed
        graph = partial(tf.function, autograph=False)
        self._differentiate = graph(
            self._differentiate_eagerly, input_signature=[*batch, leading_silence, share, asked]
        )
        self._apply = graph(self._apply_eagerly)
        self._measure = graph(self._measure_eagerly, input_signature=[*batch, share, asked])

    def train(self, batch: Batch, run: Callable[[Callable[[], Gradients]], Gradients] = _at_once) -> None:
        """Make one step of Adam on CTC loss plus the loss in leading silence, and with `consistency` the difference
        between the two versions of each clip.

        Adds the clips' CTC losses to `loss_sum`. Nothing changes until the gradients are computed: `run` calls the
        function that computes them, and may abandon the step by raising an error. Raises WorkerLost, before anything
        is changed.
        """
        gradients = run(lambda: self._gradients(batch))
        self._apply(gradients.by_weight, gradients.loss_sum)

    def measure(self, batch: Batch) -> Measured:
        """Return losses and labels with the averaged weights and without dropout. Nothing is learned. Raises
        WorkerLost.
        """
        share = batch.share or _whole(batch)

        def step(asked: tf.Tensor) -> tuple[Measured, tf.Tensor]:
            loss_sum, labels, total = self._measure(batch.features, batch.frames, batch.labels, share, asked)
            return Measured(float(loss_sum), labels.numpy()), total

        return self._workers.run(step)

    def standardise_inputs(self, standardisation: Standardisation) -> None:
        """Let the first layer see standardised features. The weights must be fresh."""
        names = "layer_1/weights", "layer_1/bias"
        folded = standardisation.folded(*(self._weights[name].numpy() for name in names))
        for name, value in zip(names, folded, strict=True):
            self._weights[name].assign(value)
            self._averages[name].assign(value)

    @property
    def versions(self) -> int:
        """Versions of each clip in a batch for training."""
        return 1 if self._consistency is None else 2

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

        Nothing is copied here: a step changes the memory of tensors that nobody holds, and copies the others first.
        """
        return {name: variable.read_value() for name, variable in self._named().items()}

    def averages(self) -> Tensors:
        """Return the averages as they are now, by the names of the weights. Nothing is copied here."""
        return {name: average.read_value() for name, average in self._averages.items()}

    def load(self, tensors: Mapping[str, tf.Tensor | npt.NDArray[np.generic]]) -> None:
        """Continue from the tensors of a checkpoint. The learning rate stays that of this run."""
        for name, variable in self._named().items():
            if variable is not self._learning_rate:
                variable.assign(tensors[name])

    def _gradients(self, batch: Batch) -> Gradients:
        share = batch.share or _whole(batch)

        def step(asked: tf.Tensor) -> tuple[Gradients, tf.Tensor]:
            gradients, loss_sum, total = self._differentiate(
                batch.features, batch.frames, batch.labels, batch.leading_silence, share, asked
            )
            return Gradients(gradients, loss_sum), total

        return self._workers.run(step)

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

    def _differentiate_eagerly(
        self,
        features: tf.Tensor,
        frames: tf.Tensor,
        labels: tf.SparseTensor,
        leading_silence: tf.Tensor,
        share: Share,
        asked: tf.Tensor,
    ) -> tuple[dict[str, tf.Tensor], tf.Tensor, tf.Tensor]:
        """Return the gradients and the sum of losses of the whole batch, and how many workers were asked to stop. No
        variable changes.
        """
        dropout = self._dropout if self._workers.count == 1 else replace(self._dropout, share=share)
        with tf.GradientTape() as tape:
            outputs = logits(self._weights, features, dropout, self._kernels)
            losses = _ctc_losses(outputs, frames, labels)
            each = losses + _silence_losses(outputs, leading_silence)
            total = tf.reduce_sum(each)
            if self._consistency is not None:
                total += self._consistency * tf.reduce_sum(_differences(outputs, frames))
            loss = share.counted * total / tf.cast(share.clips, tf.float32)
        gradients = tape.gradient(loss, self._weights)
        loss_sum = tf.cast(share.counted, tf.float64) * tf.reduce_sum(tf.cast(losses, tf.float64))
        loss_sum /= self.versions
        *summed, loss_sum, asked = self._workers.totals([*gradients.values(), loss_sum, asked], Sum.STEP)
        return dict(zip(gradients, summed, strict=True)), loss_sum, asked

    def _apply_eagerly(self, gradients: Mapping[str, tf.Tensor], loss_sum: tf.Tensor) -> None:
        """Change the weights, their moments and averages by the gradients of the whole batch."""
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
        self._loss_sum.assign_add(loss_sum)

    def _measure_eagerly(
        self, features: tf.Tensor, frames: tf.Tensor, labels: tf.SparseTensor, share: Share, asked: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        outputs = logits(self._averages, features, kernels=replace(self._kernels, products=FLOAT32))
        loss_sum = share.counted * tf.reduce_sum(_ctc_losses(outputs, frames, labels))
        loss_sum, asked = self._workers.totals([loss_sum, asked], Sum.MEASURE)
        return loss_sum, tf.argmax(outputs, axis=2, output_type=tf.int32), asked


def _whole(batch: Batch) -> Share:
    """Return the share of a worker that has the whole batch."""
    clips, frames = batch.features.shape[:2]
    return Share(tf.range(clips), tf.constant(clips), tf.constant(frames), tf.constant(1.0))


def sum_of_tensors(tensors: Tensors) -> float:
    """Return the sum over all weights, averages and moments, which is infinite or NaN as soon as one of them is.

    It is numpy's, so it runs in the thread of the caller alone, and needs no memory.
    """
    return float(sum(np.asarray(tensor).sum(dtype=np.float32) for tensor in tensors.values() if tensor.ndim))


def tensor_shapes(geometry: Geometry) -> dict[str, tuple[int, ...]]:
    """Return the names and shapes in our checkpoints: those of upstream, and the averages."""
    return upstream_shapes(geometry) | {average_of(name): shape for name, shape in geometry.weight_shapes().items()}


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


def _differences(outputs: tf.Tensor, frames: tf.Tensor) -> tf.Tensor:
    """Return the divergence of the first version of each clip from the second and that of the second from the first,
    summed over both and over the frames, [clips] (CR-CTC; Yao et al., 2024). Each version is moved towards the
    other one as it is.
    """
    first, second = tf.split(tf.nn.log_softmax(outputs), 2, axis=1)
    within = tf.transpose(tf.sequence_mask(tf.split(frames, 2)[0], tf.shape(outputs)[0], tf.float32))
    return tf.reduce_sum(within * (_divergence(first, second) + _divergence(second, first)), axis=0)


def _divergence(target: tf.Tensor, found: tf.Tensor) -> tf.Tensor:
    """Return the divergence of log probabilities from a target that nothing moves, [time, clips]."""
    target = tf.stop_gradient(target)
    return tf.reduce_sum(tf.exp(target) * (target - found), axis=2)


def _silence_losses(outputs: tf.Tensor, leading_silence: tf.Tensor) -> tf.Tensor:
    """Return the cross entropy with the blank, summed over the frames before the speech, [batch]
    (see onset.py).
    """
    mask = tf.sequence_mask(leading_silence, tf.shape(outputs)[0], tf.float32)
    return -tf.reduce_sum(tf.transpose(mask) * tf.nn.log_softmax(outputs)[:, :, -1], axis=0)
