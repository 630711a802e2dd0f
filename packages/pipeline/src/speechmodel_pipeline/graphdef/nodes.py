"""NodeDef: a node of a graph, with the value that it has if it is a constant."""

from dataclasses import dataclass

from speechmodel_runtime.wire import Span, WireReader

from speechmodel_pipeline.graphdef.encode import bytes_field, number_field
from speechmodel_pipeline.graphdef.tensors import Tensor, read_tensor

NAME, OP, ATTRIBUTE = 1, 2, 5
"""Numbers of the fields of a NodeDef."""
TEXT, DTYPE, SHAPE, TENSOR = 2, 6, 7, 8
"""Numbers of the fields of an AttrValue, the value of an attribute."""


@dataclass(frozen=True)
class Node:
    """A node."""

    name: bytes
    op: bytes
    kept: tuple[bytes, ...]
    """Its fields beside name, op and attributes, as they are in the file."""
    tensor: Tensor | None
    """Its attribute `value`, if that is a numeric tensor."""


def read_node(reader: WireReader, message: Span) -> Node:
    """Return the node in the NodeDef at `message`. Raises WireError when it is not a valid one."""
    name, op, tensor, kept = b"", b"", None, []
    for number, value in reader.fields(message):
        if not isinstance(value, Span):
            kept.append(number_field(number, value))
        elif number == NAME:
            name = reader.read(value)
        elif number == OP:
            op = reader.read(value)
        elif number == ATTRIBUTE:
            tensor = _constant(reader, value) or tensor
        else:
            kept.append(bytes_field(number, reader.read(value)))
    return Node(name, op, tuple(kept), tensor)


def _constant(reader: WireReader, attribute: Span) -> Tensor | None:
    """Return the numeric tensor in a node's attribute `value`, or None for any other attribute."""
    key, attr_value = b"", None
    for number, value in reader.fields(attribute):
        if number == 1 and isinstance(value, Span):
            key = reader.read(value)
        elif number == 2 and isinstance(value, Span):
            attr_value = value
    if key != b"value" or attr_value is None:
        return None
    for number, value in reader.fields(attr_value):
        if number == TENSOR and isinstance(value, Span):
            return read_tensor(reader, value)
    return None
