"""evaluate with a grammar: what it compiles, what its threshold is set on, and what it counts."""

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.stages.decoders import Calibration, Decoding
from speechmodel_decoding import AcousticModel, Grammar, Recogniser
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate.stage import evaluate
from speechmodel_runtime import load, read_graph
from speechmodel_stagekit.errors import ArtefactMissing
from support.graphs import deaf, edited
from support.phrase_heads import ignorant_head, knowing_head
from support.programs import Ended, run_program
from support.workspaces import BEAMS, CONVERT, EVALUATE, Workspace, make_workspace

DATASET = Decoding(grammar=GrammarSource.DATASET, beam_width=BEAMS)
THIRDS = Split(dev_percent=30, test_percent=40)


def of_phrases(*phrases: str, **lists: tuple[str, ...]) -> Decoding:
    return Decoding(grammar=GrammarSource.PHRASES, phrases=phrases, lists=lists, beam_width=BEAMS)


def evaluated(workspace: Workspace, decoding: Decoding, folder: Path) -> Ended:
    converted = convert(workspace.convert_input())
    return run_program("evaluate", workspace.evaluate_input(converted, decoding=decoding), folder)


def report(workspace: Workspace) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((workspace.root / "reports" / EVALUATE / "report.json").read_bytes())
    return read


def served(workspace: Workspace, ended: Ended, network: Path | None = None) -> Recogniser:
    """The recogniser that a server makes of the files."""
    model = workspace.root / "exports" / CONVERT
    alphabet = [label.decode() for label in read_graph(model / "output_graph.pbmm").labels]
    content = (workspace.root / "reports" / EVALUATE / "grammar.zip").read_bytes()
    assert hashlib.sha256(content).hexdigest() == ended.output["grammar"]["grammarSha256"]
    calibration = Calibration.model_validate(ended.output["grammar"]["calibration"])
    return Recogniser(
        AcousticModel(network or model / "acoustic.onnx"), Grammar.from_bytes(content, alphabet), calibration
    )


def test_the_transcripts_are_the_phrases_of_the_grammar_dataset(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    ended = evaluated(workspace, DATASET, tmp_path)
    assert ended.code == 0, ended.log
    figures = ended.output["figures"]
    assert figures["right"] + figures["rejected"] == ended.output["clips"] == workspace.dataset.test_clips
    assert figures["wrong"] == figures["foreign"] == 0
    assert figures["right"] > figures["rejected"]
    assert ended.output["freeTextWer"] == 0, "the model knows these clips by heart"
    assert 0 <= figures["calibrationError"] < 0.5
    found = report(workspace)
    assert found["native"] == {"clips": len(found["results"]), "differences": []}
    assert found["grammar"]["calibratedOn"] == "dev"
    assert found["grammar"]["calibrationClips"] == workspace.dataset.dev_clips
    assert found["grammar"]["calibrationCopies"] >= 2 * workspace.dataset.dev_clips
    recogniser = served(workspace, ended)
    selftest = load(workspace.root / "reports" / EVALUATE / "selftest.wav")
    answer = recogniser.recognise(selftest)
    assert answer.text == found["selftest"]["text"] == found["selftest"]["reference"]
    measured = {each["clip"]: each["score"] for each in found["results"]}
    assert ended.output["grammar"]["calibration"]["speechTime"] is True
    assert answer.candidates[0].score == pytest.approx(measured[found["selftest"]["clip"]], abs=1e-6)


@pytest.mark.parametrize("knowing", [True, False], ids=["the phrase network", "the network of DeepSpeech"])
def test_the_network_that_recognises_clearly_more_of_the_dev_clips_decodes_the_grammar(
    knowing: bool, tmp_path: Path, deepspeech: Path
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    if knowing:
        edited(deepspeech / "tf2_128.pb", workspace.graph, deaf)
    (knowing_head() if knowing else ignorant_head()).save(workspace.head)
    ended = evaluated(workspace, DATASET, tmp_path)
    assert ended.code == 0, ended.log
    network = workspace.root / "exports" / CONVERT / ("phrases.onnx" if knowing else "acoustic.onnx")
    decoder, networks, found = ended.output["grammar"], ended.output["networks"], report(workspace)
    assert decoder["embedded"] is knowing
    assert decoder["acousticSha256"] == hashlib.sha256(network.read_bytes()).hexdigest()
    best, other = ("phrasesRight", "acousticRight") if knowing else ("acousticRight", "phrasesRight")
    assert found["grammar"]["networks"] == networks
    assert found["grammar"]["calibrationRight"] == networks[best] > networks[other] == 0
    assert found["grammar"]["calibrationClips"] + found["grammar"]["calibrationCopies"] == networks["clips"]
    assert (
        f"{network.name} decodes the grammar: the phrase network recognised {networks['phrasesRight']} of" in ended.log
    )
    page = (workspace.root / "reports" / EVALUATE / "report.html").read_text(encoding="utf-8")
    name = "The phrase network" if knowing else "The network of DeepSpeech"
    assert f"{name} decodes the grammar. Of {networks['clips']} calibration clips" in page
    assert found["native"]["differences"] == []
    assert (found["native"].get("sameNetwork"), "native" in ended.output) == (
        (True, False) if knowing else (None, True)
    )
    assert ("Both engines run it" in page) is knowing
    assert ended.output["figures"]["right"] >= workspace.dataset.test_clips / 2
    answer = served(workspace, ended, network).recognise(load(workspace.root / "reports" / EVALUATE / "selftest.wav"))
    assert answer.text == found["selftest"]["text"] == found["selftest"]["reference"]


def test_of_networks_that_recognise_as_many_dev_clips_the_phrase_network_decodes(
    tmp_path: Path, deepspeech: Path
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    edited(deepspeech / "tf2_128.pb", workspace.graph, deaf)
    ignorant_head().save(workspace.head)
    ended = evaluated(workspace, DATASET, tmp_path)
    assert ended.code == 0, ended.log
    assert ended.output["networks"]["phrasesRight"] == ended.output["networks"]["acousticRight"] == 0
    assert ended.output["grammar"]["embedded"] is True
    assert ended.log.count("so it will accept nothing") == 1


def test_a_phrase_network_that_is_gone_is_made_again(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    ignorant_head().save(workspace.head)
    task = workspace.evaluate_input(convert(workspace.convert_input()), decoding=DATASET)
    (workspace.root / "exports" / CONVERT / "phrases.onnx").unlink()
    with pytest.raises(ArtefactMissing, match=r"phrases\.onnx"):
        evaluate(task)


def test_clips_of_other_phrases_are_foreign_and_no_word_errors(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    intents, lists = {"CallPerson": ("[espejo] llama a mi {quien}",)}, {"quien": ("hija", "hijo", "nuera")}
    decoding = Decoding(grammar=GrammarSource.PHRASES, intents=intents, lists=lists, beam_width=BEAMS)
    ended = evaluated(workspace, decoding, tmp_path)
    assert ended.code == 0, ended.log
    answered = {each.get("intent") for each in report(workspace)["results"] if each["hypothesis"]}
    assert answered == {"CallPerson"}
    assert all("intent" not in each for each in report(workspace)["results"] if not each["hypothesis"])
    foreign = [each for each in report(workspace)["results"] if "llama" not in each["reference"]]
    assert ended.output["figures"]["foreign"] == len(foreign) > 0
    assert all(each["foreign"] for each in foreign)
    assert ended.output["figures"]["accepted"] == sum(bool(each["hypothesis"]) for each in foreign) == 0
    assert ended.output["clips"] == workspace.dataset.test_clips - len(foreign)
    assert report(workspace)["grammar"]["foreign"] == {
        "transcripts outside of the grammar": {"clips": len(foreign), "accepted": 0}
    }


def test_a_grammar_of_phrases_that_nobody_recorded_is_calibrated_on_the_transcripts(
    tmp_path: Path, deepspeech: Path
) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    ended = evaluated(workspace, of_phrases("¡Mi, espejo!"), tmp_path)
    assert ended.code == 0, ended.log
    assert ended.output["grammar"]["calibration"]["threshold"] < 0
    assert ended.output["clips"] == 0
    assert ended.output["figures"]["foreign"] == workspace.dataset.test_clips


def test_a_dataset_without_dev_clips_is_calibrated_on_its_training_clips(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, Split(dev_percent=0, test_percent=50))
    assert evaluated(workspace, DATASET, tmp_path).code == 0
    assert report(workspace)["grammar"]["calibratedOn"] == "train"


@pytest.mark.parametrize(
    "decoding, words",
    [
        (of_phrases("ok ж"), "decoding: the phrase 'ok ж': the model's alphabet does not contain 'ж'"),
        (of_phrases("ok 5"), "decoding: the phrase 'ok 5': '5' is not spelled out"),
        (of_phrases("luz de {sala}"), "decoding: the phrase 'luz de {sala}': the list 'sala' does not exist"),
    ],
)
def test_a_phrase_that_the_model_cannot_say_is_named(
    decoding: Decoding, words: str, tmp_path: Path, deepspeech: Path
) -> None:
    ended = evaluated(make_workspace(tmp_path, deepspeech, THIRDS), decoding, tmp_path)
    assert (ended.code, ended.reason) == (78, "InvalidGrammar")
    assert words in ended.message


def test_a_model_that_hears_nothing_accepts_nothing(tmp_path: Path, deepspeech: Path) -> None:
    workspace = make_workspace(tmp_path, deepspeech, THIRDS)
    edited(deepspeech / "tf2_128.pb", workspace.graph, deaf)
    ended = evaluated(workspace, DATASET, tmp_path)
    assert ended.code == 0, ended.log
    assert ended.output["figures"]["rejected"] == workspace.dataset.test_clips
    assert ended.output["wer"] == 1
