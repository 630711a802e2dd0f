"""The metadata of a DeepSpeech 0.9.3 model file, read without TensorFlow.

The runtime trusts a model file too much. An alphabet with more labels than the network has classes
kills the process; missing or truncated weights load without an error and give empty transcripts. So
the file is checked first, in milliseconds regardless of its size, and rejected with a reason.

A `.pb` is a GraphDef. A `.pbmm` is `[tensors][GraphDef][directory][u64 little-endian: offset of the
directory]`, where the directory is repeated field 1 {1: offset, 2: name, 3: length}. The runtime
takes every path with `.pbmm` in it for the latter.
"""

import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from math import prod
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO

from speechmodel_runtime.errors import ModelIncompatible, ModelMissing, ModelUnreadable
from speechmodel_runtime.wire import Span, WireError, WireReader

MAPPED = ".pbmm"
REGION_PREFIX = b"memmapped_package://"
ALIGNMENT = 64
"""Bytes. The runtime reads a region that is not aligned as zeros."""
LOWEST_VERSION = 6
"""Lowest `metadata_version`: that of DeepSpeech 0.9."""
ITEM_SIZES = {1: 4, 2: 8, 3: 4, 4: 1, 5: 2, 6: 1, 9: 8, 10: 1, 14: 2, 17: 2, 19: 2, 22: 4, 23: 8}
"""Bytes per element by TensorFlow's DataType numbers."""
LARGEST_METADATA = 1 << 20
"""Bytes. Longer values are weights and are not read."""
NEEDED = (
    "input_samples", "mfccs", "input_node", "input_lengths", "previous_state_c", "previous_state_h", "logits", "new_state_c",
    "new_state_h", "metadata_version", "metadata_sample_rate", "metadata_feature_win_len", "metadata_feature_win_step",
    "metadata_beam_width", "metadata_alphabet",
)  # fmt: skip
"""Nodes that the runtime feeds, fetches or reads. Without some of them it gives empty text and no
error."""


@dataclass(frozen=True)
class GraphInfo:
    """The metadata of a model, known before it is loaded."""

    labels: tuple[bytes, ...]
    """The alphabet in order, UTF-8, without the blank."""
    classes: int
    """Width of the output layer: labels + 1."""
    sample_rate: int
    """Hz."""
    window: int
    """Samples per feature window."""
    step: int
    """Samples from one window to the next."""
    beam_width: int
    """The decoder's default."""


def read_graph(path: str | PathLike[str]) -> GraphInfo:
    """Check the model file at `path` and return its metadata.

    Raises ModelMissing, ModelUnreadable or ModelIncompatible. A file that passes does not crash the
    runtime, and loads with all its weights.
    """
    name = fspath(path)
    try:
        with Path(path).open("rb") as file:
            nodes = _nodes(file, name)
    except OSError as error:
        raise ModelMissing(name, f"cannot be read ({error.strerror})") from error
    except WireError as error:
        raise ModelUnreadable(
            name, f"is truncated, damaged or not a model ({error}); fetch or convert it again"
        ) from error
    return _info(nodes, name)


@dataclass
class _Tensor:
    dtype: int = 0
    shape: tuple[int, ...] = ()
    values: list[bytes | int] = field(default_factory=list)


@dataclass
class _Node:
    name: str = ""
    op: str = ""
    tensor: _Tensor = field(default_factory=_Tensor)
    region: bytes | None = None


def _nodes(file: BinaryIO, name: str) -> Mapping[str, _Node]:
    reader = WireReader(file)
    regions = directory(reader)
    if (MAPPED in name) != (regions is not None):
        found = "is a memory-mapped model" if regions is not None else "is not a whole memory-mapped model"
        raise ModelUnreadable(
            name,
            f"{found}, and the runtime takes a path for one if and only if {MAPPED} is in it; "
            "rename it, or fetch or convert it again",
        )
    graph = regions[REGION_PREFIX + b"."] if regions is not None else Span(0, reader.size)
    nodes = [_node(reader, span) for number, span in reader.fields(graph) if number == 1 and isinstance(span, Span)]
    if not nodes:
        raise WireError("it has no nodes")
    for node in nodes:
        if node.region is not None:
            _check_region(node, regions or {}, name)
    return {node.name: node for node in nodes}


def directory(reader: WireReader) -> Mapping[bytes, Span] | None:
    """Return the regions by name, or None when the file does not end with a directory that has a
    graph.
    """
    try:
        (offset,) = struct.unpack("<Q", reader.read(Span(reader.size - 8, reader.size)))
        regions = {}
        for _, element in reader.fields(Span(offset, reader.size - 8)):
            start, length, region = 0, 0, b""
            for number, value in reader.fields(element if isinstance(element, Span) else Span(0, 0)):
                if number == 1 and isinstance(value, int):
                    start = value
                elif number == 2 and isinstance(value, Span):
                    region = reader.read(value)
                elif number == 3 and isinstance(value, int):
                    length = value
            if start + length > offset:
                raise WireError(f"region {region!r} is beyond the data")
            regions[region] = Span(start, start + length)
    except WireError:
        return None
    return regions if REGION_PREFIX + b"." in regions else None


def _check_region(node: _Node, regions: Mapping[bytes, Span], name: str) -> None:
    span = regions.get(node.region or b"")
    needed = prod(node.tensor.shape) * ITEM_SIZES.get(node.tensor.dtype, 1)
    if span is None or span.length < needed or span.start % ALIGNMENT:
        raise ModelUnreadable(name, f"the weights of {node.name} are missing, truncated or misplaced; convert it again")


def _node(reader: WireReader, span: Span) -> _Node:
    node = _Node()
    for number, value in reader.fields(span):
        if not isinstance(value, Span):
            continue
        if number == 1:
            node.name = reader.read(value).decode(errors="replace")
        elif number == 2:
            node.op = reader.read(value).decode(errors="replace")
        elif number == 5:
            _attribute(reader, value, node)
    return node


def _attribute(reader: WireReader, span: Span, node: _Node) -> None:
    key, attribute = b"", None
    for number, value in reader.fields(span):
        if number == 1 and isinstance(value, Span):
            key = reader.read(value)
        elif number == 2 and isinstance(value, Span):
            attribute = value
    if attribute is None or (node.op, key) not in _READ:
        return
    for number, value in reader.fields(attribute):
        if number == 8 and isinstance(value, Span):
            node.tensor = _tensor(reader, value)
        elif number == 7 and isinstance(value, Span):
            node.tensor.shape = _shape(reader, value)
        elif number == 6 and isinstance(value, int):
            node.tensor.dtype = value
        elif number == 2 and isinstance(value, Span):
            node.region = reader.read(value)


_READ = {
    ("Const", b"value"),
    ("ImmutableConst", b"dtype"),
    ("ImmutableConst", b"shape"),
    ("ImmutableConst", b"memory_region_name"),
}


def _tensor(reader: WireReader, span: Span) -> _Tensor:
    tensor = _Tensor()
    for number, value in reader.fields(span):
        if number == 1 and isinstance(value, int):
            tensor.dtype = value
        elif number == 2 and isinstance(value, Span):
            tensor.shape = _shape(reader, value)
        elif number in (4, 8) and isinstance(value, Span) and value.length <= LARGEST_METADATA:
            tensor.values.append(reader.read(value))
        elif number == 7:
            tensor.values += [value] if isinstance(value, int) else list(reader.varints(value))
    return tensor


def _shape(reader: WireReader, span: Span) -> tuple[int, ...]:
    sizes = []
    for number, dimension in reader.fields(span):
        if number == 2 and isinstance(dimension, Span):
            size = (value for key, value in reader.fields(dimension) if key == 1 and isinstance(value, int))
            sizes.append(next(size, 0))
    return tuple(sizes)


def _info(nodes: Mapping[str, _Node], name: str) -> GraphInfo:
    if missing := [needed for needed in NEEDED if needed not in nodes]:
        raise ModelIncompatible(name, f"lacks the nodes {', '.join(missing)}; export it for DeepSpeech 0.9")
    if (version := _integer(nodes, "metadata_version", name)) < LOWEST_VERSION:
        problem = f"has graph version {version}, the runtime needs {LOWEST_VERSION} or later"
        raise ModelIncompatible(name, f"{problem}; export it for DeepSpeech 0.9")
    labels = _alphabet(nodes, name)
    classes = nodes["layer_6/bias"].tensor.shape if "layer_6/bias" in nodes else ()
    if classes != (len(labels) + 1,):
        raise ModelIncompatible(
            name,
            f"its alphabet has {len(labels)} labels, so layer_6/bias must have the shape [{len(labels) + 1}], not "
            f"{list(classes)}: it was trained with another alphabet; export it with that one",
        )
    rate = _integer(nodes, "metadata_sample_rate", name)
    info = GraphInfo(
        labels=labels,
        classes=classes[0],
        sample_rate=rate,
        window=rate * _integer(nodes, "metadata_feature_win_len", name) // 1000,
        step=rate * _integer(nodes, "metadata_feature_win_step", name) // 1000,
        beam_width=_integer(nodes, "metadata_beam_width", name),
    )
    if min(info.sample_rate, info.window, info.step) < 1:
        problem = f"has invalid settings ({info.sample_rate} Hz, window {info.window}, step {info.step} samples)"
        raise ModelIncompatible(name, f"{problem}; export it again")
    return info


def _integer(nodes: Mapping[str, _Node], node: str, name: str) -> int:
    match nodes[node].tensor.values:
        case [int(value)]:
            return value
        case [bytes(raw)] if len(raw) == 4:
            return int.from_bytes(raw, "little", signed=True)
        case _:
            raise ModelIncompatible(name, f"{node} does not hold one int32; export it for DeepSpeech 0.9")


def _alphabet(nodes: Mapping[str, _Node], name: str) -> tuple[bytes, ...]:
    """Return the labels of u16 count, then per label u16 index, u16 length and UTF-8 bytes, in any
    order.
    """
    match nodes["metadata_alphabet"].tensor.values:
        case [bytes(raw)]:
            pass
        case _:
            raise ModelIncompatible(name, "metadata_alphabet does not hold one string; export it again")
    try:
        (count,) = struct.unpack_from("<H", raw)
        labels, offset = {}, 2
        for _ in range(count):
            index, length = struct.unpack_from("<HH", raw, offset)
            offset += 4 + length
            labels[index] = raw[offset - length : offset]
    except struct.error:
        raise ModelIncompatible(name, "metadata_alphabet is truncated; export it again") from None
    if offset != len(raw) or sorted(labels) != list(range(count)) or not count:
        raise ModelIncompatible(name, "metadata_alphabet is damaged; export it again")
    return tuple(labels[index] for index in range(count))
