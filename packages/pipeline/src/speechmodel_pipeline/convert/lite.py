"""The weights of a frozen graph -> the same network as a TFLite model, for deepspeech-tflite 0.9.3 and stt.

Both programs find tensors by their names, and deepspeech-tflite was built with TensorFlow 2.3. So every operator has
a version that TensorFlow 2.3 knows ([decision 32]). The graph takes 16 frames at once, as the runtime feeds them, and
the 16 steps of the LSTM are operators in a row.

Matrices are 8-bit integers with a scale for each column, and the interpreter quantises the activations of each frame
while it runs. The first layer stays in floats, because the coefficients of a frame differ by orders of magnitude.
"""

import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import flatbuffers
import numpy as np
import numpy.typing as npt
from ai_edge_litert import schema_py_generated as schema
from flatbuffers import flexbuffers
from speechmodel_decoding.features import CHANNELS, COEFFICIENTS, LOWEST_HZ, SPAN
from speechmodel_runtime import GraphInfo
from speechmodel_runtime.graph import LOWEST_VERSION

from speechmodel_pipeline.convert.acoustic import CEILING, CELL, NORM_EPSILON, Weights, network_weights
from speechmodel_pipeline.convert.quantised import quantised_columns

CHUNK = 16
"""Frames that the runtime feeds at once."""
_FORMAT, _IDENTIFIER = 3, b"TFL3"
_INTEGER_WEIGHTS = 3
"""Version of FULLY_CONNECTED that takes matrices of 8-bit integers. Every other operator has the version 1."""
_ALIGNMENT = 16
"""Bytes that the format aligns the content of a buffer to."""
_NONE = -1
"""Number of a tensor that an operator does without."""
_OP = schema.BuiltinOperator
_FLOAT, _INT32, _INT8, _STRING = (
    schema.TensorType.FLOAT32,
    schema.TensorType.INT32,
    schema.TensorType.INT8,
    schema.TensorType.STRING,
)


def export_lite_model(graph: Path, info: GraphInfo, target: Path) -> None:
    """Write the network in the frozen graph, which `info` describes, to `target`. Equal weights give equal bytes.

    Raises GraphDamaged when the graph is not whole or lacks a weight.
    """
    network = _Network(network_weights(graph))
    inputs, outputs = network.build(info)
    target.write_bytes(network.serialised(inputs, outputs))


class _Buffer(schema.BufferT):  # type: ignore[misc]
    """The content of a tensor. The generated class does not align it."""

    def Pack(self, builder: Any) -> int:  # noqa: N802
        """Write the buffer and return its place."""
        if self.data is not None:
            builder.StartVector(1, len(self.data), _ALIGNMENT)
            builder.head -= len(self.data)
            builder.Bytes[builder.head : builder.head + len(self.data)] = self.data
            content = builder.EndVector()
        schema.BufferStart(builder)
        if self.data is not None:
            schema.BufferAddData(builder, content)
        return int(schema.BufferEnd(builder))


class _Builder:
    """Collects tensors and operators. A tensor is known by its number."""

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []
        self._tensors: list[Any] = []
        self._buffers: list[Any] = [_Buffer()]  # tensors without content have the first one
        self._operators: list[Any] = []
        self._codes: dict[tuple[int, int, bytes | None], int] = {}

    def tensor(self, name: str, shape: Sequence[int], kind: int = _FLOAT, content: bytes | None = None) -> int:
        """Add a tensor, which is a constant if it has a content."""
        buffer = 0
        if content is not None:
            buffer = len(self._buffers)
            self._buffers.append(_Buffer(content))
        self.shapes.append(tuple(shape))
        self._tensors.append(schema.TensorT(shape=list(shape), type=kind, buffer=buffer, name=name.encode()))
        return len(self._tensors) - 1

    def constant(self, name: str, value: npt.NDArray[np.generic] | np.generic) -> int:
        """Add a constant: float32, int32, or int8 whose scale is 1."""
        kind = {"f": _FLOAT, "i": _INT8 if value.dtype == np.int8 else _INT32}[value.dtype.kind]
        number = self.tensor(name, value.shape, kind, np.ascontiguousarray(value).tobytes())
        if kind == _INT8:
            ones, zeros = np.ones(1, np.float32), np.zeros(1, np.int64)
            self._tensors[number].quantization = schema.QuantizationParametersT(scale=ones, zeroPoint=zeros)
        return number

    def add(self, operator: int, inputs: Sequence[int], *outputs: int, options: Any = None, version: int = 1) -> int:
        """Add a builtin operator and return its first output."""
        made = schema.OperatorT()
        if options is not None:
            made.builtinOptions = options
            made.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return self._add(made, (operator, version, None), inputs, outputs)

    def add_custom(self, operator: bytes, inputs: Sequence[int], output: int, **options: float) -> int:
        """Add an operator that the format knows by its name, and return its output."""
        content = np.frombuffer(flexbuffers.Dumps(options), np.uint8)
        return self._add(schema.OperatorT(customOptions=content), (_OP.CUSTOM, 1, operator), inputs, (output,))

    def _add(
        self, made: Any, code: tuple[int, int, bytes | None], inputs: Sequence[int], outputs: Sequence[int]
    ) -> int:
        made.opcodeIndex = self._codes.setdefault(code, len(self._codes))
        made.inputs, made.outputs = list(inputs), list(outputs)
        self._operators.append(made)
        return outputs[0]

    def serialised(self, inputs: Sequence[int], outputs: Sequence[int]) -> bytes:
        """Return the file."""
        graph = schema.SubGraphT(
            tensors=self._tensors, inputs=list(inputs), outputs=list(outputs), operators=self._operators, name=b"main"
        )
        codes = [
            # readers from before 2021 know the code by its deprecated field
            schema.OperatorCodeT(deprecatedBuiltinCode=code, builtinCode=code, version=version, customCode=custom)
            for code, version, custom in self._codes
        ]
        model = schema.ModelT(
            version=_FORMAT, operatorCodes=codes, subgraphs=[graph], buffers=self._buffers, description=b"speechmodel"
        )
        builder = flatbuffers.Builder()
        builder.Finish(model.Pack(builder), _IDENTIFIER)
        return bytes(builder.Output())


class _Network(_Builder):
    """Builds the features, the network and the metadata."""

    def __init__(self, weights: Weights) -> None:
        super().__init__()
        self._weights = weights
        self._ceiling = self.constant("ceiling", CEILING)
        self._epsilon = self.constant("epsilon", np.float32(NORM_EPSILON))

    def build(self, info: GraphInfo) -> tuple[list[int], list[int]]:
        """Add everything, and return the inputs and outputs of the graph."""
        units, classes = self._weights["layer_6/weights"].shape
        samples = self.tensor("input_samples", [info.window])
        patches = self.tensor("input_node", [1, CHUNK, SPAN, COEFFICIENTS])
        c, h = (self.tensor(f"previous_state_{state}", [1, units]) for state in "ch")
        mfccs = self._features(samples, info)
        values = self._reshape(patches, "patches", CHUNK, SPAN * COEFFICIENTS)
        for layer in ("layer_1", "layer_2", "layer_3"):
            values = self._dense(values, layer)
        values, new_c, new_h = self._lstm(values, c, h, units)
        values = self._affine(self._dense(values, "layer_5"), "layer_6")
        logits = self.tensor("logits", [CHUNK, classes])
        self.add(_OP.SOFTMAX, [values], logits, options=schema.SoftmaxOptionsT(beta=1.0))
        return [samples, patches, c, h], [logits, new_c, new_h, mfccs, *self._metadata(info)]

    def _features(self, samples: int, info: GraphInfo) -> int:
        column = self._reshape(samples, "samples", info.window, 1)
        spectrogram = self.add_custom(
            b"AudioSpectrogram",
            [column],
            self.tensor("spectrogram", [1, 1, info.window // 2 + 1]),
            window_size=info.window,
            stride=info.step,
            magnitude_squared=True,
        )
        cepstrum = self.add_custom(
            b"Mfcc",
            [spectrogram, self.constant("sample_rate", np.int32(info.sample_rate))],
            self.tensor("cepstrum", [1, 1, COEFFICIENTS]),
            upper_frequency_limit=info.sample_rate / 2,
            lower_frequency_limit=LOWEST_HZ,
            filterbank_channel_count=CHANNELS,
            dct_coefficient_count=COEFFICIENTS,
        )
        return self._reshape(cepstrum, "mfccs", 1, COEFFICIENTS)

    def _dense(self, values: int, layer: str) -> int:
        """Add a dense layer, with layer norm if the graph has it."""
        values = self._affine(values, layer, schema.ActivationFunctionType.RELU)
        values = self._binary(_OP.MINIMUM, values, self._ceiling, f"{layer}/cut", schema.MaximumMinimumOptionsT())
        if f"{layer}/LayerNorm/gamma" not in self._weights:
            return values
        gamma, beta = (self._weight(f"{layer}/LayerNorm/{kind}") for kind in ("gamma", "beta"))
        mean = self._mean(values, f"{layer}/mean")
        squares = self._binary(
            _OP.SQUARED_DIFFERENCE, values, mean, f"{layer}/squares", schema.SquaredDifferenceOptionsT()
        )
        variance = self._sum(self._mean(squares, f"{layer}/variance"), self._epsilon, f"{layer}/positive")
        factor = self._unary(_OP.RSQRT, variance, f"{layer}/factor")
        centred = self._binary(_OP.SUB, values, mean, f"{layer}/centred", schema.SubOptionsT())
        scaled = self._times(self._times(centred, factor, f"{layer}/scaled"), gamma, f"{layer}/widened")
        return self._sum(scaled, beta, f"{layer}/normalised")

    def _affine(self, values: int, layer: str, activation: int = schema.ActivationFunctionType.NONE) -> int:
        weights, bias = self._weights[f"{layer}/weights"], self._weight(f"{layer}/bias")
        if layer != "layer_1":
            product = self._integer_product(values, *self._matrix(weights, layer), layer)
            return self._sum(product, bias, f"{layer}/affine", activation)
        matrix = self.constant(f"{layer}/weights", weights.T)
        options = schema.FullyConnectedOptionsT(fusedActivationFunction=activation)
        target = self.tensor(f"{layer}/affine", [CHUNK, weights.shape[1]])
        return self.add(_OP.FULLY_CONNECTED, [values, matrix, bias], target, options=options)

    def _lstm(self, values: int, c: int, h: int, units: int) -> tuple[int, int, int]:
        """Add the steps of the LSTM, and return the outputs of all steps and the last states.

        The inputs of all steps are one product, and each step is another.
        """
        kernel, bias = self._weights[f"{CELL}/kernel"], self._weight(f"{CELL}/bias")
        entering = self._integer_product(values, *self._matrix(kernel[:units], "lstm/input"), "lstm/input")
        gates = self._sum(entering, bias, "lstm/gates")
        matrix, columns = self._matrix(kernel[units:], "lstm/recurrent")
        outputs = []
        for number, step in enumerate(self._split(gates, 0, CHUNK, "lstm/step")):
            name, last = f"lstm/{number}", number == CHUNK - 1
            recurrent = self._integer_product(h, matrix, columns, f"{name}/recurrent")
            entry, candidate, forget, output = self._split(
                self._sum(step, recurrent, f"{name}/gates"), 1, 4, f"{name}/gate"
            )
            opened = self._unary(_OP.LOGISTIC, entry, f"{name}/opened")
            proposed = self._times(opened, self._unary(_OP.TANH, candidate, f"{name}/candidate"), f"{name}/entering")
            kept = self._times(self._unary(_OP.LOGISTIC, forget, f"{name}/keep"), c, f"{name}/kept")
            c = self._sum(kept, proposed, "new_state_c" if last else f"{name}/c")
            emitted = self._unary(_OP.LOGISTIC, output, f"{name}/emit")
            h = self._times(
                emitted, self._unary(_OP.TANH, c, f"{name}/squashed"), "new_state_h" if last else f"{name}/h"
            )
            outputs.append(h)
        target = self.tensor("lstm", [CHUNK, units])
        self.add(_OP.CONCATENATION, outputs, target, options=schema.ConcatenationOptionsT(axis=0))
        return target, c, h

    def _metadata(self, info: GraphInfo) -> list[int]:
        """Add the metadata. Each value is the output of an operator, because the runtime runs the operator for it.

        The alphabet is the last operator of the graph. The interpreter allocates strings while it runs, and prepares
        no operator behind one before that.
        """
        numbers = {
            "version": LOWEST_VERSION,
            "sample_rate": info.sample_rate,
            "feature_win_len": 1000 * info.window // info.sample_rate,
            "feature_win_step": 1000 * info.step // info.sample_rate,
            "beam_width": info.beam_width,
        }
        outputs = [
            self._reshape(
                self.constant(f"{name}/value", np.array([value], np.int32)), f"metadata_{name}", 1, kind=_INT32
            )
            for name, value in numbers.items()
        ]
        alphabet = self.tensor("alphabet/value", [1], _STRING, _string(_packed(info.labels)))
        return [*outputs, self._reshape(alphabet, "metadata_alphabet", 1, kind=_STRING)]

    def _weight(self, name: str) -> int:
        return self.constant(name, self._weights[name])

    def _matrix(self, weights: npt.NDArray[np.float32], name: str) -> tuple[int, int]:
        """Add a matrix as integers, and return the integers and the scales of its columns."""
        integers, scales = quantised_columns(weights)
        return self.constant(f"{name}/integers", integers.T), self.constant(f"{name}/columns", scales)

    def _integer_product(self, values: int, matrix: int, columns: int, name: str) -> int:
        sums = self.tensor(f"{name}/sums", [self.shapes[values][0], self.shapes[matrix][0]])
        options = schema.FullyConnectedOptionsT()
        self.add(_OP.FULLY_CONNECTED, [values, matrix, _NONE], sums, options=options, version=_INTEGER_WEIGHTS)
        return self._times(sums, columns, f"{name}/product")

    def _reshape(self, values: int, name: str, *shape: int, kind: int = _FLOAT) -> int:
        wanted = self.constant(f"{name}/shape", np.array(shape, np.int32))
        options = schema.ReshapeOptionsT(newShape=list(shape))
        return self.add(_OP.RESHAPE, [values, wanted], self.tensor(name, shape, kind), options=options)

    def _split(self, values: int, axis: int, parts: int, name: str) -> list[int]:
        shape = list(self.shapes[values])
        shape[axis] //= parts
        outputs = [self.tensor(f"{name}/{part}", shape) for part in range(parts)]
        along = self.constant(f"{name}/axis", np.int32(axis))
        self.add(_OP.SPLIT, [along, values], *outputs, options=schema.SplitOptionsT(numSplits=parts))
        return outputs

    def _mean(self, values: int, name: str) -> int:
        along = self.constant(f"{name}/axis", np.array([1], np.int32))
        target = self.tensor(name, [self.shapes[values][0], 1])
        return self.add(_OP.MEAN, [values, along], target, options=schema.ReducerOptionsT(keepDims=True))

    def _sum(self, left: int, right: int, name: str, activation: int = schema.ActivationFunctionType.NONE) -> int:
        return self._binary(_OP.ADD, left, right, name, schema.AddOptionsT(fusedActivationFunction=activation))

    def _times(self, left: int, right: int, name: str) -> int:
        return self._binary(_OP.MUL, left, right, name, schema.MulOptionsT())

    def _binary(self, operator: int, left: int, right: int, name: str, options: Any) -> int:
        return self.add(operator, [left, right], self.tensor(name, self.shapes[left]), options=options)

    def _unary(self, operator: int, values: int, name: str) -> int:
        return self.add(operator, [values], self.tensor(name, self.shapes[values]))


def _packed(labels: Sequence[bytes]) -> bytes:
    """Return the alphabet as the runtime reads it: u16 count, then per label u16 index, u16 length and UTF-8."""
    packed = [struct.pack("<HH", index, len(label)) + label for index, label in enumerate(labels)]
    return struct.pack("<H", len(labels)) + b"".join(packed)


def _string(value: bytes) -> bytes:
    """Return the content of a tensor with one string: i32 count, the places of its begin and end, and the string."""
    begin = 3 * 4
    return struct.pack("<3i", 1, begin, begin + len(value)) + value
