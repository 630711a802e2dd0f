"""`make quality`: whose recordings are left out, and what counts as right, wrong and rejected."""

import shutil
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from bench.quality import (
    CONDITIONS,
    MARGIN,
    Model,
    Take,
    left_out,
    main,
    measure,
    measure_other,
    read_takes,
    recordings_in,
    row,
)
from speechmodel_api.stages.decoders import Calibration
from speechmodel_decoding import AcousticModel, Recogniser
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES

pytestmark = pytest.mark.usefixtures("tensorflow_device")

LABELS = tuple(" aehijklmnoprsuv")
LEVEL = -16.6
"""Loudness of CLIP as it was trained on, in dBFS."""
CLIP = FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"


def recordings(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


def test_speakers_are_in_the_names_of_the_files(tmp_path: Path) -> None:
    folder = recordings(tmp_path, "0_anna_3.wav", "turn-on_bert_0.flac", "notes.txt")
    assert read_takes(folder, {"0": "zero"}) == [
        Take(folder / "0_anna_3.wav", "anna", "zero"),
        Take(folder / "turn-on_bert_0.flac", "bert", "turn on"),
    ]


def test_or_every_speaker_has_a_folder(tmp_path: Path) -> None:
    folder = recordings(tmp_path, "anna/turn-on_1.wav", "bert/0.wav")
    takes = [(take.speaker, take.words) for take in read_takes(folder, {})]
    assert takes == [("anna", "turn on"), ("bert", "0")]


def test_a_file_without_a_speaker_is_named(tmp_path: Path) -> None:
    with pytest.raises(SystemExit, match=r"0_3.wav: is not named <id>_<speaker>_<take>"):
        read_takes(recordings(tmp_path, "0_3.wav"), {})


def test_recordings_are_the_files_that_prepare_reads(tmp_path: Path) -> None:
    folder = recordings(tmp_path, "0_anna_1.WAV", "0_anna_2.m4a", "0_anna_3.opus", ".0_anna_4.wav", "0_anna_5.txt")
    assert [take.path.name for take in read_takes(folder, {})] == ["0_anna_1.WAV", "0_anna_2.m4a", "0_anna_3.opus"]
    with pytest.raises(SystemExit, match=r"gone: cannot be read \(No such file or directory\); name a folder"):
        recordings_in(tmp_path / "gone")


@pytest.mark.parametrize("bad", ["takes", "foreign"])
def test_recordings_that_cannot_be_read_are_named_before_anything_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bad: str
) -> None:
    for name in ("takes/0_anna_1.wav", "takes/0_bert_1.wav", "foreign/radio.wav"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(CLIP, tmp_path / name)
    recordings(tmp_path / bad, "0_bert_2.wav", "0_bert_3.mp3")
    monkeypatch.setattr(sys, "argv", ["quality", str(tmp_path / "takes"), "--foreign", str(tmp_path / "foreign")])
    with pytest.raises(SystemExit) as ended:
        main()
    first, *named = str(ended.value).splitlines()
    assert first == "2 recordings cannot be measured; replace or remove them:"
    assert [line.split(": ")[0] for line in named] == [str(tmp_path / bad / f"0_bert_{n}") for n in ("2.wav", "3.mp3")]


def test_speakers_are_left_out_alone_or_together() -> None:
    assert left_out(None, ["a", "b", "c"], 1) == [["a"], ["b"], ["c"]]
    assert left_out(None, ["a", "b", "c"], 2) == [["a", "b"], ["c"]]
    assert left_out(["a,c", "b"], ["a", "b", "c"], 1) == [["a", "c"], ["b"]]


def test_an_unknown_speaker_is_named_and_somebody_is_left_to_train_on() -> None:
    with pytest.raises(SystemExit, match="there is no speaker bob, but a, b"):
        left_out(["a,bob"], ["a", "b"], 1)
    with pytest.raises(SystemExit, match="leaves nobody to train on"):
        left_out(None, ["a", "b"], 2)


def model(folder: Path, *, threshold: float) -> Model:
    export_acoustic_model(FIXTURES / "tf2_128.pb", folder / "acoustic.onnx")
    grammar = compile_grammar(["ola espejo", "ok espejo"], LABELS)
    calibration = Calibration(threshold=threshold, offset=0, slope=1, word_offset=0, word_slope=1)
    return Model(Recogniser(AcousticModel(folder / "acoustic.onnx"), grammar, calibration), LEVEL, ())


def test_a_clip_is_the_phrase_that_a_server_would_answer_with(tmp_path: Path) -> None:
    assert model(tmp_path, threshold=-1).recognise(load(CLIP), []) == "ok espejo"


def test_a_faint_clip_is_brought_to_the_level_of_training(tmp_path: Path) -> None:
    faint = (load(CLIP) // 50).astype(np.int16)
    assert model(tmp_path, threshold=-1).recognise(faint, []) == "ok espejo"


def test_a_clip_below_the_threshold_is_rejected(tmp_path: Path) -> None:
    assert model(tmp_path, threshold=0).recognise(load(CLIP), []) == ""


def test_a_speaker_is_measured_in_every_condition_and_words_that_are_none_beside(
    capsys: pytest.CaptureFixture[str],
) -> None:
    takes = [Take(CLIP, "anna", "ok espejo")]
    measure("anna", "an engine", lambda pcm, words: "ok espejo", takes, [CLIP], ["ok espejo"])
    measure_other("anna", "an engine", "foreign", lambda pcm, words: "ok espejo", [CLIP], ["ok espejo"])
    *conditions, foreign = capsys.readouterr().out.splitlines()
    assert len(conditions) == len(CONDITIONS)
    assert all(line.endswith("| 1 | 100.0 % | 0.0 % | 0.0 % |") for line in conditions)
    assert foreign == "| anna | an engine | foreign | 1 | 0.0 % | 100.0 % | 0.0 % |"


def test_babble_is_around_the_words_too_and_nothing_is_around_those_as_recorded() -> None:
    heard: list[Pcm] = []

    def recognise(pcm: Pcm, words: Sequence[str]) -> str:
        heard.append(pcm)
        return ""

    measure("anna", "an engine", recognise, [Take(CLIP, "anna", "ok espejo")], [CLIP], ["ok espejo"])
    silent = {name: not pcm[:MARGIN].any() for name, pcm in zip(CONDITIONS, heard, strict=True)}
    assert (silent["as recorded"], silent["babble 20 dB"]) == (True, False)


def test_a_row_has_the_shares_of_the_clips(capsys: pytest.CaptureFixture[str]) -> None:
    row("anna", "SpeechModel", "as recorded", Counter({"right": 6, "wrong": 1, "rejected": 1}))
    assert capsys.readouterr().out == "| anna | SpeechModel | as recorded | 8 | 75.0 % | 12.5 % | 12.5 % |\n"
