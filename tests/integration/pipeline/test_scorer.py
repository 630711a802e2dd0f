"""evaluate in free text with a scorer: where it comes from, its weights, and scorers that do not fit."""

import hashlib
import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from speechmodel_api.dataset_spec import Split
from speechmodel_api.decoding_spec import Scorer
from speechmodel_api.stages.decoders import Decoding
from speechmodel_pipeline.convert.stage import convert
from speechmodel_pipeline.evaluate.scorer import ALPHAS, BETAS
from support.graphs import edited, with_alphabet
from support.programs import Ended, run_program
from support.workspaces import BEAMS, EVALUATE, Workspace, make_workspace

THIRDS = Split(dev_percent=30, test_percent=40)


@pytest.fixture
def workspace(tmp_path: Path, deepspeech: Path) -> Workspace:
    made = make_workspace(tmp_path, deepspeech, THIRDS)
    (made.source / "lm").mkdir()
    shutil.copy(deepspeech / "es.scorer", made.source / "lm" / "es.scorer")
    return made


def evaluated(workspace: Workspace, folder: Path, **scorer: Any) -> Ended:
    source = {} if "build" in scorer else {"path": "lm/es.scorer"}
    decoding = Decoding(beam_width=BEAMS, scorer=Scorer(**{**source, **scorer}))
    return run_program(
        "evaluate", workspace.evaluate_input(convert(workspace.convert_input()), decoding=decoding), folder
    )


def report(workspace: Workspace) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((workspace.root / "reports" / EVALUATE / "report.json").read_bytes())
    return read


def test_the_weights_are_tuned_on_the_dev_clips(workspace: Workspace, tmp_path: Path, deepspeech: Path) -> None:
    ended = evaluated(workspace, tmp_path)
    assert ended.code == 0, ended.log
    copy = workspace.root / "reports" / EVALUATE / "lm.scorer"
    digest = hashlib.sha256((deepspeech / "es.scorer").read_bytes()).hexdigest()
    assert ended.output["scorer"]["scorerSha256"] == digest == hashlib.sha256(copy.read_bytes()).hexdigest()
    found = report(workspace)["scorer"]
    assert (found["tunedOn"], found["clips"], found["unknownWords"]) == ("dev", workspace.dataset.dev_clips, 0)
    assert len(found["tried"]) == 1 + len(ALPHAS) + len(BETAS)
    best = min(found["tried"], key=lambda weights: weights["wer"])
    chosen = {name: ended.output["scorer"][name] for name in ("alpha", "beta")}
    assert chosen == {name: best[name] for name in chosen} == {name: found[name] for name in chosen}
    assert ended.output["wer"] == 0


def test_given_weights_win(workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, alpha=0.5, beta=2)
    assert (ended.output["scorer"]["alpha"], ended.output["scorer"]["beta"]) == (0.5, 2)
    assert report(workspace)["scorer"]["tried"] == []


def test_weights_that_silence_the_network_are_seen_in_the_error_rate(workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, alpha=0, beta=20)
    assert ended.output["wer"] > 0.5, "so much for each word gives many words"


@pytest.mark.parametrize(
    "path, words",
    [
        ("es.scorer", "es.scorer cannot be read in the folder of the dataset (No such file or directory)"),
        ("commands.csv", "commands.csv is not a .scorer of DeepSpeech 0.9.3; generate it again"),
    ],
)
def test_a_file_that_is_no_scorer_is_named(path: str, words: str, workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, path=path)
    assert (ended.code, ended.reason) == (78, "InvalidScorer")
    assert f"decoding.scorer.path: {words}" in ended.message


@pytest.mark.parametrize(
    "bucket, advice",
    [
        (False, "copy it there, or correct the path"),
        (True, "upload it to the bucket and change dataset.revision, so that it is downloaded, or correct the path"),
    ],
)
def test_the_advice_for_a_missing_scorer_fits_the_source(
    bucket: bool, advice: str, workspace: Workspace, tmp_path: Path
) -> None:
    task = workspace.evaluate_input(convert(workspace.convert_input()), decoding=Decoding(scorer=Scorer(path="gone")))
    if bucket:
        task = task.model_copy(update={"source": task.workspace / "sources" / "0badcafe"})
    ended = run_program("evaluate", task, tmp_path)
    assert (ended.code, ended.reason) == (78, "InvalidScorer")
    assert ended.message.endswith(f"(No such file or directory); {advice}")


@pytest.mark.parametrize(
    "labels, words",
    [
        ("a ehijklmnoprsuv", "ends words with the label 0, and the space of the model's alphabet is 1"),
        (" vusrponmlkjihea", "lacks 10 of the 10 words of the transcripts (a, espejo, hija, hijo, hola), so they"),
    ],
)
def test_a_scorer_for_another_alphabet_is_refused(
    labels: str, words: str, workspace: Workspace, tmp_path: Path, deepspeech: Path
) -> None:
    edited(deepspeech / "tf2_128.pb", workspace.graph, with_alphabet(*labels))
    ended = evaluated(workspace, tmp_path)
    assert (ended.code, ended.reason) == (78, "InvalidScorer")
    assert f"decoding.scorer.path: lm/es.scorer {words}" in ended.message


def test_a_hot_word_that_the_scorer_lacks_is_named(workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, hot_words={"pan": 5})
    assert (ended.code, ended.reason) == (78, "InvalidScorer")
    assert "lm/es.scorer does not contain the hot word 'pan'" in ended.message


def test_hot_words_are_measured_as_they_are_served(workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, alpha=0.93, beta=1.18, hot_words={"espejo": -100})
    assert ended.code == 0, ended.log
    results = report(workspace)["results"]
    assert any("espejo " in each["reference"] for each in results)
    assert not any("espejo " in each["hypothesis"] for each in results)
    assert any(each["hypothesis"].endswith("espejo") for each in results), "the last word is not boosted"


def test_a_scorer_is_built_from_the_transcripts(workspace: Workspace, tmp_path: Path) -> None:
    ended = evaluated(workspace, tmp_path, build={})
    assert ended.code == 0, ended.log
    assert ended.output["wer"] == 0
    built = report(workspace)["scorer"]["builtFrom"]
    assert (built["leftOut"], len(built["ngrams"])) == (0, 3)
    assert 0 < built["sentences"] <= 7, "each transcript counts once"
    assert "could not be honored" not in ended.log, "the runtime maps the automaton"


def test_a_scorer_is_built_from_a_text(workspace: Workspace, tmp_path: Path) -> None:
    text = "\ufeffOk, espejo.\r\n\nhola espejo\nla luz\nllama a mi hijo [risas]\n"
    (workspace.source / "lm" / "text.txt").write_text(text, encoding="utf-8")
    ended = evaluated(workspace, tmp_path, build={"text": "lm/text.txt", "order": 2}, hot_words={"hola": 1})
    assert ended.code == 0, ended.log
    built = report(workspace)["scorer"]["builtFrom"]
    assert (built["sentences"], built["leftOut"], built["words"], len(built["ngrams"])) == (3, 1, 7, 2)
    assert "text.txt line 4 is left out: 'z' is not in" in ended.log


@pytest.mark.parametrize(
    "content, problem",
    [
        (None, "cannot be read in the folder of the dataset (No such file or directory); copy it there"),
        ("", "has no sentence in the alphabet of the model; write one sentence per line"),
        ("12 % ;\n", "has no sentence in the alphabet of the model; write one sentence per line"),
        ("hola\n\xf1".encode("latin-1"), "is not UTF-8 after line 1; save it as UTF-8"),
        ("mi mil\n", "lacks 9 of the 10 words of the transcripts (a, espejo, hija, hijo, hola), so they are never"),
    ],
)
def test_a_text_that_gives_no_scorer_is_named(
    content: str | bytes | None, problem: str, workspace: Workspace, tmp_path: Path
) -> None:
    if content is not None:
        file = workspace.source / "lm" / "text.txt"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    ended = evaluated(workspace, tmp_path, build={"text": "lm/text.txt"})
    assert (ended.code, ended.reason) == (78, "InvalidScorer")
    assert f"decoding.scorer.build.text: lm/text.txt {problem}" in ended.message
