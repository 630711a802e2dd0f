"""evaluate with the real runtime: the figures of the file that is served."""

import csv
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jiwer
import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.workspace import part_table
from speechmodel_decoding import word_confidence
from speechmodel_pipeline.convert.stage import convert
from speechmodel_runtime import Model, load
from speechmodel_stagekit.dataset import Part
from support.graphs import deaf, edited
from support.programs import run_program
from support.workspaces import EVALUATE, FREE_TEXT, Workspace, make_workspace

HALF = Split(dev_percent=0, test_percent=50)


def report(workspace: Workspace) -> dict[str, Any]:
    read: dict[str, Any] = json.loads(
        (workspace.root / "reports" / EVALUATE / "report.json").read_text(encoding="utf-8")
    )
    return read


def test_every_test_clip_is_heard_by_the_runtime_that_serves(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    converted = convert(workspace.convert_input())
    ended = run_program("evaluate", workspace.evaluate_input(converted, beam_width=500), tmp_path)
    assert ended.code == 0, ended.log
    found = report(workspace)
    assert ended.output["clips"] == workspace.dataset.test_clips == len(found["results"]) > 3
    assert (ended.output["wer"], ended.output["cer"]) == (0.0, 0.0)  # it knows these clips by heart
    # the engine Native hears the same in every clip
    assert found["native"] == {"clips": workspace.dataset.test_clips, "differences": []}
    assert ended.output["native"] == {
        "quantisedSha256": converted.quantised_sha256,
        "clips": workspace.dataset.test_clips,
        "differences": 0,
    }
    folder = workspace.root / "reports" / EVALUATE
    assert ended.output["reportSha256"] == hashlib.sha256((folder / "report.json").read_bytes()).hexdigest()
    assert ended.output["selftestSha256"] == hashlib.sha256((folder / "selftest.wav").read_bytes()).hexdigest()
    with Model(workspace.root / "exports" / "0000000c" / "output_graph.pbmm", beam_width=500) as model:
        assert model.transcribe(load(folder / "selftest.wav")).text == found["selftest"]["text"] != ""
    reached = {each.unit: (each.done, each.total) for each in ended.progress}
    assert ended.progress[0].done == 0
    assert reached["clips"] == (len(found["results"]),) * 2
    assert reached["training clips"] == (workspace.dataset.train_clips,) * 2, "there are no dev clips"


def test_free_text_has_confidences_that_are_set_on_the_dev_clips_and_measured_on_the_test_clips(
    tmp_path: Path, deepspeech: Path
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split(dev_percent=30, test_percent=40))
    converted, evaluated = workspace.finish(FREE_TEXT)
    found, calibration = report(workspace), evaluated.confidence
    assert calibration is not None
    assert calibration.quantised_sha256 == converted.quantised_sha256
    assert calibration.slope > 0, "better scores are surer"
    assert word_confidence(-0.01, calibration) > 0.8 > 0.2 > word_confidence(-1.0, calibration)
    confidence = found["confidence"]
    assert confidence["calibration"] == calibration.model_dump(mode="json", by_alias=True)
    assert (confidence["calibratedOn"], confidence["calibrationClips"]) == ("dev", workspace.dataset.dev_clips)
    assert confidence["calibrationCopies"] >= 2 * workspace.dataset.dev_clips
    assert 0 < confidence["calibrationRight"] <= confidence["calibrationClips"] + confidence["calibrationCopies"]
    sure = [each["confidence"] for each in found["results"]]
    assert all(0 < each < 1 for each in sure)
    assert calibration.calibration_error == pytest.approx(1 - sum(sure) / len(sure), abs=1e-5), "all are right"
    assert calibration.calibration_error is not None
    assert calibration.calibration_error < 0.3
    assert "calibration error of the confidences" in (workspace.root / "reports" / EVALUATE / "report.html").read_text()


def test_voices_of_the_training_clips_do_not_count_for_the_calibration_error(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split(dev_percent=30, test_percent=40))
    table = workspace.root / "data" / "0000000a" / "test.csv"
    head, *rows, moved = table.read_text(encoding="utf-8").splitlines()
    table.write_text("\n".join([head, *rows, ""]), encoding="utf-8")
    said = next(csv.DictReader([head, moved]))["transcript"]
    seen_table = f"{head}\n{moved.replace(said, 'nuera')}\n"
    table.with_name(part_table(Part.SEEN)).write_text(seen_table, encoding="utf-8")
    _, evaluated = workspace.finish(FREE_TEXT)
    *test, seen = report(workspace)["results"]
    assert evaluated.confidence is not None
    assert (len(test), seen["reference"]) == (len(rows), "nuera")
    error = 1 - sum(each["confidence"] for each in test) / len(test)
    assert evaluated.confidence.calibration_error == pytest.approx(error, abs=1e-5), "all test clips are right"


def test_errors_are_counted_over_all_words_and_the_worst_clips_are_named(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    converted = convert(workspace.convert_input())
    run_program("evaluate", workspace.evaluate_input(converted, beam_width=1), tmp_path)
    _misquote(workspace, "llama a mi hija", "llama a tu hija mañana")
    (workspace.root / "reports" / EVALUATE).rename(tmp_path / "before")
    ended = run_program("evaluate", workspace.evaluate_input(converted, beam_width=1), tmp_path)
    found = report(workspace)
    references = [result["reference"] for result in found["results"]]
    hypotheses = [result["hypothesis"] for result in found["results"]]
    assert "llama a tu hija mañana" in references
    assert ended.output["wer"] == pytest.approx(jiwer.wer(references, hypotheses), abs=1e-6)
    assert ended.output["cer"] == pytest.approx(jiwer.cer(references, hypotheses), abs=1e-6)
    assert ended.output["wer"] > 0
    assert {result["reference"] for result in found["worst"]} == {"llama a tu hija mañana"}
    assert found["selftest"]["reference"] == found["selftest"]["text"]


def _misquote(workspace: Workspace, said: str, written: str) -> None:
    table = workspace.root / "data" / "0000000a" / "test.csv"
    table.write_text(table.read_text(encoding="utf-8").replace(said, written), encoding="utf-8")


def test_voices_that_training_never_hears_are_measured_apart(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    converted = convert(workspace.convert_input())
    _misquote(workspace, "llama a mi hija", "llama a tu hija")
    misquoted = _name_speakers(workspace, lambda row: "otto" if row["transcript"] == "llama a mi hija" else "anna")
    evaluated = run_program("evaluate", workspace.evaluate_input(converted), tmp_path).output
    unseen, seen = evaluated["werUnseenSpeakers"], evaluated["werSeenSpeakers"]
    assert unseen == {"rate": 0.25, "low": 0.25, "high": 0.25, "clips": misquoted}
    assert (seen["rate"], seen["clips"]) == (0, evaluated["clips"] - misquoted)
    assert {result["unseenSpeaker"] for result in report(workspace)["results"]} == {True, False}


def test_figures_of_guessed_speakers_say_so(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    manifest = workspace.root / "data" / "0000000a" / "manifest.json"
    prepared = json.loads(manifest.read_text(encoding="utf-8"))
    assert prepared["output"]["speakersGuessed"] is False
    prepared["output"]["speakersGuessed"] = True
    manifest.write_text(json.dumps(prepared), encoding="utf-8")
    _name_speakers(workspace, lambda row: "otto")
    evaluated = run_program("evaluate", workspace.evaluate_input(convert(workspace.convert_input())), tmp_path).output
    assert evaluated["werUnseenSpeakers"]["speakersGuessed"] is True
    assert report(workspace)["werUnseenSpeakers"] == evaluated["werUnseenSpeakers"]
    page = (workspace.root / "reports" / EVALUATE / "report.html").read_text(encoding="utf-8")
    assert "clips; the speakers are guessed" in page


def test_without_speakers_there_is_one_error_rate(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    evaluated = run_program("evaluate", workspace.evaluate_input(convert(workspace.convert_input())), tmp_path).output
    assert evaluated["wer"] == 0
    assert not {"werUnseenSpeakers", "werSeenSpeakers"} & evaluated.keys()


def _name_speakers(workspace: Workspace, speaker: Callable[[dict[str, str]], str]) -> int:
    """Write speakers into the registry, the one of test clips only by `speaker`; return the clips of otto."""
    path = workspace.root / "data" / "0000000a" / "registry.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        row["speaker"] = speaker(row) if row["part"] == "test" else "anna"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return sum(row["speaker"] == "otto" for row in rows)


def test_a_rerun_writes_the_same_bytes(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    task = workspace.evaluate_input(convert(workspace.convert_input()))
    first = run_program("evaluate", task, tmp_path)
    again = run_program("evaluate", task, tmp_path)
    assert again.output == first.output and not again.progress
    (workspace.root / "reports" / EVALUATE / "report.json").unlink()
    assert run_program("evaluate", task, tmp_path).output == first.output


@pytest.mark.parametrize(
    ("split", "part"), [(Split(dev_percent=30, test_percent=0), "dev"), (Split(dev_percent=0, test_percent=0), "train")]
)
def test_without_test_clips_there_is_no_wer_but_a_self_test(
    split: Split, part: str, tmp_path: Path, deepspeech: Path
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, split)
    ended = run_program("evaluate", workspace.evaluate_input(convert(workspace.convert_input())), tmp_path)
    assert ended.output["clips"] == 0 and "wer" not in ended.output
    found = report(workspace)
    assert "no test clips" in found["note"] and found["selftest"]["part"] == part
    assert found["selftest"]["text"] == found["selftest"]["reference"] != ""


def test_a_model_that_hears_nothing_has_a_wer_of_1(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    edited(workspace.graph, workspace.graph, deaf)
    ended = run_program("evaluate", workspace.evaluate_input(convert(workspace.convert_input())), tmp_path)
    assert (ended.output["wer"], ended.output["cer"]) == (1.0, 1.0)
    assert report(workspace)["selftest"]["text"] == ""


@pytest.mark.parametrize("gone", ["model", "dataset", "clip", "other samples", "another dataset"])
def test_what_an_earlier_stage_made_and_is_gone_is_made_again(gone: str, tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, HALF)
    task = workspace.evaluate_input(convert(workspace.convert_input()))
    if gone == "model":
        model = workspace.root / "exports" / "0000000c" / "output_graph.pbmm"
        model.write_bytes(model.read_bytes()[:-1])
    elif gone == "dataset":
        (workspace.root / "data").rename(tmp_path / "away")
    elif gone == "clip":
        for clip in (workspace.root / "data" / "0000000a" / "clips").iterdir():
            clip.unlink()
    elif gone == "other samples":
        for clip in (workspace.root / "data" / "0000000a" / "clips").iterdir():
            clip.write_bytes(clip.read_bytes()[:-2] + b"\x01\x00")
    else:
        task = task.model_copy(update={"dataset_digest": "0" * 64})
    assert run_program("evaluate", task, tmp_path).code == 66
