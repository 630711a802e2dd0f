"""Files of the state: replaced whole or not at all, and owned by one process at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from speechmodel_cli.local.errors import StateBusy


def replace_file(path: Path, text: str) -> None:
    """Write `text` to `path`: whoever reads it sees the old file or the new one, also after a crash."""
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextmanager
def owned(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file at `path`; the kernel gives it back when this process ends, however it ends.

    Raises StateBusy, which calls the locked thing `what` and names the process that holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(descriptor, 32, 0).decode(errors="replace").strip() or "unknown"
            advice = f"wait until it is done, or end it with `kill {holder}`"
            raise StateBusy(f"process {holder} works on {what} ({path.parent}): {advice}") from error
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
