"""Files of which libsndfile reads a part only, or nothing, although they are whole.

An Ogg file may be several that were joined, each with its own beginning (RFC 3533, 3 and 4), and so may an mp3 file. Of
both, libsndfile reads the first. A FLAC file that was written to a pipe does not say its length (RFC 9639, 8.2), and
libsndfile reads no samples then.
"""

import struct
from typing import BinaryIO

MOST_PAGES = 200_000
"""Pages of an Ogg file that are looked at, so that a forged file costs no time. Encoders write 1 to 50 in a second of
audio."""
_OGG_PAGE = struct.Struct("<4sBB20xB")
"""Magic, version, flags, and the number of segments."""
_FIRST_PAGE = 2
"""Flag of a page that begins a stream."""
_FLAC_LENGTH = slice(21, 26)
"""Bytes of STREAMINFO that end with the 36 bits of the number of samples."""
_XING = (b"Xing", b"Info")
_LOOKED_AT = 256
"""Bytes at the beginning of an mp3 file that hold the frame with its length, if there is one."""
_HAS_FRAMES, _HAS_BYTES = 1, 2
"""Flags of that frame."""
_TAG_BEHIND = 128
"""Bytes of a tag ID3v1, which is behind the audio of an mp3 file."""


def ffmpeg_format(file: BinaryIO) -> str | None:
    """Return FFmpeg's name of the format if `file` is such a file, and None for another. The position is changed."""
    start = tag_size(file)
    head = _read(file, start, _LOOKED_AT)
    if head.startswith(b"fLaC"):
        length = int.from_bytes(head[_FLAC_LENGTH]) & ((1 << 36) - 1)
        return None if length else "flac"
    if head.startswith(b"OggS"):
        return "ogg" if _is_chained(file, start) else None
    return "mp3" if _is_sync(head) and _goes_on(file, start, head) else None


def tag_size(file: BinaryIO) -> int:
    """Return the bytes of a tag ID3v2 at the beginning, or 0. The position is changed."""
    head = _read(file, 0, 10)
    if not head.startswith(b"ID3") or len(head) < 10 or max(head[6:10]) > 0x7F:
        return 0
    footer = 10 if head[5] & 0x10 else 0
    return 10 + footer + int("".join(f"{byte:07b}" for byte in head[6:10]), 2)


def _is_chained(file: BinaryIO, start: int) -> bool:
    """Return True when a stream of an Ogg file begins after the data of another, and for a file of more pages than are
    looked at, which FFmpeg reads to its end in both cases.
    """
    offset, data = start, False
    for _ in range(MOST_PAGES):
        header = _read(file, offset, _OGG_PAGE.size)
        if len(header) < _OGG_PAGE.size:
            return False
        magic, _, flags, segments = _OGG_PAGE.unpack(header)
        if magic != b"OggS":
            return False
        if flags & _FIRST_PAGE and data:
            return True
        data = data or not flags & _FIRST_PAGE
        offset += _OGG_PAGE.size + segments + sum(file.read(segments))
    return True


def _goes_on(file: BinaryIO, start: int, head: bytes) -> bool:
    """Return True when another mp3 file begins where the first one ends by its own count."""
    at = next((at for name in _XING if (at := head.find(name)) >= 0), -1)
    if at < 0 or len(head) < at + 16:
        return False
    flags = int.from_bytes(head[at + 4 : at + 8])
    offset = at + (12 if flags & _HAS_FRAMES else 8)
    if not flags & _HAS_BYTES:
        return False
    end = start + int.from_bytes(head[offset : offset + 4])
    behind = _read(file, end, 4)
    if behind.startswith(b"TAG"):
        behind = _read(file, end + _TAG_BEHIND, 4)
    return _is_sync(behind) or behind.startswith(b"ID3")


def _is_sync(head: bytes) -> bool:
    """Return True for the first bytes of a frame of MPEG audio."""
    return len(head) >= 2 and head[0] == 0xFF and head[1] & 0xE0 == 0xE0


def _read(file: BinaryIO, offset: int, length: int) -> bytes:
    file.seek(offset)
    return file.read(length)
