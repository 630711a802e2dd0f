"""`make quality`: whose recordings are left out, and what counts as right, wrong and rejected."""

from collections import Counter
from pathlib import Path

import pytest
from bench.quality import Model, Take, read_takes, row
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_runtime import load
from support.places import FIXTURES

pytestmark = pytest.mark.usefixtures("tensorflow_device")

LABELS = tuple(" aehijklmnoprsuv")
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


def test_a_clip_is_the_likeliest_transcript() -> None:
    model = Model(FIXTURES / "tf2_128.pb", LABELS)
    assert model.recognise(load(CLIP), ["ola espejo", "ok espejo", "ok espeja"]) == "ok espejo"
    assert model.recognise(load(CLIP), ["ola", "pon"]) in {"ola", "pon"}


def test_a_clip_is_rejected_when_the_catch_all_label_is_likelier() -> None:
    labels = tuple(CATCH_ALL if label == "v" else label for label in LABELS)
    model = Model(FIXTURES / "tf2_128.pb", labels)
    assert model.recognise(load(CLIP), ["ok espejo"]) == "ok espejo"
    assert model.recognise(load(CLIP), ["ok espejo ok espejo ok espejo ok espejo"]) == ""


def test_a_row_has_the_shares_of_the_clips(capsys: pytest.CaptureFixture[str]) -> None:
    row("anna", "SpeechModel", "as recorded", Counter({"right": 6, "wrong": 1, "rejected": 1}))
    assert capsys.readouterr().out == "| anna | SpeechModel | as recorded | 8 | 75.0 % | 12.5 % | 12.5 % |\n"
