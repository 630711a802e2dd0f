"""evaluate in free text that rejects foreign speech: what its threshold is set on, and what it counts."""

import csv
import json
from pathlib import Path
from typing import Any

from speechmodel_api.dataset_spec import Negatives, Split
from speechmodel_api.decoding_spec import ForeignSpeech
from speechmodel_api.stages.decoders import Decoding
from speechmodel_pipeline.convert.stage import convert
from support.graphs import deaf, edited
from support.programs import Ended, run_program
from support.workspaces import BEAMS, EVALUATE, FREE_TEXT, Workspace, make_workspace

REJECT = Decoding(beam_width=BEAMS, foreign_speech=ForeignSpeech.REJECT)
THIRDS = Split(dev_percent=30, test_percent=40)


def evaluated(workspace: Workspace, folder: Path, decoding: Decoding = REJECT) -> Ended:
    converted = convert(workspace.convert_input())
    return run_program("evaluate", workspace.evaluate_input(converted, decoding=decoding), folder)


def report(workspace: Workspace) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((workspace.root / "reports" / EVALUATE / "report.json").read_bytes())
    return read


def test_negatives_are_rejected_and_both_error_rates_reported(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS, negatives=Negatives())
    ended = evaluated(workspace, tmp_path)
    assert ended.code == 0, ended.log
    assert "grammar" not in ended.output or ended.output["grammar"] is None
    found = report(workspace)
    assert found["rejection"]["setOn"] == "dev"
    assert found["rejection"]["clips"] == workspace.dataset.dev_clips
    assert found["rejection"]["copies"] >= 2 * workspace.dataset.dev_clips
    assert found["rejection"]["threshold"] == ended.output["rejection"]["threshold"] < 0
    figures = ended.output["figures"]
    assert figures == found["rejection"]["figures"]
    assert figures["right"] + figures["wrong"] + figures["rejected"] == ended.output["clips"]
    assert figures["right"] >= ended.output["clips"] - 1, "the model knows these clips by heart"
    assert ended.output["freeTextWer"] == 0
    negatives = [each for each in found["results"] if each["foreign"]]
    assert figures["foreign"] == len(negatives) > 0
    texts = [each for each in negatives if each["freeText"]]
    assert texts, "the model was never trained with negatives, so it hears words in some"
    assert all(each["score"] < found["rejection"]["threshold"] for each in texts if not each["hypothesis"])
    assert figures["accepted"] == sum(bool(each["hypothesis"]) for each in negatives) < len(texts)
    assert found["rejection"]["foreign"] == {
        "built-in words": {"clips": len(negatives), "accepted": figures["accepted"]}
    }
    assert "recorded" not in figures


def test_free_text_transcribes_everything_unless_the_spec_says_otherwise(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS, negatives=Negatives())
    ended = evaluated(workspace, tmp_path, FREE_TEXT)
    assert ended.output.get("rejection") is None
    assert not [each for each in report(workspace)["results"] if each["foreign"]]


def test_a_model_that_hears_nothing_accepts_nothing(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS, negatives=Negatives())
    _rename_negatives(workspace, "radio.wav")
    edited(deepspeech / "tf2_128.pb", workspace.graph, deaf)
    ended = evaluated(workspace, tmp_path)
    assert ended.code == 0, ended.log
    assert ended.output["rejection"]["threshold"] == 0
    assert ended.output["figures"]["rejected"] == workspace.dataset.test_clips
    assert "it will accept nothing" in ended.log
    figures = ended.output["figures"]
    assert (figures["recorded"], figures["recordedAccepted"], figures["accepted"]) == (figures["foreign"], 0, 0)
    assert report(workspace)["rejection"]["foreign"] == {
        "recordings of other speech": {"clips": figures["recorded"], "accepted": 0}
    }
    page = (workspace.root / "reports" / EVALUATE / "report.html").read_text(encoding="utf-8")
    assert f"clips of other speech got an answer, 0 of {figures['recorded']} recordings" in page


def _rename_negatives(workspace: Workspace, name: str) -> None:
    path = workspace.root / "data" / "0000000a" / "registry.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row | {"recording": name} if row["part"] == "negatives" else row for row in csv.DictReader(file)]
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
