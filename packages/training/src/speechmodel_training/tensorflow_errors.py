"""Errors of TensorFlow that mean what an OSError or a MemoryError of Python does."""

import re
from collections.abc import Iterator
from contextlib import contextmanager

import tensorflow as tf
from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadConfiguration, TryAgain
from speechmodel_stagekit.program import permission_denied, storage_full

_OUT_OF_MEMORY = "OOM when allocating"
"""Start of TensorFlow's message about memory. The others of the same error are about a volume."""
_QUOTED = 300
_INTERNALS = re.compile(
    r"\{\{function_node .*?\}\}|\[\[\{\{node .*?\}\}\]\]|\[Op:.*?\]"
    r"|The error could be from a previous operation\. Restart your program to reset\."
)
"""Parts of a message that are for a programmer, or advise what the stage does anyway."""


@contextmanager
def tensorflow_errors() -> Iterator[None]:
    """Turn errors of resources into those of a stage.

    Raises TryAgain (StorageFull) for a full volume, and BadConfiguration for memory of the device (OutOfMemory) and
    for a file that may not be read or written (PermissionDenied).
    """
    try:
        yield
    except tf.errors.ResourceExhaustedError as error:
        if _OUT_OF_MEMORY in error.message:
            problem = f"the device has too little memory ({quoted(error)})"
            raise BadConfiguration(
                Reason.OUT_OF_MEMORY,
                f"{problem}; lower hyperparameters.batchSize or hiddenUnits, or use a larger device",
            ) from error
        raise TryAgain(Reason.STORAGE_FULL, storage_full(quoted(error))) from error
    except tf.errors.PermissionDeniedError as error:
        raise BadConfiguration(Reason.PERMISSION_DENIED, permission_denied(quoted(error))) from error


def quoted(error: tf.errors.OpError) -> str:
    """Return the beginning of TensorFlow's message in one line, without the names of its operations."""
    return " ".join(_INTERNALS.sub(" ", error.message).split())[:_QUOTED]
