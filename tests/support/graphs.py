"""Variants of the fixture graph, made with TensorFlow's own protocol buffers: what other exporters write, and what they get wrong."""

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from tensorflow.core.framework import attr_value_pb2, graph_pb2, node_def_pb2

Edit = Callable[[graph_pb2.GraphDef], None]


def edited(source: Path, target: Path, *edits: Edit) -> Path:
    """`source` with `edits`, written to `target`."""
    graph = graph_pb2.GraphDef.FromString(source.read_bytes())
    for edit in edits:
        edit(graph)
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(graph.SerializeToString(deterministic=True))
    return target


def node(graph: graph_pb2.GraphDef, name: str) -> node_def_pb2.NodeDef:
    """The node of that name."""
    return next(node for node in graph.node if node.name == name)


def with_unknown_attribute(graph: graph_pb2.GraphDef) -> None:
    """Add the attribute that TensorFlow 2.21 writes for GatherNd and the runtime's TensorFlow does not know."""
    for gather in (node for node in graph.node if node.op == "GatherNd"):
        gather.attr["bad_indices_policy"].CopyFrom(attr_value_pb2.AttrValue(s=b""))


def without(name: str) -> Edit:
    """The graph without one node."""

    def edit(graph: graph_pb2.GraphDef) -> None:
        graph.node.remove(node(graph, name))

    return edit


def with_alphabet(*labels: str) -> Edit:
    """The graph with another alphabet than it was trained with."""

    def edit(graph: graph_pb2.GraphDef) -> None:
        blob = struct.pack("<H", len(labels))
        for index, label in enumerate(labels):
            blob += struct.pack("<HH", index, len(label.encode())) + label.encode()
        node(graph, "metadata_alphabet").attr["value"].tensor.string_val[:] = [blob]

    return edit


def deaf(graph: graph_pb2.GraphDef) -> None:
    """A graph that runs, and is certain that nobody speaks: the bias of the blank, its last class, outweighs all."""
    tensor = node(graph, "layer_6/bias").attr["value"].tensor
    bias = np.zeros(tensor.tensor_shape.dim[0].size, np.float32)
    bias[-1] = 1000
    _set_content(tensor, bias.tobytes())
    weights = node(graph, "layer_6/weights").attr["value"].tensor
    _set_content(weights, bytes(4 * weights.tensor_shape.dim[0].size * weights.tensor_shape.dim[1].size))


def _set_content(tensor: "attr_value_pb2.AttrValue", raw: bytes) -> None:
    tensor.ClearField("float_val")
    tensor.tensor_content = raw
