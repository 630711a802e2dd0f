"""Recordings that the server keeps, each with a document beside it that describes it."""

import errno
import re
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from secrets import token_hex
from typing import Protocol

from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime import Pcm
from speechmodel_stagekit.durable import replace_file

from speechmodel_inference.raw_audio import as_pcm_wav

ID_PATTERN = r"^[0-9]{8}-[0-9]{6}-[0-9a-f]{6}$"
LEAST_FREE_BYTES = 100 * 2**20
"""Space that recordings leave on the claim, for the stages that write there."""
CLAIMED = ".claimed"
"""Ending of the mark of a recording that one caller has reserved."""
CLAIM_SECONDS = 60.0
"""Age after which the server of a claim must have ended. A claim lasts while one recording is copied."""
_TIME = "%Y%m%d-%H%M%S"


def new_id(time: datetime) -> str:
    """Return the id of a recording: its time, so that files are in the order of recording, and some digits that
    differ between servers.
    """
    return f"{time.astimezone(UTC).strftime(_TIME)}-{token_hex(3)}"


def wav_of(pcm: Pcm) -> bytes:
    """Return samples at 16 kHz as a wav file."""
    return as_pcm_wav(pcm.astype("<i2").tobytes(), SAMPLE_RATE).read()


def time_of(identity: str) -> datetime:
    """Return the time in an id."""
    return datetime.strptime(identity.rpartition("-")[0], _TIME).replace(tzinfo=UTC)


def is_id(text: str) -> bool:
    """Return True for an id as new_id() makes it."""
    try:
        time_of(text)
    except ValueError:
        return False
    return re.fullmatch(ID_PATTERN, text) is not None


def is_old(claimed_at: float) -> bool:
    """Return True for a claim of this time, in seconds since 1970, whose server must have ended."""
    return time.time() - claimed_at > CLAIM_SECONDS


class SoundStore(Protocol):
    """Recordings with their documents. A recording exists once its document does. Several servers may share them.

    Names have no ending, such as `takes/ana/20260101-120000-0a1b2c`. Methods raise OSError.
    """

    def add(self, name: str, wav: bytes, document: str) -> None:
        """Keep a recording. Raises FileExistsError when there is one of this name."""

    def names(self, pattern: str) -> list[str]:
        """Return the names that match a pattern such as `takes/*/*`, in their order."""

    def sizes(self, pattern: str) -> dict[str, int]:
        """Return the bytes of recordings by name, in the order of the names, also of those whose document is missing."""

    def count_after(self, pattern: str, time: datetime) -> int:
        """Return the number of recordings that match and were added after a time. A recording that was confirmed later
        has an older time in its name.
        """

    def document(self, name: str) -> bytes | None:
        """Return the document of a recording. None when there is none."""

    def documents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield names and documents, without those that were just deleted."""

    def sound(self, name: str) -> bytes | None:
        """Return a recording as a wav file. None when there is none."""

    def claim(self, name: str) -> bool:
        """Reserve a recording for one of several callers, until release() or remove(). Return False when there is none,
        or another caller has it.
        """

    def release(self, name: str) -> None:
        """End a claim. The recording stays."""

    def release_old(self, pattern: str) -> None:
        """End the claims of recordings that match which are older than CLAIM_SECONDS. Newer ones stay."""

    def remove(self, name: str) -> bool:
        """Delete a recording, claimed or not. Return False when there is none."""

    def remove_folder(self, name: str) -> None:
        """Delete everything in a folder."""


class FolderStore(SoundStore):
    """Recordings in the folder of a dataset."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, name: str, wav: bytes, document: str) -> None:
        """Keep a recording."""
        sound = self._folder / f"{name}.wav"
        described = sound.with_suffix(".json")
        sound.parent.mkdir(parents=True, exist_ok=True)
        if (free := shutil.disk_usage(sound.parent).free) < LEAST_FREE_BYTES:
            raise OSError(errno.ENOSPC, f"only {free // 2**20} MiB are free; delete takes or enlarge the claim")
        if described.exists():
            raise FileExistsError(errno.EEXIST, f"{name} exists")
        try:
            replace_file(sound, wav)
            replace_file(described, document)
        except OSError:
            sound.unlink(missing_ok=True)
            raise

    def names(self, pattern: str) -> list[str]:
        """Return the names that match."""
        return self._found(f"{pattern}.json")

    def sizes(self, pattern: str) -> dict[str, int]:
        """Return the bytes of recordings."""
        sizes = {}
        for name in self._found(f"{pattern}.wav"):
            with suppress(FileNotFoundError):  # it was just deleted
                sizes[name] = (self._folder / f"{name}.wav").stat().st_size
        return sizes

    def count_after(self, pattern: str, time: datetime) -> int:
        """Return the number of recordings that were added after a time."""
        count = 0
        for path in self._folder.glob(f"{pattern}.json"):
            with suppress(FileNotFoundError):  # it was just deleted
                count += path.stat().st_mtime > time.timestamp()
        return count

    def document(self, name: str) -> bytes | None:
        """Return the document of a recording."""
        return self._read(f"{name}.json")

    def documents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield names and documents."""
        for name in names:
            if (document := self.document(name)) is not None:
                yield name, document

    def sound(self, name: str) -> bytes | None:
        """Return a recording as a wav file."""
        return self._read(f"{name}.wav")

    def claim(self, name: str) -> bool:
        """Reserve a recording: rename its document, which one caller alone can do. The new name has the time of the
        claim, so that nobody who ends an old claim ends the next one instead.
        """
        return self._renamed(f"{name}.json", f"{name}.{int(time.time())}{CLAIMED}")

    def release(self, name: str) -> None:
        """End a claim."""
        for claim in self._claims(name):
            self._renamed(claim, f"{name}.json")

    def release_old(self, pattern: str) -> None:
        """End old claims."""
        for claim in self._claims(pattern):
            name, claimed_at, _ = claim.rsplit(".", 2)
            if is_old(float(claimed_at)):
                self._renamed(claim, f"{name}.json")

    def remove(self, name: str) -> bool:
        """Delete a recording."""
        found = [self._removed(each) for each in (f"{name}.json", *self._claims(name))]
        self._removed(f"{name}.wav")
        return any(found)

    def remove_folder(self, name: str) -> None:
        """Delete everything in a folder."""
        if (folder := self._folder / name).is_dir():
            shutil.rmtree(folder)

    def _claims(self, pattern: str) -> list[str]:
        paths = self._folder.glob(f"{pattern}.{'[0-9]' * 10}{CLAIMED}")
        return [path.relative_to(self._folder).as_posix() for path in paths]

    def _renamed(self, old: str, new: str) -> bool:
        try:
            (self._folder / old).rename(self._folder / new)
        except FileNotFoundError:
            return False
        return True

    def _removed(self, name: str) -> bool:
        try:
            (self._folder / name).unlink()
        except FileNotFoundError:
            return False
        return True

    def _found(self, pattern: str) -> list[str]:
        paths = self._folder.glob(pattern)
        return sorted(path.relative_to(self._folder).with_suffix("").as_posix() for path in paths)

    def _read(self, name: str) -> bytes | None:
        try:
            return (self._folder / name).read_bytes()
        except FileNotFoundError:
            return None
