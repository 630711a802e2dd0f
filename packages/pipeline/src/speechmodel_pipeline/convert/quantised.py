"""The weights of a frozen graph -> the same network in 8-bit integers, for ONNX Runtime.

Products of matrices are of integers: weights of 8 bits with a scale for each column, and activations
of 7 bits with a scale for each frame. A sum of two such products fits into 16 bits, so that processors
without instructions for neural networks do not saturate it, and every processor gets the same sums.
Scales of single frames make a frame independent of the clips that run beside it.

The features go through the first layer as 7 + 6 bits, because their coefficients differ by orders of
magnitude. The rest of the network is that of acoustic.py.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper
from speechmodel_decoding.features import COEFFICIENTS, SPAN

from speechmodel_pipeline.convert.acoustic import CEILING, CELL, Builder, Weights, network_weights, reordered, value

_OPERATORS, _FORMAT = 18, 8
"""Versions of the operator set and of the file: those of ONNX 1.13 of 2022."""
_MICROSOFT = "com.microsoft"
"""Domain of ONNX Runtime's own operators. MatMulIntegerToFloat sums integers exactly, as MatMulInteger does, and scales each
sum while it is in the cache."""
_LARGEST_WEIGHT = 127
_LARGEST, _HALF = 127, 63
"""Largest activation that is never negative, and the largest amount of one that may be."""
_SMALLEST_SCALE = np.float32(1e-20)
"""Scale of a frame of zeros."""


def export_quantised_model(graph: Path, target: Path) -> None:
    """Write the network in the frozen graph to `target`. Equal weights give equal bytes.

    Raises GraphDamaged when the graph is not whole or lacks a weight.
    """
    target.write_bytes(_model(network_weights(graph)).SerializeToString(deterministic=True))


def quantised_columns(weights: npt.NDArray[np.float32]) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Return a matrix as integers, and the scale of each of its columns."""
    scales = (np.abs(weights).max(axis=0) / np.float32(_LARGEST_WEIGHT)).astype(np.float32)
    scales[scales == 0] = 1
    with np.errstate(invalid="ignore"):  # a weight that is not a number makes its scale one, and so its results
        return np.rint(weights / scales).astype(np.int8), scales


class _QuantisedBuilder(Builder):
    """Builds affine layers of integer products."""

    def __init__(self, weights: Weights) -> None:
        super().__init__(weights)
        self.normalised = "layer_1/LayerNorm/gamma" in weights
        """True when the outputs of dense layers may be negative."""
        self.constant("last", np.array([-1], np.int64))
        self.constant("smallest", _SMALLEST_SCALE)
        self.constant("half", np.float32(1 / _HALF))
        self.constant("largest", np.float32(1 / _LARGEST))
        self.constant("one", np.float32(1))
        self.constant("middle", np.uint8(_HALF + 1))
        self.constant("none", np.uint8(0))

    def affine(self, values: str, layer: str) -> str:
        """Add the product of integers with the weights of a layer, and its bias."""
        weights, bias = self.weights[f"{layer}/weights"], self.weights[f"{layer}/bias"]
        if layer == "layer_1":
            product = self._fine_product(values, weights, layer)
        else:
            product = self.product(values, weights, layer, signed=self.normalised or layer == "layer_5")
        return self.node("Add", [product, self.constant(f"{layer}/bias", bias)], f"{layer}/affine")

    def product(self, values: str, weights: npt.NDArray[np.float32], name: str, *, signed: bool) -> str:
        """Return the product of `values` and `weights`, with a scale for each row of `values`."""
        scale = self._scale(values, name, signed=signed)
        scaled = self.node("Div", [values, scale], f"{name}/scaled")
        zero = "middle" if signed else "none"
        product = self.integer_product(scaled, self.matrix(weights, name), zero, name)
        return self.node("Mul", [product, scale], f"{name}/values")

    def matrix(self, weights: npt.NDArray[np.float32], name: str) -> tuple[str, str]:
        """Add a matrix as integers, and return the names of the integers and of the scales of its columns."""
        integers, scales = quantised_columns(weights)
        return self.constant(f"{name}/integers", integers), self.constant(f"{name}/columns", scales)

    def integer_product(self, values: str, matrix: tuple[str, str], zero: str, name: str) -> str:
        """Return the product of `values`, rounded to integers, and a matrix, whose columns have scales."""
        integers = self.node("QuantizeLinear", [values, "one", zero], f"{name}/activations")
        weights, columns = matrix
        inputs = [integers, weights, "one", columns, zero]
        return self.node("MatMulIntegerToFloat", inputs, f"{name}/product", domain=_MICROSOFT)

    def _scale(self, values: str, name: str, *, signed: bool) -> str:
        amounts = self.node("Abs", [values], f"{name}/amounts") if signed else values
        most = self.node("ReduceMax", [amounts, "last"], f"{name}/most", keepdims=1)
        part = self.node("Mul", [most, "half" if signed else "largest"], f"{name}/part")
        return self.node("Max", [part, "smallest"], f"{name}/scale")

    def _fine_product(self, values: str, weights: npt.NDArray[np.float32], name: str) -> str:
        """Return the product of `values`, as the sum of a coarse and a fine part, and `weights`."""
        scale = self._scale(values, name, signed=True)
        scaled = self.node("Div", [values, scale], f"{name}/scaled")
        coarse = self.node("Round", [scaled], f"{name}/coarse")
        steps = self.constant(f"{name}/steps", np.float32(2 * _HALF))
        rest = self.node("Sub", [scaled, coarse], f"{name}/rest")
        fine = self.node("Mul", [rest, steps], f"{name}/fine")
        matrix = self.matrix(weights, name)
        parts = [self.integer_product(part, matrix, "middle", part) for part in (coarse, fine)]
        product = self.node("Add", [parts[0], self.node("Div", [parts[1], steps], f"{name}/small")], f"{name}/sum")
        return self.node("Mul", [product, scale], f"{name}/values")


def _model(weights: Weights) -> onnx.ModelProto:
    units, classes = weights["layer_6/weights"].shape
    builder = _QuantisedBuilder(weights)
    builder.constant("zero", np.float32(0))
    builder.constant("ceiling", CEILING)
    values = "patches"
    for layer in ("layer_1", "layer_2", "layer_3"):
        values = builder.dense(values, layer)
    values = builder.dense(_lstm(builder, values, units), "layer_5")
    builder.node("LogSoftmax", [builder.affine(values, "layer_6")], "log_probabilities", axis=-1)
    graph = helper.make_graph(
        builder.nodes,
        "quantised",
        [value("patches", "frames", "batch", SPAN * COEFFICIENTS), *_states(("h", "c"), 1, "batch", units)],
        [
            value("log_probabilities", "frames", "batch", classes),
            *_states(("h_after", "c_after"), 1, "batch", units),
        ],
        builder.constants,
    )
    return helper.make_model(
        graph,
        opset_imports=[helper.make_opsetid("", _OPERATORS), helper.make_opsetid(_MICROSOFT, 1)],
        ir_version=_FORMAT,
        producer_name="speechmodel",
    )


def _lstm(builder: _QuantisedBuilder, values: str, units: int) -> str:
    """Return the outputs of the LSTM. The inputs of all frames are one product, and each step is another."""
    kernel, bias = reordered(builder.weights[f"{CELL}/kernel"]), reordered(builder.weights[f"{CELL}/bias"])
    product = builder.product(values, kernel[:units], "lstm/input", signed=builder.normalised)
    gates = builder.node("Add", [product, builder.constant("lstm/bias", bias)], "lstm/gates")
    matrix = builder.matrix(kernel[units:] / np.float32(_HALF), "lstm/recurrent")
    builder.constant("lstm/parts", np.array([units] * 4, np.int64))
    direction = builder.constant("direction", np.array([0], np.int64))
    h, c = (builder.node("Squeeze", [state, direction], f"lstm/{state}") for state in ("h", "c"))
    integers = builder.node("QuantizeLinear", [h, "half", "middle"], "lstm/integers_before")
    builder.node(
        "Scan",
        [integers, c, gates],
        "lstm/integers_after",
        "lstm/c_after",
        "lstm",
        body=_step(units, matrix),
        num_scan_inputs=1,
    )
    builder.node("Gather", ["lstm", "last"], "h_after", axis=0)
    builder.node("Unsqueeze", ["lstm/c_after", direction], "c_after")
    return "lstm"


def _step(units: int, matrix: tuple[str, str]) -> onnx.GraphProto:
    """Return one step of the LSTM. Its output is below 1, so that the scale of its integers is a constant."""
    step = Builder({})
    weights, columns = matrix
    sums = step.node("MatMulInteger", ["integers", weights, "middle"], "sums")
    product = step.node("Mul", [step.node("Cast", [sums], "product", to=TensorProto.FLOAT), columns], "recurrent")
    all_gates = step.node("Add", ["gates", product], "all")
    step.node("Split", [all_gates, "lstm/parts"], "enter", "emit", "keep", "propose", axis=-1)
    enter, emit, keep = (step.node("Sigmoid", [gate], f"{gate}/opened") for gate in ("enter", "emit", "keep"))
    entering = step.node("Mul", [enter, step.node("Tanh", ["propose"], "candidate")], "entering")
    step.node("Add", [entering, step.node("Mul", [keep, "c"], "kept")], "c_now")
    step.node("Mul", [emit, step.node("Tanh", ["c_now"], "squashed")], "h_now")
    step.node("QuantizeLinear", ["h_now", "half", "middle"], "integers_now")
    integers = [
        helper.make_tensor_value_info(name, TensorProto.UINT8, ["batch", units])
        for name in ("integers", "integers_now")
    ]
    return helper.make_graph(
        step.nodes,
        "step",
        [integers[0], value("c", "batch", units), value("gates", "batch", 4 * units)],
        [integers[1], value("c_now", "batch", units), value("h_now", "batch", units)],
    )


def _states(names: Sequence[str], *shape: int | str) -> list[onnx.ValueInfoProto]:
    return [value(name, *shape) for name in names]
