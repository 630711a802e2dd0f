"""TensorProto: the value of a constant, as raw bytes (`tensor_content`) or as typed values of which
the last one repeats.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

from speechmodel_runtime.wire import Span, WireError, WireReader

BLOCK = 1 << 16
"""Bytes of the pieces in which typed values are decoded."""
_DTYPE, _SHAPE, _CONTENT = 1, 2, 4


@dataclass(frozen=True)
class NumericType:
    """One of TensorFlow's numeric types."""

    item_size: int
    """Bytes per element."""
    field: int
    """Number of the TensorProto field with its typed values."""
    fixed: bool
    """True when that field has little-endian elements, False when it has varints."""


NUMERIC = {
    1: NumericType(4, 5, fixed=True),  # float32
    2: NumericType(8, 6, fixed=True),  # float64
    3: NumericType(4, 7, fixed=False),  # int32
    4: NumericType(1, 7, fixed=False),  # uint8
    5: NumericType(2, 7, fixed=False),  # int16
    6: NumericType(1, 7, fixed=False),  # int8
    8: NumericType(8, 9, fixed=True),  # complex64
    9: NumericType(8, 10, fixed=False),  # int64
    10: NumericType(1, 11, fixed=False),  # bool
    14: NumericType(2, 13, fixed=False),  # bfloat16
    17: NumericType(2, 7, fixed=False),  # uint16
    18: NumericType(16, 12, fixed=True),  # complex128
    19: NumericType(2, 13, fixed=False),  # float16
    22: NumericType(4, 16, fixed=False),  # uint32
    23: NumericType(8, 17, fixed=False),  # uint64
}
"""The types that TensorFlow maps (its macro TF_CALL_POD_TYPES) by DataType number, without strings
and quantised types."""


@dataclass(frozen=True)
class Tensor:
    """A constant of a numeric type, not yet read from its file."""

    dtype: int
    shape: bytes
    """TensorShapeProto, as it is in the file."""
    dimensions: tuple[int, ...]
    """Size of each dimension of the shape."""
    content: Span | None
    """Span of the raw bytes, if it has them."""
    typed: tuple[int | Span, ...]
    """Typed values: single varints, or spans of fixed-size elements or of packed varints."""

    @property
    def type(self) -> NumericType:
        """Its numeric type."""
        return NUMERIC[self.dtype]

    @property
    def elements(self) -> int:
        """Number of elements in the shape."""
        return prod(self.dimensions)

    @property
    def nbytes(self) -> int:
        """Bytes of all elements."""
        return self.elements * self.type.item_size

    def pieces(self, reader: WireReader) -> Iterator[bytes | Span]:
        """Yield all elements in order, little endian: `nbytes` bytes in blocks of at most BLOCK, or
        as spans of the file.

        Raises WireError when the value does not fit the shape.
        """
        if self.content is not None and self.content.length:
            if self.content.length != self.nbytes:
                raise WireError(
                    f"the constant at byte {self.content.start} has {self.content.length} bytes, its shape needs {self.nbytes}"
                )
            yield self.content
            return
        size, done, last = self.type.item_size, 0, bytes(self.type.item_size)
        for block in self._fixed(reader) if self.type.fixed else self._blocks_of_varints(reader):
            done += len(block)
            if done > self.nbytes:
                raise WireError(f"a constant has more values than the {self.elements} of its shape")
            last = block[-size:]
            yield block
        repeated = last * (BLOCK // size)
        for start in range(done, self.nbytes, len(repeated)):
            yield repeated[: self.nbytes - start]

    def _fixed(self, reader: WireReader) -> Iterator[bytes]:
        for values in self.typed:
            if not isinstance(values, Span) or values.length % self.type.item_size:
                raise WireError(f"a constant of type {self.dtype} has values of another type")
            for start in range(values.start, values.end, BLOCK):
                yield reader.read(Span(start, min(start + BLOCK, values.end)))

    def _blocks_of_varints(self, reader: WireReader) -> Iterator[bytes]:
        size = self.type.item_size
        mask, block = (1 << 8 * size) - 1, bytearray()
        for values in self.typed:
            for value in (values,) if isinstance(values, int) else reader.varints(values):
                block += (value & mask).to_bytes(size, "little")
                if len(block) >= BLOCK:
                    yield bytes(block)
                    block.clear()
        if block:
            yield bytes(block)


def read_tensor(reader: WireReader, message: Span) -> Tensor | None:
    """Return the numeric constant in the TensorProto at `message`, or None for any other type.

    Raises WireError for a value without a definite shape, or when the bytes are not a valid
    message.
    """
    dtype, shape, content = 0, Span(0, 0), None
    values: dict[int, list[int | Span]] = {}
    for number, value in reader.fields(message):
        if number == _DTYPE and isinstance(value, int):
            dtype = value
        elif number == _SHAPE and isinstance(value, Span):
            shape = value
        elif number == _CONTENT and isinstance(value, Span):
            content = value
        else:
            values.setdefault(number, []).append(value)
    if dtype not in NUMERIC:
        return None
    typed = tuple(values.get(NUMERIC[dtype].field, ()))
    return Tensor(dtype, reader.read(shape), tuple(_dimensions(reader, shape)), content, typed)


def _dimensions(reader: WireReader, shape: Span) -> Iterator[int]:
    for number, value in reader.fields(shape):
        if number == 2 and isinstance(value, Span):
            size = next((size for key, size in reader.fields(value) if key == 1 and isinstance(size, int)), 0)
            if size >= 1 << 63:
                raise WireError(f"the constant at byte {shape.start} has a dimension of unknown size")
            yield size
        elif number == 3 and value:
            raise WireError(f"the constant at byte {shape.start} has a shape of unknown rank")
