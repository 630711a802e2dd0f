"""The TFLite file in the programs that it is for, and in S3."""

import hashlib
import json
from pathlib import Path

import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.published import VersionManifest
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.convert import ConvertOutput
from speechmodel_api.stages.publish import FetchInput
from speechmodel_api.tflite import PublishedTflite
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate.stage import evaluate
from speechmodel_pipeline.fetch import fetch
from speechmodel_pipeline.publish import publish
from speechmodel_stagekit.errors import ArtefactMissing
from support.seaweed import WRITER, Seaweed
from support.tflite import hear, runtimes
from support.workspaces import CONVERT, Workspace, make_workspace

from .conftest import BUCKET


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory, deepspeech: Path) -> Workspace:
    return make_workspace(tmp_path_factory.mktemp("tflite"), deepspeech, Split())


@pytest.fixture(scope="module")
def converted(workspace: Workspace) -> ConvertOutput:
    return convert(workspace.convert_input().model_copy(update={"tflite": True}))


@pytest.fixture
def tflite(workspace: Workspace, converted: ConvertOutput) -> Path:
    path = workspace.root / "exports" / CONVERT / "output_graph.tflite"
    assert converted.tflite is not None
    assert hashlib.sha256(path.read_bytes()).hexdigest() == converted.tflite.sha256
    assert path.stat().st_size == converted.tflite.size_bytes
    return path


@pytest.mark.slow
@pytest.mark.parametrize("module", ["deepspeech", "stt"])
def test_the_programs_for_small_machines_hear_what_the_runtime_hears(
    module: str, tflite: Path, deepspeech: Path
) -> None:
    expected = json.loads((deepspeech / "tf2_128.expected.json").read_text(encoding="utf-8"))
    names = sorted(expected)[::3]
    heard = hear(runtimes(), module, tflite, [deepspeech / "clips" / name for name in names])
    assert [each.text for each in heard] == [expected[name]["text"] for name in names]
    assert [each.timesteps for each in heard] == [expected[name]["timesteps"] for name in names]
    assert [each.confidence for each in heard] == pytest.approx(
        [expected[name]["confidence"] for name in names], abs=0.01
    )


def test_it_is_published_beside_the_version_and_no_server_fetches_it(
    workspace: Workspace,
    converted: ConvertOutput,
    tflite: Path,
    s3: Seaweed,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in WRITER.environment.items():
        monkeypatch.setenv(name, value)
    target = S3Location(bucket=BUCKET, endpoint=s3.endpoint)
    evaluated = evaluate(workspace.evaluate_input(converted))
    task = workspace.publish_input(converted, evaluated, target, "team/tflite/uid-1")
    task = task.model_copy(update={"tflite": converted.tflite})
    output = publish(task)
    assert converted.tflite is not None
    digest = converted.tflite.sha256
    uri = f"s3://{BUCKET}/team/tflite/uid-1/{digest}/output_graph.tflite"
    assert output.tflite == PublishedTflite(sha256=digest, size_bytes=converted.tflite.size_bytes, uri=uri)
    client = s3.client()
    stored = client.get_object(Bucket=BUCKET, Key=uri.removeprefix(f"s3://{BUCKET}/"))["Body"].read()
    assert hashlib.sha256(stored).hexdigest() == digest
    folder = tmp_path / "served"
    version = output.version_uri.removeprefix(f"s3://{BUCKET}/")
    described = client.get_object(Bucket=BUCKET, Key=version)["Body"].read()
    assert VersionManifest.model_validate_json(described).tflite == output.tflite
    fetch(
        FetchInput(target=target, version_uri=output.version_uri, version_sha256=output.version_sha256, folder=folder)
    )
    assert {"output_graph.pbmm", "version.json"} <= {path.name for path in folder.iterdir()}
    assert not (folder / "output_graph.tflite").exists()
    whole = tflite.read_bytes()
    tflite.write_bytes(b"damaged")
    try:
        with pytest.raises(ArtefactMissing, match=r"output_graph\.tflite"):
            publish(task)
    finally:
        tflite.write_bytes(whole)  # the other tests of this module use it
