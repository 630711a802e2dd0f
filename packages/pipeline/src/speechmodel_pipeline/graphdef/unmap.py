"""The memory-mapped package of pbmm.py -> a frozen graph with the same nodes and weights."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from speechmodel_runtime.graph import REGION_PREFIX, directory
from speechmodel_runtime.wire import Span, WireError, WireReader

from speechmodel_pipeline.graphdef.encode import bytes_field, bytes_head, number_field
from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.nodes import ATTRIBUTE, DTYPE, NAME, OP, SHAPE, TENSOR, TEXT, read_node
from speechmodel_pipeline.graphdef.pbmm import CHUNK

_NODE, _CONTENT = 1, 4
"""Numbers of the fields with a node of a graph, and with the raw bytes of a tensor."""


def unmap(source: Path, target: Path) -> None:
    """Write the graph in the package `source` to `target`. memory_map makes the same package of it again.

    Raises GraphDamaged, which names file and byte, when `source` is not a whole package.
    """
    with source.open("rb") as file, target.open("wb") as out:
        try:
            _unmap(WireReader(file), file, out)
        except WireError as error:
            raise GraphDamaged(source, str(error)) from error


def _unmap(reader: WireReader, source: BinaryIO, out: BinaryIO) -> None:
    regions = directory(reader)
    if regions is None:
        raise WireError("it is not a whole memory-mapped model")
    for number, value in reader.fields(regions[REGION_PREFIX + b"."]):
        if not isinstance(value, Span):
            out.write(number_field(number, value))
        elif number == _NODE and read_node(reader, value).op == b"ImmutableConst":
            _write_constant(reader, value, regions, source, out)
        else:
            out.write(bytes_head(number, value.length))
            _copy(source, value, out)


def _write_constant(
    reader: WireReader, message: Span, regions: Mapping[bytes, Span], source: BinaryIO, out: BinaryIO
) -> None:
    node, given = read_node(reader, message), dict(_attributes(reader, message))
    try:
        dtype, shape, name = (given[key] for key in (b"dtype", b"shape", b"memory_region_name"))
        weights = regions[name] if isinstance(name, bytes) else None
    except KeyError as error:
        raise WireError(f"the constant at byte {message.start} lacks {error}") from error
    if weights is None or not isinstance(dtype, int) or not isinstance(shape, bytes):
        raise WireError(f"the constant at byte {message.start} has attributes of other types")
    tensor = number_field(1, dtype) + bytes_field(2, shape) + bytes_head(_CONTENT, weights.length)
    value = bytes_head(TENSOR, len(tensor) + weights.length) + tensor
    attribute = bytes_field(1, b"value") + bytes_head(2, len(value) + weights.length) + value
    type_of = bytes_field(1, b"dtype") + bytes_field(2, number_field(DTYPE, dtype))
    head = bytes_field(NAME, node.name) + bytes_field(OP, b"Const") + b"".join(node.kept)
    head += bytes_field(ATTRIBUTE, type_of) + bytes_head(ATTRIBUTE, len(attribute) + weights.length) + attribute
    out.write(bytes_head(_NODE, len(head) + weights.length) + head)
    _copy(source, weights, out)


def _attributes(reader: WireReader, message: Span) -> Iterator[tuple[bytes, int | bytes]]:
    """Yield the name and the value of each attribute with a type, a shape or a text."""
    for number, attribute in reader.fields(message):
        if number != ATTRIBUTE or not isinstance(attribute, Span):
            continue
        parts = {part: value for part, value in reader.fields(attribute) if isinstance(value, Span)}
        if not {1, 2} <= parts.keys():
            continue
        for kind, value in reader.fields(parts[2]):
            if kind in (DTYPE, SHAPE, TEXT):
                yield reader.read(parts[1]), reader.read(value) if isinstance(value, Span) else value


def _copy(source: BinaryIO, span: Span, out: BinaryIO) -> None:
    source.seek(span.start)
    left = span.length
    while left:
        block = source.read(min(CHUNK, left))
        if not block:
            raise WireError(f"the file ended at byte {span.end - left} while it was read")
        out.write(block)
        left -= len(block)
