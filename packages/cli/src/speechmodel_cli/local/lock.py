"""Locks for folders that one process uses at a time."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from speechmodel_cli.local.errors import StateBusy

POLL_SECONDS = 0.1


@contextmanager
def owned(path: Path, what: str, *, wait_seconds: float = 0) -> Iterator[None]:
    """Hold the lock file at `path`. The kernel releases it when this process ends, however it ends.

    Raises StateBusy when another process still holds it after `wait_seconds`. The message calls the locked
    folder `what` and names that process.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(
        path,
        timeout=wait_seconds,
        poll_interval=POLL_SECONDS,
        thread_local=False,
        preserve_lock_file=True,
        on_acquired=_write_holder,
    )
    try:
        lock.acquire()
    except Timeout as error:
        holder = path.read_text(encoding="ascii", errors="replace").strip() or "unknown"
        advice = f"wait until it has ended, or end it with `kill {holder}`"
        raise StateBusy(f"process {holder} is using {what} ({path.parent}); {advice}") from error
    try:
        yield
    finally:
        lock.release()


def _write_holder(descriptor: int) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
