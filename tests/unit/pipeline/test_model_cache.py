"""Server pods share the files of versions on a claim. A cache that cannot be used costs only a download."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event
from typing import BinaryIO, NamedTuple

import pytest
from speechmodel_pipeline import model_cache
from speechmodel_pipeline.model_cache import KEPT_SECONDS, MARGIN, RESTART_SECONDS, ModelCache
from speechmodel_stagekit.locks import lock

CONTENT = b"a model" * 1000
DIGEST = hashlib.sha256(CONTENT).hexdigest()
OTHER = hashlib.sha256(b"another").hexdigest()


class Origin:
    """Where a file is downloaded from."""

    def __init__(self, content: bytes = CONTENT) -> None:
        self.content = content
        self.downloads = 0

    def __call__(self, path: Path) -> None:
        self.downloads += 1
        time.sleep(0.05)  # others come meanwhile
        partial = path.with_name(f".{path.name}.partial")
        partial.write_bytes(self.content)
        partial.replace(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "speechmodel-cache"


@pytest.fixture
def cache(tmp_path: Path) -> ModelCache:
    return ModelCache(tmp_path)


def have(cache: ModelCache, content: bytes) -> Path:
    """Return a file of the cache with this content."""
    path = cache.obtain(hashlib.sha256(content).hexdigest(), len(content), Origin(content))
    assert path is not None
    return path


def unused_for(path: Path, seconds: float) -> Path:
    """Let a file of the cache be unused for so long, as an earlier pod found it."""
    mark = path.with_name(f".{path.name}.unused")
    mark.touch()
    os.utime(mark, (time.time() - seconds,) * 2)
    return mark


def free(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the claim have so many bytes free, which removals do not change."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(1 << 30, (1 << 30) - size, size))


class Usage(NamedTuple):
    """As shutil.disk_usage returns."""

    total: int
    used: int
    free: int


def test_a_file_is_downloaded_once(cache: ModelCache, folder: Path) -> None:
    origin = Origin()
    assert cache.find(DIGEST) is None
    for _ in range(2):
        assert cache.obtain(DIGEST, len(CONTENT), origin) == folder / DIGEST
    assert cache.find(DIGEST) == folder / DIGEST
    assert origin.downloads == 1
    assert {path.name for path in folder.iterdir()} == {DIGEST, f".{DIGEST}.lock", ".lock"}


def test_pods_that_want_it_at_the_same_time_download_it_once(tmp_path: Path, folder: Path) -> None:
    origin = Origin()

    def pod(_: int) -> Path | None:
        return ModelCache(tmp_path).obtain(DIGEST, len(CONTENT), origin)

    with ThreadPoolExecutor(8) as pods:
        assert set(pods.map(pod, range(8))) == {folder / DIGEST}
    assert origin.downloads == 1


@pytest.mark.parametrize("damaged", [b"b model" * 1000, CONTENT[:-1], b""])
def test_a_damaged_file_is_replaced(cache: ModelCache, damaged: bytes, caplog: pytest.LogCaptureFixture) -> None:
    path = have(cache, CONTENT)
    path.write_bytes(damaged)
    assert cache.find(DIGEST) is None
    assert cache.obtain(DIGEST, len(CONTENT), Origin()) == path
    assert path.read_bytes() == CONTENT
    assert f"{path} is damaged" in caplog.text


def test_files_that_no_server_uses_are_removed_after_a_week(cache: ModelCache, folder: Path) -> None:
    old, recent = have(cache, b"old"), have(cache, b"recent")
    mark = unused_for(old, KEPT_SECONDS + 60)
    unused_for(recent, KEPT_SECONDS - 60)
    have(cache, CONTENT)
    assert (old.exists(), mark.exists(), recent.exists()) == (False, False, True)


def test_the_time_begins_when_a_pod_first_finds_a_file_unused(cache: ModelCache) -> None:
    path = have(cache, b"served for a year")
    os.utime(path, (time.time() - 365 * 24 * 3600,) * 2)
    have(cache, CONTENT)
    assert path.exists()
    assert time.time() - path.with_name(f".{path.name}.unused").stat().st_mtime < KEPT_SECONDS


def test_what_a_server_has_locked_stays_even_on_a_full_claim(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = have(cache, b"served")
    with served.open("rb") as server:
        fcntl.flock(server, fcntl.LOCK_SH)
        mark = unused_for(served, KEPT_SECONDS + 60)
        free(0, monkeypatch)
        assert cache.obtain(DIGEST, len(CONTENT), Origin()) is None
        assert served.exists() and not mark.exists()
    unused_for(served, KEPT_SECONDS + 60)
    cache.obtain(DIGEST, len(CONTENT), Origin())
    assert not served.exists()


def test_a_file_that_is_used_again_begins_a_new_week(cache: ModelCache) -> None:
    path = have(cache, b"pinned again")
    mark = unused_for(path, KEPT_SECONDS + 60)
    cache.find(path.name)
    assert not mark.exists()
    have(cache, CONTENT)
    assert path.exists()


def test_when_room_is_needed_the_longest_unused_files_go_first(
    cache: ModelCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, restarting = (have(cache, content) for content in (b"first", b"second", b"restarting"))
    unused_for(first, RESTART_SECONDS + 120)
    unused_for(second, RESTART_SECONDS + 60)
    unused_for(restarting, RESTART_SECONDS - 60)
    monkeypatch.setattr(
        shutil, "disk_usage", lambda _: Usage(1 << 30, 0, 0 if first.exists() else len(CONTENT) + MARGIN)
    )
    assert cache.obtain(DIGEST, len(CONTENT), Origin()) is not None
    assert [path.exists() for path in (first, second, restarting)] == [False, True, True]
    free(0, monkeypatch)
    assert cache.obtain(OTHER, 7, Origin(b"another")) is None
    assert [path.exists() for path in (second, restarting)] == [False, True]


def test_a_download_that_was_given_up_is_removed(cache: ModelCache, folder: Path) -> None:
    have(cache, b"any")
    partial, recent = folder / f".{OTHER}.partial", folder / f".{DIGEST[::-1]}.partial"
    for path in (partial, recent):
        path.write_bytes(b"half")
    os.utime(partial, (time.time() - KEPT_SECONDS - 60,) * 2)
    have(cache, CONTENT)
    assert (partial.exists(), recent.exists()) == (False, True)


def test_a_full_claim_is_found_before_the_download(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    needed = len(CONTENT) + MARGIN
    free(needed - 1, monkeypatch)
    origin = Origin()
    assert cache.obtain(DIGEST, len(CONTENT), origin) is None
    assert origin.downloads == 0
    assert "serving.cache cannot be used, so this pod has a copy of its own" in caplog.text
    assert f"{needed} bytes are needed and {needed - 1} are free; enlarge the claim" in caplog.text
    (folder / f".{DIGEST}.partial").write_bytes(CONTENT[:1])  # so one byte less is needed
    assert cache.obtain(DIGEST, len(CONTENT), origin) is not None


def test_a_claim_that_becomes_full_keeps_nothing_of_the_download(
    cache: ModelCache, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    def download(path: Path) -> None:
        path.with_name(f".{path.name}.partial").write_bytes(CONTENT[:10])
        raise OSError(errno.ENOSPC, "No space left on device")

    assert cache.obtain(DIGEST, len(CONTENT), download) is None
    assert "No space left on device" in caplog.text
    assert {path.name for path in folder.iterdir()} == {f".{DIGEST}.lock", ".lock"}


def test_an_interrupted_download_stays_for_the_next_pod(cache: ModelCache, folder: Path) -> None:
    def download(path: Path) -> None:
        path.with_name(f".{path.name}.partial").write_bytes(CONTENT[:10])
        raise ConnectionAbortedByS3

    with pytest.raises(ConnectionAbortedByS3):
        cache.obtain(DIGEST, len(CONTENT), download)
    assert {path.name for path in folder.iterdir()} == {".lock", f".{DIGEST}.lock", f".{DIGEST}.partial"}
    assert cache.obtain(DIGEST, len(CONTENT), Origin()) is not None  # its lock is free


class ConnectionAbortedByS3(Exception):
    """Any error of boto3."""


def without_locks(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)


def not_a_folder(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    (claim / "speechmodel-cache").write_bytes(b"")


def not_mounted(claim: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    shutil.rmtree(claim)


@pytest.mark.parametrize("broken", [without_locks, not_a_folder, not_mounted])
def test_a_claim_that_cannot_be_used_is_a_warning(
    broken: Callable[[Path, pytest.MonkeyPatch], None],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    claim = tmp_path / "claim"
    claim.mkdir()
    broken(claim, monkeypatch)
    assert ModelCache(claim).obtain(DIGEST, len(CONTENT), Origin()) is None
    assert "serving.cache cannot be used" in caplog.text


def test_a_pod_that_would_wait_too_long_has_a_copy_of_its_own(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for limit in ("MOMENT_SECONDS", "STALLED_SECONDS"):
        monkeypatch.setattr(model_cache, limit, 0)
    folder.mkdir()
    for name in (".lock", f".{DIGEST}.lock"):
        with (folder / name).open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            assert cache.obtain(DIGEST, len(CONTENT), Origin()) is None
        assert f"is locked by another pod for 0 s: '{folder / name}'" in caplog.text
    assert cache.obtain(DIGEST, len(CONTENT), Origin()) is not None


@pytest.mark.parametrize(("most", "obtained"), [(1000, True), (0, False)])
def test_a_pod_waits_for_a_download_while_it_grows_but_not_for_ever(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch, most: float, obtained: bool
) -> None:
    monkeypatch.setattr(model_cache, "WAIT_SECONDS", most)
    folder.mkdir()
    partial = folder / f".{DIGEST}.partial"
    waits: list[float] = []

    def grows(file: BinaryIO, operation: int, seconds: float) -> None:
        if len(waits) == 5 or seconds != model_cache.STALLED_SECONDS:
            return lock(file, operation, seconds)
        waits.append(seconds)
        with partial.open("ab") as download:
            download.write(b"more")
        raise TimeoutError(errno.ETIMEDOUT, "is locked by another pod", file.name)

    monkeypatch.setattr(model_cache, "lock", grows)
    assert (cache.obtain(DIGEST, len(CONTENT), Origin()) is not None) == obtained
    assert len(waits) == (5 if obtained else 1)


def test_a_pod_does_not_wait_for_the_download_of_another_file(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(model_cache, "MOMENT_SECONDS", 0)
    monkeypatch.setattr(model_cache, "STALLED_SECONDS", 0)
    begun, ended = Event(), Event()

    def slowly(path: Path) -> None:
        begun.set()
        ended.wait()
        Origin(b"another")(path)

    with ThreadPoolExecutor(1) as pods:
        other = pods.submit(cache.obtain, OTHER, 7, slowly)
        begun.wait()
        try:
            assert cache.obtain(DIGEST, len(CONTENT), Origin()) == folder / DIGEST
        finally:
            ended.set()
        assert other.result() == folder / OTHER


def test_the_room_that_another_download_still_needs_is_not_free(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, ended = Event(), Event()
    free(len(CONTENT) + MARGIN + 7, monkeypatch)

    def slowly(path: Path) -> None:
        path.with_name(f".{path.name}.partial").write_bytes(b"ano")
        begun.set()
        ended.wait()
        Origin(b"another")(path)

    with ThreadPoolExecutor(1) as pods:
        other = pods.submit(cache.obtain, OTHER, 7, slowly)
        begun.wait()
        free(len(CONTENT) + MARGIN + 3, monkeypatch)  # 4 bytes of the other one are missing
        try:
            assert cache.obtain(DIGEST, len(CONTENT), Origin()) is None
            free(len(CONTENT) + MARGIN + 4, monkeypatch)
            assert cache.obtain(DIGEST, len(CONTENT), Origin()) == folder / DIGEST
        finally:
            ended.set()
        assert other.result() == folder / OTHER
    free(len(CONTENT) + MARGIN, monkeypatch)
    (folder / DIGEST).unlink()
    assert cache.obtain(DIGEST, len(CONTENT), Origin()) is not None, "a download that has ended needs no room"


def test_a_download_that_is_under_way_is_not_removed(cache: ModelCache, folder: Path) -> None:
    have(cache, b"any")
    partial = folder / f".{OTHER}.partial"
    partial.write_bytes(b"half")
    os.utime(partial, (time.time() - KEPT_SECONDS - 60,) * 2)
    with (folder / f".{OTHER}.lock").open("ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        have(cache, CONTENT)
        assert partial.exists()
    have(cache, b"later")
    assert {path.name for path in folder.iterdir() if OTHER in path.name} == set()


def test_a_lock_that_was_removed_meanwhile_does_not_count(
    cache: ModelCache, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another pod locks the file that is there now, so both would download."""
    mine = folder / f".{DIGEST}.lock"

    def removed(file: BinaryIO, operation: int, seconds: float) -> None:
        lock(file, operation, seconds)
        if file.name == str(mine):
            monkeypatch.setattr(model_cache, "lock", lock)
            mine.unlink()

    monkeypatch.setattr(model_cache, "lock", removed)

    def download(path: Path) -> None:
        with mine.open("ab") as file, pytest.raises(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        Origin()(path)

    assert cache.obtain(DIGEST, len(CONTENT), download) == folder / DIGEST


def test_a_file_that_somebody_else_has_put_there_keeps_nobody_from_the_cache(cache: ModelCache, folder: Path) -> None:
    (folder / OTHER).mkdir(parents=True)
    assert have(cache, CONTENT) == folder / DIGEST
    assert (folder / OTHER).is_dir()
