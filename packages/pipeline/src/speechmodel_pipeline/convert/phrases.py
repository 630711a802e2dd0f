"""The head that training has made -> the phrase network as an ONNX model: spectrogram in, log probabilities out.

Its input is `spectrogram` [2 * frames + 74, 32], its output `log_probabilities` [frames, labels + 1].
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper
from speechmodel_embedding import ACTIVATION_FLOOR, BANDS, LEAK, Head, Layer, layers

from speechmodel_pipeline.convert.acoustic import Builder, model_of, value

Floats = npt.NDArray[np.float32]


def export_phrase_network(head: Path, target: Path) -> None:
    """Write the phrase network with this head to `target`. Equal weights give equal bytes.

    Raises OSError or ValueError if `head` cannot be read.
    """
    target.write_bytes(_model(Head.load(head)).SerializeToString(deterministic=True))


def _model(head: Head) -> onnx.ModelProto:
    builder = Builder({})
    axes = builder.constant("spectrogram/axes", np.array([0, 1], np.int64))
    values = builder.node("Unsqueeze", ["spectrogram", axes], "spectrogram/image")
    for index, layer in enumerate(layers()):
        values = _layer(builder, values, f"embedding/{index}", layer)
    values = builder.node("Transpose", [values], "embedding/by_frame", perm=[0, 3, 2, 1])
    values = builder.node("Squeeze", [values, axes], "embedding/frames")  # [frames, 96]
    kernel = head.kernel / head.deviation[:, None]  # of (e - mean) / deviation, as one of e
    values = _dense(builder, values, "head/units", kernel, head.bias - head.mean @ kernel)
    values = _dense(
        builder, builder.node("Relu", [values], "head/activation"), "head/logits", head.output, head.output_bias
    )
    builder.node("LogSoftmax", [values], "log_probabilities", axis=-1)
    return model_of(
        helper.make_graph(
            builder.nodes,
            "phrases",
            [value("spectrogram", "hops", BANDS)],
            [value("log_probabilities", "frames", head.classes)],
            builder.constants,
        )
    )


def _dense(builder: Builder, values: str, name: str, weights: Floats, bias: Floats) -> str:
    """Add the product with `weights`, `[before, after]`, and a bias."""
    product = builder.node("MatMul", [values, builder.constant(f"{name}/weights", weights)], f"{name}/product")
    return builder.node("Add", [product, builder.constant(f"{name}/bias", bias)], name)


def _layer(builder: Builder, values: str, name: str, layer: Layer) -> str:
    """Add a layer of the embedding."""
    kernel = builder.constant(f"{name}/kernel", layer.kernel.transpose(3, 2, 0, 1))
    bias = builder.constant(f"{name}/bias", layer.bias)
    side = layer.padding
    values = builder.node(
        "Conv", [values, kernel, bias], f"{name}/convolution", pads=[0, side, 0, side], dilations=[layer.dilation, 1]
    )
    if layer.activated:
        values = builder.node("LeakyRelu", [values], f"{name}/leaky", alpha=LEAK)
        floor = builder.constant(f"{name}/floor", np.float32(ACTIVATION_FLOOR))
        values = builder.node("Max", [values, floor], f"{name}/activation")
    if (maximum := layer.maximum) is not None:
        values = builder.node(
            "MaxPool",
            [values],
            name,
            kernel_shape=[1 + maximum.over_time, 2],
            strides=[maximum.step, 2],
            dilations=[layer.dilation, 1],
        )
    return values
