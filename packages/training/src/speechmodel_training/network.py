"""The acoustic model: weights with the names of an upstream checkpoint, and the forward pass for
training.

layer_1 -> layer_2 -> layer_3 -> LSTM -> layer_5 -> layer_6; there is no layer_4. All dense layers
but the last compute min(relu(x W + b), 20), whose rows are then normalised if there is layer norm.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from speechmodel_training.features import COEFFICIENTS
from speechmodel_training.kernels import PLAIN, Kernels
from speechmodel_training.layer_norm import layer_norm
from speechmodel_training.products import FLOAT32, Products

Array = npt.NDArray[np.float32]

CONTEXT = 9
"""Frames that the network sees before and after the one that it classifies."""
SPAN = 2 * CONTEXT + 1
"""Frames of a patch."""
PATCH = SPAN * COEFFICIENTS
"""Inputs of the network per frame: 494, the oldest frame first."""

CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
DENSE = ("layer_1", "layer_2", "layer_3", "layer_5")
"""Layers with a clipped rectifier, which dropout follows in training."""
BETA, GAMMA = "LayerNorm/beta", "LayerNorm/gamma"
"""Names of the offset and the scale of layer norm within their layer."""
CEILING = 20.0
"""Largest output of the clipped rectifier."""
FORGET_BIAS = 1.0
"""Bias of the forget gates in new weights. With 0, a cell would forget half of its state in every frame
before anything is learned (Jozefowicz et al., 2015)."""


@dataclass(frozen=True)
class Geometry:
    """The width of the network."""

    hidden_units: int
    labels: int
    """Labels of the alphabet. The output layer has one class more: the CTC blank, which is the
    last."""
    layer_norm: bool = False
    """True to normalise the outputs of the dense layers but the last."""

    @property
    def classes(self) -> int:
        """Outputs per frame."""
        return self.labels + 1

    def weight_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the names and shapes of the 12 weights, in the order of the layers, and then of the
        8 weights of layer norm if there is any.
        """
        n = self.hidden_units
        dense = {
            "layer_1": (PATCH, n),
            "layer_2": (n, n),
            "layer_3": (n, n),
            "layer_5": (n, n),
            "layer_6": (n, self.classes),
        }
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in dense.items():
            shapes |= {f"{name}/weights": shape, f"{name}/bias": shape[1:]}
        shapes |= {f"{CELL}/kernel": (2 * n, 4 * n), f"{CELL}/bias": (4 * n,)}
        if self.layer_norm:
            shapes |= {name: (n,) for layer in DENSE for name in (f"{layer}/{BETA}", f"{layer}/{GAMMA}")}
        return shapes


class Share(NamedTuple):
    """The part of a batch that one worker computes."""

    rows: tf.Tensor
    """int32 [clips of the share], their places in the batch"""
    clips: tf.Tensor
    """int32 scalar, rows of the batch: its clips, or twice as many with two versions of each"""
    frames: tf.Tensor
    """int32 scalar, frames of its longest clip"""
    counted: tf.Tensor
    """float32 scalar: 1, or 0 for a clip that only stands in where the batch has none for this worker"""


@dataclass(frozen=True)
class Dropout:
    """Inverted dropout whose mask depends only on the seed, the optimizer step and the layer."""

    rate: float
    seed: int
    step: tf.Tensor
    """int64 scalar"""
    share: Share | None = None
    """The share of the batch that `values` are computed from. None for the whole batch."""

    def __call__(self, values: tf.Tensor, layer: str) -> tf.Tensor:
        """Return `values` with a share of `rate` set to zero and the rest scaled up."""
        if self.rate == 0:
            return values
        # one stream per layer: seeds are below 2^31 and there are fewer than 8 layers
        seed = tf.stack([tf.constant(self.seed * 8 + DENSE.index(layer), tf.int64), self.step])
        if self.share is None:
            return tf.nn.experimental.stateless_dropout(values, self.rate, seed, rng_alg="philox")
        # the rows that one worker would drop in the whole batch, which are drawn in the order [time, batch, n]
        units, clips = values.shape[1], tf.size(self.share.rows)
        whole = tf.ones([self.share.frames * self.share.clips, units])
        mask = tf.nn.experimental.stateless_dropout(whole, self.rate, seed, rng_alg="philox")
        mask = tf.reshape(mask, [self.share.frames, self.share.clips, units])[: tf.shape(values)[0] // clips]
        return values * tf.reshape(tf.gather(mask, self.share.rows, axis=1), [-1, units])


def fresh_weights(geometry: Geometry, seed: int) -> dict[str, Array]:
    """Return new weights: kernels uniform by Glorot, scales of layer norm one, forget gates FORGET_BIAS, other biases
    zero.

    The generator is stateless, so they are the same on every device and in every version of
    TensorFlow.
    """
    weights = {}
    for index, (name, shape) in enumerate(geometry.weight_shapes().items()):
        edge = float(np.sqrt(6 / sum(shape))) if len(shape) == 2 else 0.0
        with tf.device("CPU:0"):
            drawn = (
                tf.random.stateless_uniform(shape, [seed, index], -edge, edge, alg="philox")
                if edge
                else (tf.ones(shape) if name.endswith(GAMMA) else tf.zeros(shape))
            )
        weights[name] = np.asarray(drawn)
    weights[f"{CELL}/bias"] = np.repeat(np.array([0, 0, FORGET_BIAS, 0], np.float32), geometry.hidden_units)
    return weights


def logits(
    weights: Mapping[str, tf.Tensor],
    features: tf.Tensor,
    dropout: Dropout | None = None,
    kernels: Kernels = PLAIN,
) -> tf.Tensor:
    """Return unnormalised log probabilities, [time, batch, labels + 1], for features [batch, time,
    26].
    """
    batch, time = tf.shape(features)[0], tf.shape(features)[1]
    units, classes = weights["layer_6/weights"].shape

    def affine(values: tf.Tensor, layer: str, products: Products = kernels.products) -> tf.Tensor:
        return tf.nn.bias_add(products(values, weights[f"{layer}/weights"]), weights[f"{layer}/bias"])

    def dense(values: tf.Tensor, layer: str) -> tf.Tensor:
        values = tf.minimum(tf.nn.relu(affine(values, layer)), CEILING)
        if f"{layer}/{GAMMA}" in weights:
            values = layer_norm(values, weights[f"{layer}/{BETA}"], weights[f"{layer}/{GAMMA}"])
        return dropout(values, layer) if dropout else values

    values = tf.reshape(patches(features), [-1, PATCH])
    for layer in ("layer_1", "layer_2", "layer_3"):
        values = dense(values, layer)
    values = tf.reshape(values, [time, batch, units])
    values = kernels.lstm(values, weights[f"{CELL}/kernel"], weights[f"{CELL}/bias"])
    values = affine(dense(tf.reshape(values, [-1, units]), "layer_5"), "layer_6", FLOAT32)
    return tf.reshape(values, [time, batch, classes])


def patches(features: tf.Tensor) -> tf.Tensor:
    """Return each frame between its 9 predecessors and 9 successors, [time, batch, 494], for
    features [batch, time, 26].

    Frames outside of the clip are zeros.
    """
    time = tf.shape(features)[1]
    padded = tf.pad(tf.transpose(features, [1, 0, 2]), [[CONTEXT, CONTEXT], [0, 0], [0, 0]])
    return tf.concat([padded[k : k + time] for k in range(SPAN)], axis=2)
