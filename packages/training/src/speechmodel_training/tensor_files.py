"""Files of tensors in TensorFlow's format: `<prefix>.index` and `<prefix>.data-00000-of-00001`."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf
from speechmodel_stagekit.durable import sync_folder

from speechmodel_training.errors import CheckpointMismatch
from speechmodel_training.learner import Tensors

_FLUSH_SECONDS = 0.05


class UnreadableCheckpoint(Exception):
    """A checkpoint is damaged. The message names the file."""


@contextmanager
def flushed_early(folder: Path) -> Iterator[None]:
    """Let the kernel write the files of a folder to the disk while they grow. They are not durable before sync_folder.

    Raises OSError for an error of the disk.
    """
    ended, failed = threading.Event(), list[OSError]()

    def flush() -> None:
        while not ended.wait(_FLUSH_SECONDS):
            try:
                sync_folder(folder)
            except FileNotFoundError:
                continue  # TensorFlow renames its files
            except OSError as error:  # the kernel reports it once, so the sync_folder at the end would succeed
                failed.append(error)
                return

    thread = threading.Thread(target=flush, name="flush", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
    if failed:
        raise failed[0]


def write_tensors(prefix: Path, tensors: Tensors) -> None:
    """Write the files `<prefix>.index` and `<prefix>.data-00000-of-00001`."""
    names = sorted(tensors)
    with tf.device("CPU:0"):
        tf.raw_ops.SaveV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            tensors=[tf.convert_to_tensor(tensors[name]) for name in names],
        )


def read_tensors(prefix: Path, shapes: dict[str, tuple[int, ...]]) -> Tensors:
    """Return the tensors of these names, in memory of TensorFlow, which keeps what a training has left.

    Raises UnreadableCheckpoint when one is missing or damaged, CheckpointMismatch when one has
    another shape.
    """
    reader, found = variables(prefix)
    if missing := sorted(set(shapes) - set(found)):
        raise UnreadableCheckpoint(f"{prefix} lacks {', '.join(missing)}")
    differences = [
        f"{name} has the shape {found[name]} instead of {list(shape)}"
        for name, shape in shapes.items()
        if list(shape) != found[name]
    ]
    if differences:
        raise CheckpointMismatch(prefix, differences)
    types = reader.get_variable_to_dtype_map()
    with damage_named(prefix), tf.device("CPU:0"):
        names = list(shapes)
        restored = tf.raw_ops.RestoreV2(
            prefix=str(prefix),
            tensor_names=names,
            shape_and_slices=[""] * len(names),
            dtypes=[types[name] for name in names],
        )
        return {name: np.asarray(tensor) for name, tensor in zip(names, restored, strict=True)}


def variables(prefix: Path) -> tuple[Any, dict[str, list[int]]]:
    """Return a checkpoint's reader, and the shapes of its variables by name. Raises UnreadableCheckpoint."""
    with damage_named(prefix):
        reader = tf.train.load_checkpoint(str(prefix))
        return reader, reader.get_variable_to_shape_map()


@contextmanager
def damage_named(prefix: Path) -> Iterator[None]:
    """Turn errors of TensorFlow's reader into UnreadableCheckpoint."""
    try:
        yield
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:  # the reader raises all of them
        raise UnreadableCheckpoint(f"{prefix} is damaged: {error}") from error


def truncate_files(folder: Path) -> None:
    """Drop what the kernel has not yet written of the files of a folder."""
    for path in list(folder.iterdir()):
        with suppress(OSError):  # TensorFlow renames its files
            os.truncate(path, 0)
