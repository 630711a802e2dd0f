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
    """What TensorFlow 2.21 writes for GatherNd and the runtime's TensorFlow does not know."""
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


def as_older_tensorflow_writes(graph: graph_pb2.GraphDef) -> None:
    """What freezing adds in TensorFlow 1.15: typed values, reads of variables, colocation, shapes, devices, versions."""
    weights = [node for node in graph.node if node.op == "Const" and node.attr["dtype"].type == 1]
    for const in weights:
        tensor = const.attr["value"].tensor
        values = np.frombuffer(tensor.tensor_content, np.float32)
        if 0 < len(values) <= 5000:  # layer_6 and the biases as typed values, the large ones as content
            tensor.ClearField("tensor_content")
            tensor.float_val.extend(values.tolist())
        const.attr["_class"].list.s.append(f"loc:@{const.name}".encode())
        const.attr["_output_shapes"].list.shape.add().CopyFrom(tensor.tensor_shape)
        const.device = "/device:CPU:0"
    _read_through_identities(graph, {const.name for const in weights})
    graph.versions.producer = 134
    graph.versions.min_consumer = 12


def _read_through_identities(graph: graph_pb2.GraphDef, names: set[str]) -> None:
    for reader in graph.node:
        reader.input[:] = [f"{name}/read" if name in names else name for name in reader.input]
    for name in sorted(names):
        read = graph.node.add(name=f"{name}/read", op="Identity", input=[name])
        read.attr["T"].type = 1
        read.attr["_class"].list.s.append(f"loc:@{name}".encode())


def _set_content(tensor: "attr_value_pb2.AttrValue", raw: bytes) -> None:
    tensor.ClearField("float_val")
    tensor.tensor_content = raw
