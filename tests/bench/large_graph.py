"""A graph of the size of a real model: the weights of 2048 units, 190 MB, random."""

from pathlib import Path

import numpy as np
from speechmodel_pipeline.graphdef.encode import bytes_field, bytes_head, number_field

HIDDEN, LABELS, FEATURES = 2048, 29, 494
SHAPES = {
    "layer_1/weights": (FEATURES, HIDDEN),
    "layer_2/weights": (HIDDEN, HIDDEN),
    "layer_3/weights": (HIDDEN, HIDDEN),
    "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell/kernel": (2 * HIDDEN, 4 * HIDDEN),
    "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell/bias": (4 * HIDDEN,),
    "layer_5/weights": (HIDDEN, HIDDEN),
    "layer_6/weights": (HIDDEN, LABELS + 1),
}
FLOAT = 1


def write_large_graph(path: Path) -> int:
    """Write it; its size in bytes."""
    random = np.random.default_rng(0)
    with path.open("wb") as file:
        for name, shape in SHAPES.items():
            content = random.standard_normal(shape, np.float32).tobytes()
            file.write(_head(name, shape, len(content)))
            file.write(content)
    return path.stat().st_size


def _head(name: str, shape: tuple[int, ...], size: int) -> bytes:
    """A Const up to its content, which is `size` bytes and the last of the node."""
    dimensions = b"".join(bytes_field(2, number_field(1, length)) for length in shape)
    head = number_field(1, FLOAT) + bytes_field(2, dimensions) + bytes_head(4, size)
    for field, before in (
        (8, b""),
        (2, bytes_field(1, b"value")),
        (5, bytes_field(1, name.encode()) + bytes_field(2, b"Const")),
        (1, b""),
    ):
        head = before + bytes_head(field, len(head) + size) + head
    return head
