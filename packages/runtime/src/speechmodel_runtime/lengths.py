"""The length that a file announces, in formats other than wav, of which libsndfile reports the samples that are there."""

import io
import struct
from dataclasses import dataclass
from typing import BinaryIO, Literal

LONGEST_KNOWN = 0x7F00_0000
"""Bytes in a length of 4 bytes. sox writes larger ones when it does not know the length, others set every bit."""
MOST_CHUNKS = 1000
"""Chunks that are looked at, so that a forged file costs no time."""
_OGG_PAGE = struct.Struct("<4sBB20xB")
"""Magic, version, flags, and the number of segments."""
_LAST_PAGE = 4
"""Flag of the page that ends a stream."""
_LARGEST_PAGE = _OGG_PAGE.size + 255 + 255 * 255


@dataclass(frozen=True)
class _Chunks:
    """A format that consists of chunks, each with a name and a length."""

    magic: bytes
    first: int
    """Offset of the first chunk."""
    data: bytes
    """Name of the chunk with the samples."""
    name_bytes: int
    length_bytes: int
    order: Literal["big", "little"]
    own_header: bool
    """True if a length counts the name and the length too."""
    align: int


_FORMATS = (
    _Chunks(b"FORM", 12, b"SSND", 4, 4, "big", own_header=False, align=2),  # AIFF 1.3, Apple 1989
    _Chunks(b"caff", 8, b"data", 4, 8, "big", own_header=False, align=1),  # Core Audio Format, Apple 2011
    _Chunks(b"riff", 40, b"data", 16, 8, "little", own_header=True, align=8),  # Wave 64, Sonic Foundry
)
_AU = struct.Struct(">4sII")
"""Magic, offset of the samples, and their bytes."""


def share_present(file: BinaryIO) -> float:
    """Return the share of the announced samples that are in an AIFF, AU, CAF or Wave 64 file: 1 or less.

    Return 1 for other formats and for lengths that are not known. The position of the file is changed.
    """
    size = file.seek(0, io.SEEK_END)
    file.seek(0)
    magic, start, announced, form = b"", 0, 0, None
    if len(head := file.read(_AU.size)) == _AU.size:
        magic, start, announced = _AU.unpack(head)
    if magic != b".snd":
        form = next((each for each in _FORMATS if head.startswith(each.magic)), None)
        start, announced = (0, 0) if form is None else _data(file, form)
    present = size - start
    # 0 and the largest lengths are written by programs that do not know the length
    known = 0 < announced < (LONGEST_KNOWN if form is None or form.length_bytes == 4 else 1 << 62)
    return min(1.0, present / announced) if known and present > 0 else 1.0


def lacks_end(file: BinaryIO) -> bool:
    """Return True for an Ogg file whose last page is cut, or does not end a stream (RFC 3533, 6).

    The position of the file is changed.
    """
    file.seek(0)
    if file.read(4) != b"OggS":
        return False
    size = file.seek(0, io.SEEK_END)
    file.seek(max(0, size - 2 * _LARGEST_PAGE))
    end = file.read()
    at = end.rfind(b"OggS")
    if at < 0 or len(end) < at + _OGG_PAGE.size:
        return True
    _, _, flags, segments = _OGG_PAGE.unpack_from(end, at)
    lengths = end[at + _OGG_PAGE.size :][:segments]
    complete = len(lengths) == segments and len(end) >= at + _OGG_PAGE.size + segments + sum(lengths)
    return not (complete and flags & _LAST_PAGE)


def _data(file: BinaryIO, form: _Chunks) -> tuple[int, int]:
    """Return the offset and the announced bytes of the samples, or zeros."""
    offset = form.first
    for _ in range(MOST_CHUNKS):
        file.seek(offset)
        name, length = file.read(form.name_bytes), file.read(form.length_bytes)
        if len(length) < form.length_bytes:
            break
        bytes_ = int.from_bytes(length, form.order)
        header = form.name_bytes + form.length_bytes
        content = bytes_ - header if form.own_header else bytes_
        if name.startswith(form.data):
            return offset + header, content
        if content < 0:
            break
        offset += -(-(header + content) // form.align) * form.align
    return 0, 0
