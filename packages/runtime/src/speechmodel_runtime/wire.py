"""Protocol buffers' wire format, read field by field from a file.

Fields are skipped by their length.
"""

import io
import os
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

CACHE = 1 << 16
"""Bytes read at once, so that a field of a few bytes costs no system call of its own."""


class WireError(ValueError):
    """The bytes are not a valid message."""


class Span(NamedTuple):
    """Bytes `start` to `end` (exclusive) of the file."""

    start: int
    end: int

    @property
    def length(self) -> int:
        """Length in bytes."""
        return self.end - self.start


class WireReader:
    """Random access to the messages of one file."""

    def __init__(self, file: BinaryIO) -> None:
        self._descriptor = file.fileno()
        self.size = file.seek(0, io.SEEK_END)
        self._cached, self._cache = 0, b""

    def fields(self, message: Span) -> Iterator[tuple[int, int | Span]]:
        """Yield (field number, value) of each field: an int for varints, the span of the bytes for
        all others.

        Raises WireError when the bytes are not a valid message.
        """
        offset = message.start
        while offset < message.end:
            key, offset = self._varint(offset, message.end)
            number, kind = key >> 3, key & 7
            if number == 0:
                raise WireError(f"field number 0 before byte {offset}")
            if kind == 0:
                value, offset = self._varint(offset, message.end)
                yield number, value
                continue
            if kind == 2:
                length, offset = self._varint(offset, message.end)
            elif kind in (1, 5):
                length = 8 if kind == 1 else 4
            else:
                raise WireError(f"wire type {kind} before byte {offset}")
            if offset + length > message.end:
                raise WireError(f"the field at byte {offset} runs past the end of its message at {message.end}")
            yield number, Span(offset, offset + length)
            offset += length

    def varints(self, packed: Span) -> Iterator[int]:
        """Yield the values of a packed repeated field."""
        offset = packed.start
        while offset < packed.end:
            value, offset = self._varint(offset, packed.end)
            yield value

    def read(self, span: Span) -> bytes:
        """Return the bytes of `span`. Raises WireError when the file ends before."""
        if not 0 <= span.start <= span.end <= self.size:
            raise WireError(f"bytes {span.start} to {span.end} are needed, the file has {self.size}")
        begin = span.start - self._cached
        if begin < 0 or begin + span.length > len(self._cache):
            self._cache = os.pread(self._descriptor, max(span.length, CACHE), span.start)
            self._cached, begin = span.start, 0
        raw = self._cache[begin : begin + span.length]
        if len(raw) < span.length:
            raise WireError(f"the file ended at byte {span.start + len(raw)} while it was read")
        return raw

    def _varint(self, offset: int, end: int) -> tuple[int, int]:
        value = 0
        for index, byte in enumerate(self.read(Span(offset, min(offset + 10, max(end, offset), self.size)))):
            value |= (byte & 0x7F) << 7 * index
            if byte < 0x80:
                return value, offset + index + 1
        raise WireError(f"invalid varint at byte {offset}")
