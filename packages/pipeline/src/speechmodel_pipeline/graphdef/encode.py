"""The encoder of protocol buffers' wire format; speechmodel_runtime.wire reads it."""

_VARINT, _BYTES = 0, 2


def varint(value: int) -> bytes:
    """Return `value` as a base-128 varint; negative numbers as 64-bit two's complement."""
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def number_field(field: int, value: int) -> bytes:
    """Return a varint field."""
    return varint(field << 3 | _VARINT) + varint(value)


def bytes_head(field: int, length: int) -> bytes:
    """Return the bytes before the `length` bytes of a string, bytes or message field."""
    return varint(field << 3 | _BYTES) + varint(length)


def bytes_field(field: int, content: bytes) -> bytes:
    """Return a string, bytes or message field."""
    return bytes_head(field, len(content)) + content
