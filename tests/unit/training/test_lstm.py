from collections.abc import Callable

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from speechmodel_training.cudnn import cudnn_parameters
from speechmodel_training.kernels import Kernels
from speechmodel_training.lstm import lstm

TIME, BATCH, UNITS = 7, 3, 5
Array = npt.NDArray[np.float64]


def drawn(units: int) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Inputs, kernel, bias, and what the outputs are multiplied with to make a loss."""
    random = np.random.default_rng(0)
    shapes = ((TIME, BATCH, units), (2 * units, 4 * units), (4 * units,), (TIME, BATCH, units))
    inputs, kernel, bias, direction = (tf.constant(random.normal(size=shape), tf.float32) for shape in shapes)
    return inputs, kernel, bias, direction


@pytest.fixture
def tensors() -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    return drawn(UNITS)


def upstream_lstm(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    units = bias.shape[0] // 4
    nothing, none = tf.zeros([BATCH, units]), tf.zeros([units])
    return tf.raw_ops.BlockLSTM(
        seq_len_max=TIME,
        x=inputs,
        cs_prev=nothing,
        h_prev=nothing,
        w=kernel,
        wci=none,
        wcf=none,
        wco=none,
        b=bias,
        forget_bias=0.0,
        cell_clip=-1.0,
    ).h


def by_the_formulas(inputs: Array, kernel: Array, bias: Array) -> Array:
    def sigmoid(z: Array) -> Array:
        return np.asarray(1 / (1 + np.exp(-z)))

    h = c = np.zeros((BATCH, UNITS))
    outputs = []
    for x in inputs:
        i, g, f, o = np.split(np.concatenate([x, h], 1) @ kernel + bias, 4, axis=1)
        c = sigmoid(i) * np.tanh(g) + sigmoid(f) * c
        h = sigmoid(o) * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def test_outputs_follow_the_formulas(tensors: tuple[tf.Tensor, ...]) -> None:
    inputs, kernel, bias, _ = (np.asarray(tensor, np.float64) for tensor in tensors)
    np.testing.assert_allclose(lstm(*tensors[:3]), by_the_formulas(inputs, kernel, bias), atol=1e-5)


@pytest.mark.parametrize("units", [UNITS, 256])
def test_outputs_are_those_of_the_op_that_the_runtime_runs(units: int) -> None:
    inputs, kernel, bias, _ = drawn(units)
    kernel /= np.sqrt(2 * units)
    layer = tf.function(lstm, autograph=False)
    np.testing.assert_allclose(layer(inputs, kernel, bias), upstream_lstm(inputs, kernel, bias), atol=2e-6)


def test_gradients_are_those_of_the_op_that_upstream_trains_with(tensors: tuple[tf.Tensor, ...]) -> None:
    *variables, direction = tensors

    def gradients(layer: Callable[..., tf.Tensor]) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(variables)
            loss = tf.reduce_sum(layer(*variables) * direction)
        return list(tape.gradient(loss, variables))

    for ours, theirs in zip(gradients(lstm), gradients(upstream_lstm), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_gradients_are_the_slopes_of_the_loss(tensors: tuple[tf.Tensor, ...]) -> None:
    arrays = [np.asarray(tensor, np.float64) for tensor in tensors[:3]]
    direction = np.asarray(tensors[3], np.float64)
    variables = list(tensors[:3])
    with tf.GradientTape() as tape:
        tape.watch(variables)
        loss = tf.reduce_sum(lstm(*variables) * tensors[3])
    gradients = tape.gradient(loss, variables)
    random = np.random.default_rng(1)
    for which, gradient in enumerate(gradients):
        move = random.normal(size=arrays[which].shape)
        ahead, behind = ([*arrays], [*arrays])
        ahead[which], behind[which] = arrays[which] + 1e-5 * move, arrays[which] - 1e-5 * move
        slope = ((by_the_formulas(*ahead) - by_the_formulas(*behind)) * direction).sum() / 2e-5
        assert float(tf.reduce_sum(gradient * tf.constant(move, tf.float32))) == pytest.approx(slope, rel=1e-3)


def by_cudnns_formulas(inputs: Array, parameters: Array) -> Array:
    """The LSTM of cuDNN's reference: matrices [n, n] of inputs, then of states, then two biases, each for i, f, g and o."""
    size = 4 * UNITS * UNITS
    of_inputs, of_states = (parameters[first : first + size].reshape(4, UNITS, UNITS) for first in (0, size))
    biases = parameters[2 * size :].reshape(2, 4, UNITS)
    h = c = np.zeros((BATCH, UNITS))
    outputs = []
    for x in inputs:
        z = [x @ of_inputs[k].T + biases[0, k] + h @ of_states[k].T + biases[1, k] for k in range(4)]
        i, f, o = (1 / (1 + np.exp(-z[k])) for k in (0, 1, 3))
        c = i * np.tanh(z[2]) + f * c
        h = o * np.tanh(c)
        outputs.append(h)
    return np.stack(outputs)


def test_the_weights_in_cudnns_order_give_the_same_outputs(tensors: tuple[tf.Tensor, ...]) -> None:
    inputs, kernel, bias, _ = tensors
    parameters = np.asarray(cudnn_parameters(kernel, bias), np.float64)
    assert len(parameters) == 8 * UNITS * UNITS + 8 * UNITS
    np.testing.assert_allclose(
        by_cudnns_formulas(np.asarray(inputs), parameters), lstm(inputs, kernel, bias), atol=1e-5
    )


def test_a_gpus_graph_has_cudnns_lstm_and_its_gradients(tensors: tuple[tf.Tensor, ...]) -> None:
    """Traced only: no GPU is here."""

    def traced(inputs: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch((inputs, kernel, bias))
            outputs = Kernels(cudnn=True).lstm(inputs, kernel, bias)
        return [outputs, *tape.gradient(outputs, (inputs, kernel, bias))]

    found = tf.function(traced).get_concrete_function(*tensors[:3])
    assert {"CudnnRNN", "CudnnRNNBackprop"} <= {node.type for node in found.graph.get_operations()}
    assert found.output_shapes[0].as_list() == [TIME, BATCH, UNITS]
    assert [shape.as_list() for shape in found.output_shapes[2:]] == [[2 * UNITS, 4 * UNITS], [4 * UNITS]]
