"""The weights of a frozen graph by name, without TensorFlow."""

import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt
from speechmodel_runtime.wire import Span, WireError, WireReader

from speechmodel_pipeline.graphdef.errors import GraphDamaged
from speechmodel_pipeline.graphdef.nodes import read_node

_FLOAT = 1
"""TensorFlow's DataType number of float32."""


def read_weights(
    source: Path, names: Iterable[str], optional: Iterable[str] = ()
) -> dict[str, npt.NDArray[np.float32]]:
    """Return the float constants of the graph in `source` that are called `names`, and those that are
    called `optional` and exist.

    Raises GraphDamaged when one of `names` is missing, or `source` is not a whole GraphDef.
    """
    needed = set(names)
    wanted = needed | set(optional)
    weights = {}
    with source.open("rb") as file:
        reader = WireReader(file)
        try:
            for number, value in reader.fields(Span(0, reader.size)):
                if number != 1 or not isinstance(value, Span):
                    continue
                node = read_node(reader, value)
                if (name := node.name.decode(errors="replace")) in wanted and node.tensor is not None:
                    if node.tensor.dtype != _FLOAT:
                        raise WireError(f"the weights {name} are not float32")
                    pieces = (
                        piece if isinstance(piece, bytes) else _read(file.fileno(), piece)
                        for piece in node.tensor.pieces(reader)
                    )
                    weights[name] = np.frombuffer(b"".join(pieces), "<f4").reshape(node.tensor.dimensions)
        except WireError as error:
            raise GraphDamaged(source, str(error)) from error
    if missing := sorted(needed - set(weights)):
        raise GraphDamaged(source, f"it has no weights {', '.join(missing)}")
    return weights


def _read(descriptor: int, span: Span) -> bytes:
    content = bytearray()
    while len(content) < span.length:
        block = os.pread(descriptor, span.length - len(content), span.start + len(content))
        if not block:
            raise WireError(f"the file ended at byte {span.start + len(content)} while it was read")
        content += block
    return bytes(content)
