"""The scores of the acoustic model against those of libdeepspeech."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_decoding import AcousticModel, forward_score
from speechmodel_pipeline.convert import acoustic
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.agreement import require_agreement
from speechmodel_pipeline.convert.trial import TrialTranscript
from speechmodel_runtime import GraphInfo, load, read_graph
from speechmodel_stagekit.errors import BadData
from support.places import FIXTURES

EXPECTED = json.loads((FIXTURES / "tf2_128.expected.json").read_text(encoding="utf-8"))
CLIPS = [FIXTURES / "clips" / name for name in EXPECTED][:3]
TRANSCRIPTS = [
    TrialTranscript(path.name, EXPECTED[path.name]["text"], EXPECTED[path.name]["confidence"]) for path in CLIPS
]


@pytest.fixture(scope="module")
def graph() -> GraphInfo:
    return read_graph(FIXTURES / "tf2_128.pb")


@pytest.fixture
def exported(tmp_path: Path) -> Path:
    export_acoustic_model(FIXTURES / "tf2_128.pb", tmp_path / "acoustic.onnx")
    return tmp_path / "acoustic.onnx"


def test_the_network_of_the_graph_agrees(exported: Path, graph: GraphInfo, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    require_agreement(exported, graph, CLIPS, TRANSCRIPTS)
    assert "acoustic.onnx agrees with the runtime within" in caplog.text


def test_a_network_with_its_gates_in_another_order_is_refused(
    tmp_path: Path, graph: GraphInfo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(acoustic, "reordered", np.asarray)
    export_acoustic_model(FIXTURES / "tf2_128.pb", tmp_path / "acoustic.onnx")
    with pytest.raises(BadData, match=r"acoustic\.onnx scores the trial clips differently than the runtime"):
        require_agreement(tmp_path / "acoustic.onnx", graph, CLIPS, TRANSCRIPTS)


def test_one_clip_that_differs_is_enough(exported: Path, graph: GraphInfo) -> None:
    one_off = [TRANSCRIPTS[0], replace(TRANSCRIPTS[1], confidence=-9.0), TRANSCRIPTS[2]]
    with pytest.raises(BadData, match=CLIPS[1].name):
        require_agreement(exported, graph, CLIPS, one_off)


def test_the_catch_all_label_is_scored_too(exported: Path, graph: GraphInfo) -> None:
    """A model that has learned little says little else."""
    assert any("e" in each.text for each in TRANSCRIPTS)
    renamed = replace(graph, labels=tuple(CATCH_ALL.encode() if each == b"e" else each for each in graph.labels))
    emitted = [replace(each, text=each.text.replace("e", CATCH_ALL)) for each in TRANSCRIPTS]
    require_agreement(exported, renamed, CLIPS, emitted)
    spoken = [replace(each, text=each.text.replace(CATCH_ALL, "")) for each in emitted]
    with pytest.raises(BadData):
        require_agreement(exported, renamed, CLIPS, spoken)


def test_what_the_runtime_lost_in_its_beam_is_no_difference(exported: Path, graph: GraphInfo) -> None:
    weak = [replace(each, text="espejo llama") for each in TRANSCRIPTS]
    model = AcousticModel(exported)
    labels = [label.decode() for label in graph.labels]
    exact = [
        forward_score(model.log_probabilities(load(path)), [labels.index(c) for c in "espejo llama"]) for path in CLIPS
    ]
    assert max(exact) < -20, "these clips say something else"
    for part, agrees in ((1.05, True), (1.2, False), (0.9, False)):
        transcripts = [replace(each, confidence=score * part) for each, score in zip(weak, exact, strict=True)]
        if agrees:
            require_agreement(exported, graph, CLIPS, transcripts)
        else:
            with pytest.raises(BadData):
                require_agreement(exported, graph, CLIPS, transcripts)


def test_clips_without_words_are_not_compared(
    exported: Path, graph: GraphInfo, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    require_agreement(exported, graph, CLIPS, [replace(each, text="", confidence=-99.0) for each in TRANSCRIPTS])
    assert "was not compared" in caplog.text
