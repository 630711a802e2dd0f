"""The signs in a file that its end is missing, in formats that say how long their parts are, or mark their end.

A file that is cut exactly between two parts shows no sign.
"""

import io
from typing import BinaryIO

from speechmodel_runtime.lengths import lacks_end

MOST_PARTS = 500_000
"""Parts of a file that are looked at, so that a forged file costs no time. A browser writes about 20 blocks in a second of audio."""

_EBML = b"\x1a\x45\xdf\xa3"
_WITH_PARTS = {0x18538067, 0x1F43B675}
"""Segment and Cluster of Matroska and WebM (RFC 9559), which may have no length, and are looked into."""
_ELEMENTS = _WITH_PARTS | {
    0x1A45DFA3,  # the header
    *(0x114D9B74, 0x1549A966, 0x1654AE6B, 0x1C53BB6B, 0x1941A469, 0x1043A770, 0x1254C367),  # parts of a Segment
    *(0xE7, 0x5854, 0xA7, 0xAB, 0xA3, 0xA0, 0xAF),  # parts of a Cluster
    *(0xEC, 0xBF),  # of everything: a gap and a sum
}
"""Elements by their ids. Programs append other bytes to a file, such as tags."""
_LONGEST_ID, _LONGEST_SIZE = 4, 8
"""Bytes."""
_BOX = 8
"""Bytes of the header of a box: its length and its type."""
_FIRST_BOXES = (b"ftyp", b"styp")
_BOXES = b"ftyp styp moov moof mdat free skip wide uuid sidx ssix mfra meta pdin prft emsg udta".split()
"""Types of boxes that are not in another one."""
_PACKET, _SYNC = 188, 0x47
"""Bytes of a packet of an MPEG transport stream (ISO 13818-1), and the first of them."""


def missing_end(file: BinaryIO) -> str | None:
    """Return how a file shows that its end is missing, such as `has no end mark`, and None for one that does not.

    The position of the file is changed.
    """
    if lacks_end(file):
        return "has no end mark"
    file.seek(0)
    head = file.read(_PACKET + 1)
    size = file.seek(0, io.SEEK_END)
    if head.startswith(_EBML):
        within = _ends_within_element(file, size)
    elif head[4:8] in _FIRST_BOXES:
        within = _ends_within_box(file, size)
    else:
        within = _is_transport(head) and _ends_within_packet(file, size)
    return "ends within one of its parts" if within else None


def _ends_within_element(file: BinaryIO, size: int) -> bool:
    """Return True if a Matroska file ends before the end of an element. What is not an element ends the search."""
    at = 0
    for _ in range(MOST_PARTS):
        if at >= size:
            break
        file.seek(at)
        header = file.read(_LONGEST_ID + _LONGEST_SIZE)
        id_bytes = _length_of_number(header, 0)
        element = int.from_bytes(header[:id_bytes])
        if element not in _ELEMENTS:
            return False
        if len(header) <= id_bytes:
            return True
        size_bytes = _length_of_number(header, id_bytes)
        if size_bytes > _LONGEST_SIZE:
            return False
        begins = id_bytes + size_bytes
        if len(header) < begins:
            return True
        values = (1 << 7 * size_bytes) - 1
        length: int | None = int.from_bytes(header[id_bytes:begins]) & values
        length = None if length == values else length
        at += begins
        if length is not None and at + length > size:
            return True
        if element in _WITH_PARTS:
            continue
        if length is None:
            return False
        at += length
    return False


def _length_of_number(header: bytes, at: int) -> int:
    """Return the bytes of a number of variable length (RFC 8794, 4), by its first byte. 9 or more are not allowed."""
    return 9 - header[at].bit_length()


def _ends_within_box(file: BinaryIO, size: int) -> bool:
    """Return True if an MP4 file ends before the end of a box (ISO 14496-12, 4.2). What is not a box ends the search."""
    at = 0
    for _ in range(MOST_PARTS):
        if at >= size:
            break
        file.seek(at)
        header = file.read(2 * _BOX)
        length, kind = int.from_bytes(header[:4]), header[4:_BOX]
        if length == 1:
            length = int.from_bytes(header[_BOX:])
        if kind not in _BOXES or length < _BOX:  # a length of 0 is that of a box up to the end of the file
            return False
        at += length
        if at > size:
            return True
    return False


def _is_transport(head: bytes) -> bool:
    return len(head) > _PACKET and head[0] == head[_PACKET] == _SYNC


def _ends_within_packet(file: BinaryIO, size: int) -> bool:
    """Return True if the last packet of a transport stream is not whole."""
    file.seek(size - size % _PACKET)
    return file.read(1) == bytes([_SYNC])
