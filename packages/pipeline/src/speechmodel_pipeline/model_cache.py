"""A folder on a claim that server pods share. It holds the files of versions, each once, under its sha256.

    <sha256>             a file that is whole
    .<sha256>.partial    a download that is not whole yet; the next one continues it
    .<sha256>.unused     empty; its time is when a pod first found that no server uses the file
    .<sha256>.lock       locked by the pod that downloads the file; it contains the size of the whole file in bytes, as decimal digits
    .lock                locked for a moment by a pod that removes unused files

A server locks the files that it uses (flock, shared), so a file that can be locked exclusively is unused. Nothing in the
folder is trusted: a file is used after its digest was compared, and a damaged one is replaced.
"""

import errno
import fcntl
import hashlib
import logging
import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from speechmodel_stagekit.locks import lock

log = logging.getLogger(__name__)

FOLDER = "speechmodel-cache"
"""Name on the claim, which may hold other things too."""
KEPT_SECONDS = 7 * 24 * 3600
"""Time for which an unused file is kept, counted from when a pod first finds it unused."""
RESTART_SECONDS = 3600
"""Time for which it is kept when another file needs its room, because its server may just be restarting."""
MARGIN = 1 << 20
"""Bytes that are left free, so that files can still be marked as unused."""
MOMENT_SECONDS = 10
"""Longest wait for a lock that others hold for a moment."""
STALLED_SECONDS = 30
"""Longest wait for another pod whose download does not grow, as that of a lost node. The pod then downloads a copy of its
own."""
WAIT_SECONDS = 300
"""Longest wait for downloads that grow, of all files of a pod together. A Deployment reports no progress after 600 s."""

_DIGEST = re.compile(r"[0-9a-f]{64}")


class ModelCache:
    """The files on a claim. If the claim cannot be used, the log has a warning and the methods return None."""

    def __init__(self, claim: Path) -> None:
        """Use the claim that is mounted at `claim`."""
        self._folder = claim / FOLDER
        self._waits_until: float | None = None
        """When this pod waits no longer for the downloads of others. None before its first one."""

    def find(self, sha256: str) -> Path | None:
        """Return the file with this digest, if it is there and whole."""
        try:
            return self._find(sha256)
        except OSError as error:
            _warn(error)
            return None

    def obtain(self, sha256: str, size: int | None, download: Callable[[Path], object]) -> Path | None:
        """Return the file with this digest. `download` is called with its path, unless it is there and whole.

        `download` writes to `.NAME.partial` beside the path, and moves that file there once it has the digest. Pods that
        want the same file at the same time wait for the one that downloads it. Raises what `download` raises, except for OSError.
        """
        path = self._folder / sha256
        try:
            before = _inode(path)
            if found := self._find(sha256):
                return found
            self._folder.mkdir(exist_ok=True)
            with self._downloading(path) as mine:
                if (now := _inode(path)) is None or now == before:
                    self._make_room(path, size or 0, mine)
                    _download(path, download)
                    _mark(path).unlink(missing_ok=True)
                    return path
            return self._find(sha256)  # another pod has replaced it meanwhile
        except OSError as error:
            _warn(error)
            return None

    def _find(self, sha256: str) -> Path | None:
        path = self._folder / sha256
        try:
            with path.open("rb") as file:
                lock(file, fcntl.LOCK_SH, MOMENT_SECONDS)  # a pod may be removing it
                _mark(path).unlink(missing_ok=True)
                fcntl.flock(file, fcntl.LOCK_UN)
                changed = os.fstat(file.fileno()).st_ctime_ns
                whole = hashlib.file_digest(file, "sha256").hexdigest() == sha256
                whole = whole and os.fstat(file.fileno()).st_ctime_ns == changed
        except FileNotFoundError:
            return None
        if not whole:
            log.warning("%s is damaged, so it is downloaded again", path)
        return path if whole and path.exists() else None

    @contextmanager
    def _downloading(self, path: Path) -> Iterator[BinaryIO]:
        """Wait until no other pod downloads this file, and give the lock. That of a killed process is freed. Raises TimeoutError."""
        mine, self._waits_until = _lock_of(path), self._waits_until or time.monotonic() + WAIT_SECONDS
        while True:
            before = _size(_partial(path))
            with mine.open("ab") as file:
                try:
                    lock(file, fcntl.LOCK_EX, STALLED_SECONDS)
                except TimeoutError:
                    if _size(_partial(path)) <= before or time.monotonic() >= self._waits_until:
                        raise
                    log.info("waiting for another pod that downloads %s", path)
                    continue
                if _inode(mine) == os.fstat(file.fileno()).st_ino:  # else it was removed before it was locked
                    yield file
                    return

    def _make_room(self, wanted: Path, size: int, mine: BinaryIO) -> None:
        """Remove files that have been unused for long, and while `size` bytes are not free the other unused ones. Bytes that other
        downloads still need are not free. `mine` is the lock of this one, from which others read its size.

        Raises TimeoutError, and OSError (ENOSPC) when that is not enough.
        """
        with (self._folder / ".lock").open("ab") as file:
            lock(file, fcntl.LOCK_EX, MOMENT_SECONDS)
            self._remove_unused(wanted, size)
            mine.truncate(0)
            mine.write(str(size).encode())
            mine.flush()
            os.fsync(mine.fileno())  # on NFS, other nodes may not see it before; within one machine no test can tell

    def _remove_unused(self, wanted: Path, size: int) -> None:
        needed = size - _size(_partial(wanted)) + MARGIN + self._claimed(_lock_of(wanted))
        unused = []
        for path in self._folder.iterdir():
            if path in (wanted, _partial(wanted)):
                continue
            with _passed_over(path):
                if (seconds := _seconds_unused(path)) is not None:
                    unused.append((seconds, path))
        for seconds, path in sorted(unused, reverse=True):
            if seconds >= KEPT_SECONDS or (seconds >= RESTART_SECONDS and self._free() < needed):
                with _passed_over(path):
                    _remove(path)
        if (free := self._free()) < needed:
            problem = f"{needed} bytes are needed and {free} are free; enlarge the claim"
            raise OSError(errno.ENOSPC, problem, str(self._folder))

    def _claimed(self, mine: Path) -> int:
        """Return the bytes that the downloads of other pods still need."""
        claimed = 0
        for path in self._folder.glob(".*.lock"):
            with _passed_over(path):
                if path != mine and (size := _size_of_download(path)) is not None:
                    claimed += max(0, size - _size(_partial(path.with_name(path.name[1:].removesuffix(".lock")))))
        return claimed

    def _free(self) -> int:
        return shutil.disk_usage(self._folder).free


@contextmanager
def _passed_over(path: Path) -> Iterator[None]:
    """Log an error about a file that another pod or person has put there, so that it keeps nobody from the cache."""
    try:
        yield
    except OSError as error:
        log.warning("%s is left as it is: %s", path, error)


def _download(path: Path, download: Callable[[Path], object]) -> None:
    try:
        download(path)
    except OSError:
        _partial(path).unlink(missing_ok=True)  # it takes room on a claim that may be full
        raise


def _size_of_download(path: Path) -> int | None:
    """Return the size of the file that a pod downloads, from its lock. None for one that nobody holds, or that says no size."""
    with path.open("r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            size = file.read(20)
            return int(size) if size.isdigit() else None
    return None


def _seconds_unused(path: Path) -> float | None:
    """Return the time for which a file has been unused, which may begin now. None for one that is used, and for locks and
    marks. A download counts from its last byte.
    """
    if path == _partial(_whole(path)) and _DIGEST.fullmatch(_whole(path).name):
        return time.time() - path.stat().st_mtime
    if not _DIGEST.fullmatch(path.name):
        return None
    mark = _mark(path)
    with path.open("r+b") as file:  # on NFS, an exclusive lock needs a file that is open for writing
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            mark.unlink(missing_ok=True)
            return None
        if not mark.exists():
            mark.touch()
        return time.time() - mark.stat().st_mtime


def _remove(path: Path) -> None:
    """Remove a file, unless a pod has begun to use or to download it."""
    whole = _whole(path)
    mark, downloading = _mark(whole), _lock_of(whole)
    with path.open("r+b") as file, downloading.open("ab") as download:
        try:
            for each in (file, download):
                fcntl.flock(each, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return
        if path != whole or mark.exists():
            path.unlink()
            if path == whole:
                mark.unlink(missing_ok=True)
            log.info("removed %s, which no server uses", path)
        downloading.unlink(missing_ok=True)


def _warn(error: OSError) -> None:
    log.warning("the claim of serving.cache cannot be used, so this pod has a copy of its own: %s", error)


def _mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.unused")


def _whole(path: Path) -> Path:
    """Return the path of a file when it is whole, from that or from the path of its download."""
    name = path.name
    return path.with_name(name[1:].removesuffix(".partial")) if re.fullmatch(r"\..+\.partial", name) else path


def _lock_of(path: Path) -> Path:
    return path.with_name(f".{path.name}.lock")


def _partial(path: Path) -> Path:
    return path.with_name(f".{path.name}.partial")


def _inode(path: Path) -> int | None:
    return path.stat().st_ino if path.exists() else None


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
