"""Locks of files that other programs lock too, for a bounded time: a lost node may keep its locks on a network file system."""

import errno
import fcntl
import time
from typing import BinaryIO

LOOK_AGAIN_SECONDS = 0.1


def lock(file: BinaryIO, operation: int, seconds: float) -> None:
    """Lock an open file by flock, shared or exclusive. Raises TimeoutError, which is an OSError, after so many seconds."""
    until = time.monotonic() + seconds
    while True:
        try:
            fcntl.flock(file, operation | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= until:
                raise TimeoutError(errno.ETIMEDOUT, f"is locked by another pod for {seconds:g} s", file.name) from None
            time.sleep(LOOK_AGAIN_SECONDS)
        else:
            return
