"""A fetched version is complete when all its files have the digests that were published."""

import hashlib
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.schema import S3Target
from speechmodel_api.stages.contract import INPUT_VARIABLE
from speechmodel_api.status import ModelStatus
from speechmodel_api.workspace import VERSIONS
from speechmodel_cli.local import published as published_versions
from speechmodel_cli.local.object_store import ManifestStore
from speechmodel_cli.local.published import fetched, is_complete
from speechmodel_cli.local.state import ModelState
from speechmodel_pipeline.graphdef.pbmm import memory_map
from support.places import FIXTURES
from support.servers import VersionFolder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "output_graph.pbmm")
    version = VersionFolder(tmp_path / "version", tmp_path / "output_graph.pbmm")
    version.decode_by_grammar("ok espejo")
    return version.path


def published(folder: Path) -> ModelStatus:
    return ModelStatus(
        version="0123abcd",
        uri="s3://models/a/output_graph.pbmm",
        sha256="0" * 64,
        size_bytes=1,
        version_uri="s3://models/a/version.json",
        version_sha256=hashlib.sha256((folder / "version.json").read_bytes()).hexdigest(),
        region="us-east-1",
        published_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


@pytest.mark.parametrize("name", ["output_graph.pbmm", "selftest.wav", "acoustic.onnx", "grammar.zip", "version.json"])
def test_a_file_that_is_damaged_or_gone_is_missed(name: str, folder: Path) -> None:
    model = published(folder)
    assert is_complete(folder, model)
    path = folder / name
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    assert not is_complete(folder, model)
    path.unlink()
    assert not is_complete(folder, model)


FETCH = f"""
import json, os, shutil, sys
document = json.loads(os.environ["{INPUT_VARIABLE}"])
shutil.copytree(sys.argv[1], document["folder"], dirs_exist_ok=True)
with open(sys.argv[1] + "-fetched", "a") as log:
    print(document.get("listVersions", False), file=log)
if document.get("listVersions"):
    open(document["folder"] + "/{VERSIONS}", "w").close()
"""
"""Does what the program fetch does, from a folder instead of a bucket, and logs whether it lists the versions."""


def fetches(folder: Path) -> list[str]:
    """Return a word for each time that the folder was fetched: True if the versions were listed."""
    return Path(f"{folder}-fetched").read_text(encoding="utf-8").split()


async def test_the_versions_are_listed_only_for_a_server_that_keeps_takes(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(published_versions, "command", lambda _: [sys.executable, "-c", FETCH, str(folder)])
    s3 = S3Target(bucket="models")
    state, model, store = ModelState(tmp_path / "espejo"), published(folder), ManifestStore(s3)
    for _ in range(2):
        there = await fetched(state, model, store, s3)
    assert fetches(folder) == ["False"]
    for _ in range(2):
        await fetched(state, model, store, s3, list_versions=True)
    assert fetches(folder) == ["False", "True"]
    shutil.rmtree(there)
    await fetched(state, model, store, s3, list_versions=True)
    assert (there / VERSIONS).exists()
