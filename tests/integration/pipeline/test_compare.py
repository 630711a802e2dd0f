"""compare against a real S3: the published version is measured as it is served, on the clips of the new one."""

import json
from pathlib import Path, PurePosixPath

import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.evaluate import CompareInput
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate.stage import evaluate
from speechmodel_pipeline.publish import publish
from support.graphs import deaf, edited
from support.phrase_heads import knowing_head
from support.programs import run_program
from support.seaweed import WRITER, Seaweed
from support.signing_keys import key_pair
from support.workspaces import BEAMS, DATA, EVALUATE, FREE_TEXT, VERSION, make_workspace

from .conftest import BUCKET

COMPARE = "00000010"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decoding", "phrases"),
    [
        (Decoding(grammar=GrammarSource.DATASET, beam_width=BEAMS), False),
        (Decoding(grammar=GrammarSource.DATASET, beam_width=BEAMS), True),
        (Decoding(foreign_speech=ForeignSpeech.REJECT, beam_width=BEAMS), False),
        (FREE_TEXT, False),
    ],
    ids=("grammar", "grammar by the phrase network", "rejection", "free text"),
)
def test_the_served_version_gets_the_error_rate_that_it_was_published_with(
    tmp_path: Path, deepspeech: Path, s3: Seaweed, monkeypatch: pytest.MonkeyPatch, decoding: Decoding, *, phrases: bool
) -> None:
    for name, value in WRITER.environment.items():
        monkeypatch.setenv(name, value)
    old = make_workspace(tmp_path / "old", deepspeech, Split(dev_percent=30, test_percent=40))
    target = S3Location(bucket=BUCKET, endpoint=s3.endpoint)
    if phrases:
        edited(deepspeech / "tf2_128.pb", old.graph, deaf)
        knowing_head().save(old.head)
    converted, evaluated = old.finish(decoding)
    base = f"compare/ns/espejo/{decoding.grammar}{'-phrases' if phrases else ''}"
    published = publish(old.publish_input(converted, evaluated, target, base))
    assert (published.phrases is not None) is phrases

    new = make_workspace(tmp_path / "new", deepspeech, Split(dev_percent=30, test_percent=40))
    edited(deepspeech / "tf2_128.pb", new.graph, deaf)
    measured = evaluate(new.evaluate_input(convert(new.convert_input()), decoding=decoding))
    assert measured.wer == 1.0

    task = CompareInput(
        key=COMPARE,
        attempt=1,
        workspace=PurePosixPath(new.root),
        data_key=DATA,
        dataset_digest=new.dataset.dataset_digest,
        evaluate_key=EVALUATE,
        report_sha256=measured.report_sha256,
        version=VERSION,
        target=target,
        version_uri=published.version_uri,
        version_sha256=published.version_sha256,
    )
    ended = run_program("evaluate.compare", task, tmp_path, WRITER.environment)
    assert ended.code == 0, ended.log
    assert (ended.output["wer"], ended.output["clips"]) == (evaluated.wer, measured.clips)
    assert evaluated.wer is not None
    assert evaluated.wer < 0.5
    report = json.loads((new.root / "reports" / COMPARE / "report.json").read_bytes())
    assert len(report["results"]) == measured.clips
    assert sorted(path.name for path in (new.root / "reports" / COMPARE).iterdir()) == ["manifest.json", "report.json"]

    unsigned = task.model_copy(update={"key": "00000012", "public_keys": (key_pair().public,)})
    ended = run_program("evaluate.compare", unsigned, tmp_path, WRITER.environment)
    assert (ended.code, ended.reason) == (65, "SignatureMissing")
    assert "remove evaluation.gate.notWorseThanServing" in ended.message

    missing = task.model_copy(update={"key": "00000011", "version_uri": f"{published.version_uri}.gone"})
    ended = run_program("evaluate.compare", missing, tmp_path, WRITER.environment)
    assert (ended.code, ended.reason) == (75, "DownloadFailed")
    assert "remove evaluation.gate.notWorseThanServing" in ended.message
