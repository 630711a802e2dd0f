"""A frozen graph (.pb) -> the memory-mapped package (.pbmm) that the runtime loads in milliseconds.

    [weights, each at a multiple of 64 bytes] [GraphDef] [directory] [u64: offset of the directory]

Numbers are little endian.

Constants of at least `min_bytes` leave the graph: the node becomes an `ImmutableConst` that names a
region of the file. The directory is repeated field 1 {1: offset, 2: name, 3: length}, in ascending
order of offsets. Weights are copied in blocks, so the memory needed does not depend on the size of
the model.
"""

import hashlib
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from speechmodel_runtime.graph import REGION_PREFIX
from speechmodel_runtime.wire import Span, WireError, WireReader

from speechmodel_pipeline.graphdef.encode import bytes_field, bytes_head, number_field
from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.nodes import ATTRIBUTE, DTYPE, NAME, OP, SHAPE, TEXT, Node, read_node
from speechmodel_pipeline.graphdef.tensors import Tensor

MIN_BYTES = 10_000
"""Bytes of the smallest constant that is mapped: the default of TensorFlow's own tool."""
ALIGNMENT = 64
"""Bytes: TensorFlow's Allocator::kAllocatorAlignment."""
CHUNK = 1 << 20
"""Bytes copied at once."""


@dataclass(frozen=True)
class MappedFile:
    """The file that was written."""

    sha256: str
    size_bytes: int
    mapped_constants: int
    mapped_bytes: int


def memory_map(source: Path, target: Path, *, min_bytes: int = MIN_BYTES) -> MappedFile:
    """Write the graph in `source` to `target` as a memory-mapped package.

    Raises GraphDamaged, which names file and byte, when `source` is not a whole GraphDef. `target`
    is then incomplete, so write to a temporary name.
    """
    with source.open("rb") as file, target.open("wb") as out:
        try:
            return _Package(WireReader(file), file, out, min_bytes).write()
        except WireError as error:
            raise GraphDamaged(source, str(error)) from error


@dataclass(frozen=True)
class _Region:
    offset: int
    name: bytes
    length: int


class _Package:
    def __init__(self, reader: WireReader, source: BinaryIO, target: BinaryIO, min_bytes: int) -> None:
        self._reader = reader
        self._source = source.fileno()
        self._target = target
        self._min_bytes = max(1, min_bytes)
        self._digest = hashlib.sha256()
        self._offset = 0
        self._buffer = memoryview(bytearray(CHUNK))
        self._regions: list[_Region] = []
        self._names = {"", "."}  # "." is the name of the graph itself

    def write(self) -> MappedFile:
        graph = list(self._graph())
        weights = tuple(self._regions)
        start = self._offset
        for piece in graph:
            self._write(piece)
        self._regions.append(_Region(start, REGION_PREFIX + b".", self._offset - start))
        directory = self._offset
        for region in self._regions:
            self._write(_directory_element(region))
        self._write(struct.pack("<Q", directory))
        self._target.flush()
        return MappedFile(
            self._digest.hexdigest(), self._offset, len(weights), sum(region.length for region in weights)
        )

    def _graph(self) -> Iterator[bytes | Span]:
        """Yield the rewritten GraphDef in pieces, and write the weights in between."""
        nodes = 0
        for number, value in self._reader.fields(Span(0, self._reader.size)):
            if not isinstance(value, Span):
                yield number_field(number, value)
            elif number == 1:
                nodes += 1
                yield from self._rewritten(value)
            else:
                yield bytes_head(number, value.length)
                yield value
        if not nodes:
            raise WireError("it has no nodes, so it is not a GraphDef")

    def _rewritten(self, message: Span) -> Iterator[bytes | Span]:
        node = read_node(self._reader, message)
        if node.tensor is None or node.op != b"Const" or node.tensor.nbytes < self._min_bytes:
            yield bytes_head(1, message.length)
            yield message
            return
        region = self._map(node.name.decode(errors="replace"), node.tensor)
        yield bytes_field(1, _immutable_const(node, node.tensor, region))

    def _map(self, name: str, tensor: Tensor) -> _Region:
        self._write(bytes(-self._offset % ALIGNMENT))
        region = _Region(self._offset, REGION_PREFIX + self._unique(name).encode(), tensor.nbytes)
        self._regions.append(region)
        for piece in tensor.pieces(self._reader):
            self._write(piece)
        return region

    def _unique(self, name: str) -> str:
        plain = "".join(c if c.isascii() and (c.isalnum() or c in "_.") else "_" for c in name)
        while plain in self._names:
            plain += "_"
        self._names.add(plain)
        return plain

    def _write(self, piece: bytes | Span) -> None:
        if isinstance(piece, bytes):
            self._append(memoryview(piece))
            return
        offset = piece.start
        while offset < piece.end:
            count = os.preadv(self._source, [self._buffer[: min(CHUNK, piece.end - offset)]], offset)
            if not count:
                raise WireError(f"the file ended at byte {offset} while it was read")
            self._append(self._buffer[:count])
            offset += count

    def _append(self, data: memoryview) -> None:
        self._digest.update(data)
        self._target.write(data)
        self._offset += len(data)


def _immutable_const(node: Node, tensor: Tensor, region: _Region) -> bytes:
    return b"".join(
        (
            bytes_field(NAME, node.name),
            bytes_field(OP, b"ImmutableConst"),
            *node.kept,
            _attribute(b"dtype", number_field(DTYPE, tensor.dtype)),
            _attribute(b"shape", bytes_field(SHAPE, tensor.shape)),
            _attribute(b"memory_region_name", bytes_field(TEXT, region.name)),
        )
    )


def _attribute(key: bytes, value: bytes) -> bytes:
    return bytes_field(ATTRIBUTE, bytes_field(1, key) + bytes_field(2, value))


def _directory_element(region: _Region) -> bytes:
    offset = number_field(1, region.offset) if region.offset else b""  # proto3 leaves zeros out
    return bytes_field(1, offset + bytes_field(2, region.name) + number_field(3, region.length))
