"""The weights of a frozen graph -> the same network as an ONNX model, for ONNX Runtime.

The network is DeepSpeech's: three dense layers, an LSTM, a dense layer and the output layer. Dense
layers are min(relu(x W + b), 20), followed by layer norm if the graph has its weights. The output is
the logarithm of the softmax, because the probabilities of a sure model are 1 in float32, and their
logarithms differ.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper
from speechmodel_decoding.features import COEFFICIENTS, SPAN

from speechmodel_pipeline.graphdef.weights import read_weights

Weights = Mapping[str, npt.NDArray[np.float32]]

CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
"""Name of the LSTM's weights in DeepSpeech's checkpoints and graphs."""
CEILING = np.float32(20)
_DENSE = ("layer_1", "layer_2", "layer_3", "layer_5", "layer_6")
_NAMES = (*(f"{layer}/{kind}" for layer in _DENSE for kind in ("weights", "bias")), f"{CELL}/kernel", f"{CELL}/bias")
_NORMS = tuple(f"{layer}/LayerNorm/{kind}" for layer in _DENSE[:-1] for kind in ("gamma", "beta"))
NORM_EPSILON = 1e-12
"""Added to the variance in layer norm, as in DeepSpeech."""
_OPERATORS, _FORMAT = 17, 8
"""Versions of the operator set and of the file: those of ONNX 1.12 of 2022."""


def export_acoustic_model(graph: Path, target: Path) -> None:
    """Write the network in the frozen graph to `target`. Equal weights give equal bytes.

    Raises GraphDamaged when the graph is not whole or lacks a weight.
    """
    target.write_bytes(_model(network_weights(graph)).SerializeToString(deterministic=True))


def network_weights(graph: Path) -> Weights:
    """Return the weights of the frozen graph by name. Raises as export_acoustic_model."""
    return read_weights(graph, _NAMES, _NORMS)


class Builder:
    """Collects nodes and constants."""

    def __init__(self, weights: Weights) -> None:
        self.weights = weights
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> str:
        """Add a constant and return its name."""
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value).reshape(np.shape(value)), name))
        return name

    def node(self, operator: str, inputs: Sequence[str], *outputs: str, **attributes: Any) -> str:
        """Add a node and return its first output."""
        self.nodes.append(helper.make_node(operator, list(inputs), list(outputs), **attributes))
        return outputs[0]

    def affine(self, values: str, layer: str) -> str:
        """Add the product with the weights of a layer, and its bias."""
        weights = self.constant(f"{layer}/weights", self.weights[f"{layer}/weights"])
        bias = self.constant(f"{layer}/bias", self.weights[f"{layer}/bias"])
        return self.node("Add", [self.node("MatMul", [values, weights], f"{layer}/product"), bias], f"{layer}/affine")

    def dense(self, values: str, layer: str) -> str:
        """Add a dense layer, with layer norm if the graph has it."""
        values = self.node("Clip", [self.affine(values, layer), "zero", "ceiling"], layer)
        gamma, beta = f"{layer}/LayerNorm/gamma", f"{layer}/LayerNorm/beta"
        if gamma not in self.weights:
            return values
        inputs = [values, self.constant(gamma, self.weights[gamma]), self.constant(beta, self.weights[beta])]
        return self.node("LayerNormalization", inputs, f"{layer}/normalised", axis=-1, epsilon=NORM_EPSILON)


def _model(weights: Weights) -> onnx.ModelProto:
    units, classes = weights["layer_6/weights"].shape
    builder = Builder(weights)
    builder.constant("zero", np.float32(0))
    builder.constant("ceiling", CEILING)
    values = "patches"
    for layer in ("layer_1", "layer_2", "layer_3"):
        values = builder.dense(values, layer)
    kernel, bias = reordered(weights[f"{CELL}/kernel"]), reordered(weights[f"{CELL}/bias"])
    inputs = [
        values,
        builder.constant("lstm/input", kernel[:units].T[None]),
        builder.constant("lstm/recurrent", kernel[units:].T[None]),
        builder.constant("lstm/bias", np.concatenate([bias, np.zeros_like(bias)])[None]),
        "",  # every sequence has the full length
        "h",
        "c",
    ]
    builder.node("LSTM", inputs, "lstm", "h_after", "c_after", hidden_size=units)
    directions = builder.constant("directions", np.array([1], np.int64))
    values = builder.dense(builder.node("Squeeze", ["lstm", directions], "lstm/forward"), "layer_5")
    builder.node("LogSoftmax", [builder.affine(values, "layer_6")], "log_probabilities", axis=-1)
    graph = helper.make_graph(
        builder.nodes,
        "acoustic",
        [value("patches", "frames", 1, SPAN * COEFFICIENTS), value("h", 1, 1, units), value("c", 1, 1, units)],
        [
            value("log_probabilities", "frames", 1, classes),
            value("h_after", 1, 1, units),
            value("c_after", 1, 1, units),
        ],
        builder.constants,
    )
    return model_of(graph)


def model_of(graph: onnx.GraphProto) -> onnx.ModelProto:
    """Return the model of a graph, in the versions that every network of ours has."""
    return helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", _OPERATORS)], ir_version=_FORMAT, producer_name="speechmodel"
    )


def reordered(gates: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Return columns in ONNX's order of gates (input, output, forget, candidate) for TensorFlow's
    (input, candidate, forget, output).
    """
    entering, candidate, forget, output = np.split(gates, 4, axis=-1)
    return np.concatenate([entering, output, forget, candidate], axis=-1)


def value(name: str, *shape: int | str) -> onnx.ValueInfoProto:
    """Return the description of an input or output."""
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
