"""A fetched version is complete when all its files have the digests that were published."""

import hashlib
from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.status import ModelStatus
from speechmodel_cli.local.published import is_complete
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
