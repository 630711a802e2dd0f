"""The environment in which a stage program starts here."""

import json
from pathlib import Path, PurePosixPath

import pytest
from speechmodel_api.base import Document
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.evaluate import CompareInput
from speechmodel_api.stages.publish import FetchInput, PublishInput
from speechmodel_cli.local.object_store import Access
from speechmodel_cli.local.programs import environment, inherited

TARGET = S3Location(bucket="models", endpoint="http://placeholder")
COMPARE = CompareInput(
    key="0000000a",
    attempt=1,
    workspace=PurePosixPath("/w"),
    data_key="0000000b",
    dataset_digest="0" * 64,
    evaluate_key="0000000c",
    report_sha256="0" * 64,
    version="0000000d",
    target=TARGET,
    version_uri="s3://models/v",
    version_sha256="0" * 64,
)
PUBLISH = PublishInput(
    key="0000000a",
    attempt=1,
    workspace=PurePosixPath("/w"),
    convert_key="0000000b",
    model_sha256="0" * 64,
    evaluate_key="0000000c",
    report_sha256="0" * 64,
    version="0000000d",
    decoding=Decoding(),
    language="es",
    target=TARGET,
    base="ns/espejo/uid",
)
FETCH = FetchInput(target=TARGET, version_uri="s3://models/v", version_sha256="0" * 64, folder=PurePosixPath("/f"))


@pytest.mark.parametrize("document", [COMPARE, FETCH], ids=("compare", "fetch"))
def test_a_program_that_reads_a_version_finds_the_bucket_where_it_is_now(document: Document, tmp_path: Path) -> None:
    access = Access("http://127.0.0.1:4711", {"AWS_ACCESS_KEY_ID": "a"})
    found = environment(document, tmp_path / "result.json", access)
    assert json.loads(found["STAGE_INPUT"])["target"]["endpoint"] == "http://127.0.0.1:4711"
    assert found["AWS_ACCESS_KEY_ID"] == "a"


def test_no_program_inherits_the_keys_of_a_bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_SECRET_ACCESS_KEY", "NEGATIVES_AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "secret")
    assert "secret" not in environment(FETCH, tmp_path / "result.json").values()


def test_only_publish_receives_the_private_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNING_KEY", "private")
    assert environment(PUBLISH, tmp_path / "result.json")["SIGNING_KEY"] == "private"
    for found in (environment(FETCH, tmp_path / "result.json"), inherited({})):
        assert "SIGNING_KEY" not in found
