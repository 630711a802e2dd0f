"""SIGTERM before a stage program is ready for it."""

import os
import signal
from types import FrameType


def end_on_sigterm() -> None:
    """Make SIGTERM end the process with 143 until `run_stage` takes over; called before anything slow is imported.

    A container's first process ignores a signal that it has no handler for: a pod that is deleted while TensorFlow is imported
    would train on until it is killed. Any other process ends by itself.
    """
    if os.getpid() == 1:
        signal.signal(signal.SIGTERM, _leave)


def _leave(number: int, frame: FrameType | None) -> None:
    del frame
    os._exit(128 + number)
