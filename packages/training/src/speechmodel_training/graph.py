"""Weights -> the frozen graph that the DeepSpeech 0.9.3 runtime loads.

Weights are constants with exactly the names of a checkpoint. Attributes that the runtime's
TensorFlow 2.3 does not know are removed: with them it would load the graph without an error and
give empty transcripts.
"""

import struct
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW
from tensorflow.core.framework.attr_value_pb2 import AttrValue
from tensorflow.core.framework.graph_pb2 import GraphDef
from tensorflow.core.framework.node_def_pb2 import NodeDef
from tensorflow.core.framework.tensor_pb2 import TensorProto
from tensorflow.python.framework import op_def_registry

from speechmodel_training.features import COEFFICIENTS, spectral_features
from speechmodel_training.layer_norm import normalised
from speechmodel_training.network import BETA, CEILING, CELL, GAMMA, PATCH, SPAN, Geometry

CHUNK = 16
"""Frames that the runtime feeds at once."""
BEAM_WIDTH = 500
"""The runtime's default for this graph."""
GRAPH_VERSION = 6
"""The lowest version that the runtime accepts."""
PRODUCER = 440
"""Version stamp of the graph: that of TensorFlow 2.3."""
KERNELS = frozenset(
    {
        *(
            "AudioSpectrogram",
            "BiasAdd",
            "BlockLSTM",
            "Cast",
            "ConcatV2",
            "Const",
            "ExpandDims",
            "GatherNd",
            "Identity",
        ),
        *("MatMul", "Max", "Mfcc", "Minimum", "Pack", "Placeholder", "Relu", "Reshape", "Softmax", "Transpose"),
    }
)
"""Ops of the exported graph. Runtime 0.9.3 was built with all of them (native_client/BUILD
upstream)."""
NORM_KERNELS = frozenset({"AddV2", "Mean", "Mul", "Rsqrt", "SquaredDifference", "Sub"})
"""Ops of layer norm. The runtime has kernels for them too, but none for Square (decision 12)."""
_MAP_KEY, _MAP_VALUE = 1, 2
"""Fields of an entry of a protobuf map."""


def frozen_graph(
    weights: Mapping[str, npt.NDArray[np.generic]], alphabet: Sequence[str], language: str
) -> Iterator[bytes | memoryview]:
    """Yield a serialised GraphDef in pieces, of which no weight is copied. Equal arguments give equal bytes.

    Raises ValueError when the output layer does not fit the alphabet, since such a graph crashes
    the runtime.
    """
    units, classes = weights["layer_6/weights"].shape
    geometry = Geometry(units, len(alphabet), layer_norm=f"layer_1/{GAMMA}" in weights)
    if classes != geometry.classes:
        raise ValueError(f"{len(alphabet)} labels need {geometry.classes} output classes, the weights have {classes}")
    with tf.Graph().as_default() as graph:
        _features()
        shapes = geometry.weight_shapes().items()
        _acoustic_model({name: tf.constant(0.0, shape=shape, name=name) for name, shape in shapes}, units, classes)
        _metadata(alphabet, language)
        definition = graph.as_graph_def()
    _strip(definition)
    unknown = {node.op for node in definition.node} - KERNELS - NORM_KERNELS
    assert not unknown, f"the runtime has no kernel for {unknown}"
    for node in definition.node:
        if node.name in weights:
            yield from _constant(node, weights[node.name])
        else:
            yield GraphDef(node=[node]).SerializeToString(deterministic=True)
    definition.ClearField("node")
    yield definition.SerializeToString(deterministic=True)


def _constant(node: NodeDef, value: npt.NDArray[np.generic]) -> Iterator[bytes | memoryview]:
    """Yield a node of a GraphDef whose constant is `value`, in place of the one that it has.

    The bytes of the constant are the last ones of all messages around it, so they can follow what protobuf writes. Protobuf alone
    would copy them three times.
    """
    content, tensor = np.ascontiguousarray(value), TensorProto(dtype=node.attr["dtype"].type)
    tensor.tensor_shape.CopyFrom(node.attr["value"].tensor.tensor_shape)
    head = _message(TensorProto.TENSOR_CONTENT_FIELD_NUMBER, b"", content.nbytes)
    head = _message(AttrValue.TENSOR_FIELD_NUMBER, tensor.SerializeToString(deterministic=True) + head, content.nbytes)
    head = _message(_MAP_KEY, b"value") + _message(_MAP_VALUE, head, content.nbytes)
    rest = NodeDef()
    rest.CopyFrom(node)
    del rest.attr["value"]
    head = _message(NodeDef.ATTR_FIELD_NUMBER, head, content.nbytes)
    yield _message(GraphDef.NODE_FIELD_NUMBER, rest.SerializeToString(deterministic=True) + head, content.nbytes)
    yield content.data.cast("B")


def _message(field: int, begin: bytes, following: int = 0) -> bytes:
    """Return a field with a length in the wire format of protobuf, without the last `following` bytes of its content."""
    size, varint = len(begin) + following, bytearray()
    while size > 0x7F:
        varint.append(size & 0x7F | 0x80)
        size >>= 7
    return bytes([field << 3 | 2, *varint, size]) + begin


def pack_alphabet(alphabet: Sequence[str]) -> bytes:
    """Return the alphabet as the runtime reads it: u16 count, then per label u16 index, u16 length
    and UTF-8; little endian.
    """
    encoded = [label.encode() for label in alphabet]
    packed = [struct.pack("<HH", index, len(label)) + label for index, label in enumerate(encoded)]
    return struct.pack("<H", len(encoded)) + b"".join(packed)


def _features() -> None:
    """Add `input_samples` [512] -> `mfccs` [1, 26]."""
    window = tf.compat.v1.placeholder(tf.float32, [WINDOW], "input_samples")
    tf.raw_ops.Identity(input=spectral_features(tf.raw_ops.ExpandDims(input=window, axis=-1)), name="mfccs")


def _acoustic_model(weights: Mapping[str, tf.Tensor], units: int, classes: int) -> None:
    """Add `input_node` [1, 16, 19, 26] and the old state -> `logits` [16, 1, classes] and the state
    after `input_lengths` frames.

    `logits` holds probabilities; the name is upstream's.
    """
    ops = tf.raw_ops
    patches = tf.compat.v1.placeholder(tf.float32, [1, CHUNK, SPAN, COEFFICIENTS], "input_node")
    used = tf.compat.v1.placeholder(tf.int32, [1], "input_lengths")
    previous_c = tf.compat.v1.placeholder(tf.float32, [1, units], "previous_state_c")
    previous_h = tf.compat.v1.placeholder(tf.float32, [1, units], "previous_state_h")

    def affine(values: tf.Tensor, layer: str) -> tf.Tensor:
        return ops.BiasAdd(value=ops.MatMul(a=values, b=weights[f"{layer}/weights"]), bias=weights[f"{layer}/bias"])

    def dense(values: tf.Tensor, layer: str) -> tf.Tensor:
        values = ops.Minimum(x=ops.Relu(features=affine(values, layer)), y=CEILING)
        if f"{layer}/{GAMMA}" not in weights:
            return values
        return normalised(values, weights[f"{layer}/{BETA}"], weights[f"{layer}/{GAMMA}"])

    values = ops.Reshape(tensor=ops.Transpose(x=patches, perm=[1, 0, 2, 3]), shape=[-1, PATCH])
    for layer in ("layer_1", "layer_2", "layer_3"):
        values = dense(values, layer)
    no_peephole = np.zeros(units, np.float32)
    lstm = ops.BlockLSTM(
        seq_len_max=ops.Cast(x=ops.Max(input=used, axis=[0]), DstT=tf.int64),
        x=ops.Reshape(tensor=values, shape=[-1, 1, units]),
        cs_prev=previous_c,
        h_prev=previous_h,
        w=weights[f"{CELL}/kernel"],
        wci=no_peephole,
        wcf=no_peephole,
        wco=no_peephole,
        b=weights[f"{CELL}/bias"],
        forget_bias=0.0,
        cell_clip=-1.0,
        use_peephole=False,
    )
    after_used = ops.Pack(values=[used, [0]], axis=1)
    for name, first, steps in (("new_state_c", previous_c, lstm.cs), ("new_state_h", previous_h, lstm.h)):
        states = ops.ConcatV2(values=[ops.ExpandDims(input=first, axis=0), steps], axis=0)
        ops.Identity(input=ops.GatherNd(params=states, indices=after_used), name=name)
    values = affine(dense(ops.Reshape(tensor=lstm.h, shape=[-1, units]), "layer_5"), "layer_6")
    ops.Softmax(logits=ops.Reshape(tensor=values, shape=[-1, 1, classes]), name="logits")


def _metadata(alphabet: Sequence[str], language: str) -> None:
    numbers = {
        "version": GRAPH_VERSION,
        "sample_rate": SAMPLE_RATE,
        "feature_win_len": 1000 * WINDOW // SAMPLE_RATE,
        "feature_win_step": 1000 * STRIDE // SAMPLE_RATE,
        "beam_width": BEAM_WIDTH,
    }
    for name, number in numbers.items():
        tf.constant([number], tf.int32, name=f"metadata_{name}")
    tf.constant([pack_alphabet(alphabet)], name="metadata_alphabet")
    tf.constant([language.encode()], name="metadata_language")


def _strip(definition: GraphDef) -> None:
    """Remove attributes with default values, which newer versions of TensorFlow may have added, and
    internal ones.
    """
    for node in definition.node:
        defaults = {
            attribute.name: attribute.default_value
            for attribute in op_def_registry.get(node.op).attr
            if attribute.HasField("default_value")
        }
        for name in list(node.attr):
            if name.startswith("_") or (name in defaults and node.attr[name] == defaults[name]):
                del node.attr[name]
    definition.ClearField("library")
    definition.versions.Clear()
    definition.versions.producer = PRODUCER
