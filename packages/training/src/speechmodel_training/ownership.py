"""One writer per lineage.

Fencing: the file `owner` names the SpeechModel (uid) and the attempt that may write. An attempt
writes its name there when it starts, and reads it again before every rename and once a second. An
attempt that finds another name there is superseded and ends without writing.

The lock on the file `lock` is a second protection, for two processes of the same attempt and for
the moment between reading and renaming. A new attempt waits for it, since a superseded process
needs time to notice. The kernel frees it when its process ends.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from filelock import FileLock, Timeout
from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import stop_requested

from speechmodel_training.errors import LineageBusy, Superseded

log = logging.getLogger(__name__)

LOCK_WAIT = 60.0
"""Seconds to wait for the lock."""
_POLL = 0.2
"""Seconds between two attempts to lock."""


class Owner(Document):
    """The SpeechModel and the attempt that may write."""

    owner: str
    """uid of the SpeechModel. Another uid takes over regardless of the attempt, since its
    predecessor was deleted."""
    attempt: int

    def __str__(self) -> str:
        return f"attempt {self.attempt}" + (f" of {self.owner}" if self.owner else "")


@dataclass(frozen=True)
class Ownership:
    """The right to write to a lineage's folder, until a newer attempt takes it."""

    folder: Path
    owner: Owner

    def check(self) -> None:
        """Raise Superseded when the folder has another owner."""
        found = _read(self.folder / "owner")
        if found is None or found.owner != self.owner.owner or found.attempt > self.owner.attempt:
            raise Superseded(self.folder, self.owner.attempt, str(found or "a process that removed the owner file"))

    def claim(self) -> None:
        """Write our name.

        Raises Superseded when the folder belongs to a newer attempt of the same owner.
        """
        path = self.folder / "owner"
        found = _read(path)
        if found and found.owner == self.owner.owner and found.attempt > self.owner.attempt:
            raise Superseded(self.folder, self.owner.attempt, str(found))
        if found != self.owner:
            replace_file(path, self.owner.model_dump_json(by_alias=True) + "\n")


@contextmanager
def owning(folder: Path, owner: Owner, lock_wait: float = LOCK_WAIT) -> Iterator[Ownership]:
    """Own `folder`, which is made when absent.

    Raises Superseded, LineageBusy after `lock_wait` seconds, or Stopped.
    """
    folder.mkdir(parents=True, exist_ok=True)
    ownership = Ownership(folder, owner)
    ownership.claim()  # first, so that a superseded process with the lock sees it and ends
    with _locked(folder / "lock", lock_wait):
        ownership.claim()  # again, since two that started together may both have written
        yield ownership


@contextmanager
def _locked(path: Path, seconds: float) -> Iterator[None]:
    # a soft lock, filelock's replacement where flock is missing, would outlive a killed process
    lock = FileLock(path, poll_interval=_POLL, fallback_to_soft=False)
    try:
        lock.acquire(seconds, cancel_check=stop_requested.is_set)
    except Timeout:
        if stop_requested.is_set():
            raise Stopped(f"stopped while waiting for {path}; nothing was trained") from None
        raise LineageBusy(path, seconds) from None
    try:
        yield
    finally:
        lock.release()


def _read(path: Path) -> Owner | None:
    try:
        return Owner.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged and counts as absent: %s", path, error)
        return None
