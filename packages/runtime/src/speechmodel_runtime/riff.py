"""The chunks of a wav file, read leniently, and a regular header for a file that lacks one.

A wav file is `RIFF`, a length, `WAVE`, and chunks of a name, a length and as many bytes (Multimedia
Programming Interface and Data Specifications 1.0, IBM and Microsoft, 1991). Recorders that write to
a pipe, or were interrupted, leave 0 or a very large number as the length of the chunk `data`, and
some programs do not pad a chunk of odd length. libsndfile finds no samples in such files. A recorder that
updates the length now and then leaves a smaller one when it is switched off.
"""

import io
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

from speechmodel_runtime.partly_read import tag_size

LONGEST_KNOWN = 0x7FF0_0000
"""Bytes. sox, arecord and ffmpeg write larger lengths when they do not know the length."""
MOST_CHUNKS = 1000
"""Chunks before `data` that are looked at, so that a forged file costs no time."""
LONGEST_FORMAT = 1 << 16
"""Bytes of the chunk `fmt ` that are read. It has 16 to 50 in practice."""
UNANNOUNCED_SHARE = 0.1
"""Smallest size of unannounced bytes after the samples, as a share of the samples, at which they count as samples
too."""
MOST_BITS = 64
"""Bits of a sample. Floating point of double precision has them."""
_CHUNK = struct.Struct("<4sI")
_FORM = struct.Struct("<4sI4s")
_WITHOUT_BITS = struct.Struct("<2xH8xH")
"""The chunk `fmt ` of a program that leaves the bits of a sample out: the channels, and the bytes of all of them."""
_INTEGERS = b"\x01\x00"
"""The beginning of the chunk `fmt ` when the samples are integers."""


@dataclass(frozen=True)
class WavChunks:
    """The chunks that hold the audio of a wav file. Offsets are from the start of the file."""

    format: bytes
    """Content of the chunk `fmt `."""
    start: int
    """Offset of the first sample."""
    announced: int | None
    """Bytes of samples by the header. None when it does not say."""
    present: int
    """Bytes of samples in the file."""
    regular: bool
    """True when libsndfile finds the samples by itself."""
    second: "Second | None"
    """More samples behind these."""

    @property
    def without_bits(self) -> bool:
        """Return True for integer samples of an unknown size. FFmpeg would take them for bytes."""
        return len(self.format) == _WITHOUT_BITS.size and self.format.startswith(_INTEGERS)


@dataclass(frozen=True)
class Second:
    """Another wav file, or another chunk of samples, behind the samples of the first."""

    offset: int
    name: str
    """In the plural."""
    advice: str


_SECONDS = {
    b"RIFF": ("wav files", "save them as two files"),
    b"data": ("chunks of samples", "save it again as one recording"),
}


def wav_chunks(file: BinaryIO) -> WavChunks | None:
    """Return the chunks of a wav file, or None when `file` is not one or has no samples.

    The position of the file is changed.
    """
    size = file.seek(0, io.SEEK_END)
    before = tag_size(file)
    offset = before + _FORM.size
    if _read(file, before, 4) != b"RIFF" or _read(file, before + 8, 4) != b"WAVE":
        return None
    described, regular = b"", not before
    for _ in range(MOST_CHUNKS):
        header = _read(file, offset, _CHUNK.size)
        if len(header) < _CHUNK.size:
            return None
        name, length = _CHUNK.unpack(header)
        offset += _CHUNK.size
        if name == b"data":
            return _with_data(file, described, offset, length, size, regular)
        if name == b"fmt ":
            described = _read(file, offset, min(length, LONGEST_FORMAT))
            if len(described) == _WITHOUT_BITS.size and (bits := _bits(described)):
                described, regular = described + bits, False
        offset += length
        if length % 2 and (_is_name(_read(file, offset + 1, 4)) or not _is_name(_read(file, offset, 4))):
            offset += 1
        elif length % 2:
            regular = False
    return None


class RegularWav(io.RawIOBase):
    """A wav file whose header is rewritten: seekable, and read from the same file."""

    def __init__(self, file: BinaryIO, chunks: WavChunks) -> None:
        super().__init__()
        self._file, self._start = file, chunks.start
        head = _CHUNK.pack(b"fmt ", len(chunks.format)) + chunks.format + _CHUNK.pack(b"data", chunks.present)
        self._head = _FORM.pack(b"RIFF", 4 + len(head) + chunks.present, b"WAVE") + head
        self._size, self._position = len(self._head) + chunks.present, 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Move as in every binary file."""
        self._position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill `buffer` with the next bytes: of the new header, then of the file's samples."""
        end = min(self._position + len(buffer), self._size)
        content = self._head[self._position : end]
        offset = max(self._position, len(self._head))
        if end > offset:
            content += _read(self._file, self._start + offset - len(self._head), end - offset)
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)


def _with_data(
    file: BinaryIO, described: bytes, start: int, announced: int, size: int, regular: bool
) -> WavChunks | None:
    available = size - start
    known = 0 < announced < LONGEST_KNOWN or 0 < announced <= available
    present = min(announced, available) if known else available
    end = start + present
    if known and _is_continued(file, end, size, present):
        present, regular = available, False
    behind = next(
        (Second(at, *_SECONDS[name]) for at in (end, end + present % 2) if (name := _read(file, at, 4)) in _SECONDS),
        None,
    )
    if not present or not described or (announced == 0 and _is_chunk(file, start, size)):
        return None
    return WavChunks(
        format=described,
        start=start,
        announced=announced if known else None,
        present=present,
        regular=known and regular,
        second=behind if known else None,
    )


def _is_continued(file: BinaryIO, end: int, size: int, present: int) -> bool:
    """Return True when more samples are behind the announced ones, instead of chunks, a tag or zeros."""
    left = size - end
    if left <= UNANNOUNCED_SHARE * present or _read(file, end, 3) == b"ID3":
        return False
    return not (_is_name(_read(file, end, 4)) or _is_name(_read(file, end + 1, 4))) and any(_read(file, end, 1 << 16))


def _bits(described: bytes) -> bytes:
    """Return the bits of a sample as the end of the chunk `fmt `, or nothing if no sample can have as many."""
    channels, size = _WITHOUT_BITS.unpack(described)
    bits = 8 * size // max(1, channels)
    return struct.pack("<H", bits) if 0 < bits <= MOST_BITS else b""


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)


def _is_chunk(file: BinaryIO, offset: int, size: int) -> bool:
    header = _read(file, offset, _CHUNK.size)
    return (
        len(header) == _CHUNK.size and _is_name(header[:4]) and offset + len(header) + _CHUNK.unpack(header)[1] <= size
    )


def _is_name(four: bytes) -> bool:
    return len(four) == len(b"data") and all(0x20 <= byte < 0x7F for byte in four)
