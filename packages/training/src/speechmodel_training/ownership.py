"""One writer per lineage.

Fencing: the file `owner` names the SpeechModel (uid) and the attempt that may write. An attempt writes its name there when it starts and
reads it again before every rename and once a second; who finds somebody else's name there has been superseded and ends without writing.

The lock on the file `lock` is a second belt, for two processes of the same attempt and for the moment between reading and renaming. It
is waited for: a superseded process needs its time to notice and to save nothing.
"""

import fcntl
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import stop_requested

from speechmodel_training.errors import LineageBusy, Superseded

log = logging.getLogger(__name__)

LOCK_WAIT = 60.0
"""Seconds."""
_POLL = 0.2


class Owner(Document):
    """Who may write."""

    owner: str
    """uid of the SpeechModel; another one takes over whatever the attempt, since its predecessor was deleted."""
    attempt: int

    def __str__(self) -> str:
        return f"attempt {self.attempt}" + (f" of {self.owner}" if self.owner else "")


@dataclass(frozen=True)
class Ownership:
    """The right to write to a lineage's folder, until somebody newer takes it."""

    folder: Path
    owner: Owner

    def check(self) -> None:
        """Superseded when somebody newer has taken the folder over."""
        found = _read(self.folder / "owner")
        if found is None or found.owner != self.owner.owner or found.attempt > self.owner.attempt:
            raise Superseded(self.folder, self.owner.attempt, str(found or "somebody who removed the owner file"))

    def claim(self) -> None:
        """Write our name; Superseded when a newer attempt of the same owner is there."""
        path = self.folder / "owner"
        found = _read(path)
        if found and found.owner == self.owner.owner and found.attempt > self.owner.attempt:
            raise Superseded(self.folder, self.owner.attempt, str(found))
        if found != self.owner:
            replace_file(path, self.owner.model_dump_json(by_alias=True).encode() + b"\n")


@contextmanager
def owning(folder: Path, owner: Owner, lock_wait: float = LOCK_WAIT) -> Iterator[Ownership]:
    """Own `folder`, which is made when absent. Superseded, or LineageBusy after `lock_wait` seconds."""
    folder.mkdir(parents=True, exist_ok=True)
    ownership = Ownership(folder, owner)
    ownership.claim()  # first, so that a superseded process that still holds the lock sees it and goes
    with (folder / "lock").open("a") as lock:
        _wait_for(lock.fileno(), folder / "lock", lock_wait)
        ownership.claim()  # again: two that started together may both have written
        yield ownership


def _wait_for(lock: int, path: Path, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            return fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise LineageBusy(path, seconds) from None
        if stop_requested.wait(_POLL):
            raise Stopped(f"stopped while waiting for {path}; nothing was trained")


def _read(path: Path) -> Owner | None:
    try:
        return Owner.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged and counts as absent: %s", path, error)
        return None
