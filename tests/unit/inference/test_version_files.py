"""The server compares the digests of files that fetch did not compare in the same pod, and locks every file."""

import fcntl
import hashlib
import os
import shutil
import time
from io import BufferedReader
from pathlib import Path

import pytest
from speechmodel_api.published import VersionManifest
from speechmodel_api.workspace import MODEL, VERIFIED, VERSION
from speechmodel_inference.errors import ModelFolderError
from speechmodel_inference.version_files import VersionFiles
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_stagekit.verified import VerifiedFile, record_verified
from support.places import FIXTURES
from support.servers import VersionFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder as fetch leaves it, with the record of what it verified."""
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    made = VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm").path
    record(made)
    return made


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose content was compared."""
    names: list[str] = []
    file_digest = hashlib.file_digest

    def compare(file: BufferedReader, digest: str) -> object:
        names.append(Path(file.name).name)
        return file_digest(file, digest)

    monkeypatch.setattr(hashlib, "file_digest", compare)
    return names


def record(folder: Path) -> None:
    files = VersionManifest.model_validate_json((folder / VERSION).read_bytes()).files
    record_verified(folder, {file.name: VerifiedFile.of((folder / file.name).stat(), file.sha256) for file in files})


def test_what_fetch_verified_is_not_read_again(folder: Path, read: list[str]) -> None:
    VersionFiles(folder).opened().verify()
    assert read == []


@pytest.mark.parametrize("damaged_record", [None, "{", '{"files": {"output_graph.pbmm": {}}}', '{"files": {}}'])
def test_without_a_record_everything_is_read(folder: Path, read: list[str], damaged_record: str | None) -> None:
    (folder / VERIFIED).unlink()
    if damaged_record is not None:
        (folder / VERIFIED).write_text(damaged_record)
    VersionFiles(folder).opened().verify()
    assert set(read) == {"output_graph.pbmm", "selftest.wav"}


def test_a_file_that_was_written_since_is_read_again_even_if_its_times_were_set_back(folder: Path) -> None:
    path = folder / MODEL
    before = path.stat()
    time.sleep(0.05)  # more than the resolution of ctime
    with path.open("r+b") as file:
        file.seek(before.st_size // 2)
        byte = file.read(1)
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte[0] ^ 1]))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert (path.stat().st_size, path.stat().st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    with pytest.raises(ModelFolderError, match=r"output_graph\.pbmm has the sha256"):
        VersionFiles(folder).opened().verify()


def test_another_file_of_the_same_content_is_read(folder: Path, read: list[str]) -> None:
    shutil.copy2(folder / MODEL, folder / "copy")
    (folder / "copy").replace(folder / MODEL)
    VersionFiles(folder).opened().verify()
    assert read == [MODEL]


def test_a_record_of_another_digest_counts_for_nothing(folder: Path, read: list[str]) -> None:
    record_verified(folder, {MODEL: VerifiedFile.of((folder / MODEL).stat(), "0" * 64)})
    VersionFiles(folder).opened().verify()
    assert MODEL in read


def test_every_file_is_locked_while_the_server_runs(folder: Path) -> None:
    files = VersionFiles(folder)
    files.opened()
    with (folder / MODEL).open("rb") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)


def test_a_server_waits_for_a_pod_that_looks_for_unused_files(folder: Path) -> None:
    with (folder / MODEL).open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        files = VersionFiles(folder)
        time.sleep(0.3)  # the server meets the lock meanwhile
        fcntl.flock(other, fcntl.LOCK_UN)
        files.opened()
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
