"""The format DeepSpeechCSV: parts as their files say."""

import unicodedata
from pathlib import Path

import pytest
from speechmodel_pipeline.prepare.deepspeech_csv import read_deepspeech
from speechmodel_stagekit.errors import BadData


def test_parts_are_what_the_files_say_and_paths_are_relative_to_them(tmp_path: Path) -> None:
    (tmp_path / "clips").mkdir()
    for name in ("a", "b"):
        (tmp_path / "clips" / f"{name}.wav").touch()
    (tmp_path / "train.csv").write_text("wav_filename,wav_filesize,transcript\nclips/a.wav,1,hola\n")
    (tmp_path / "test.csv").write_text(f"transcript,wav_filename\nadiós,{tmp_path}/clips/b.wav\n")
    listing = read_deepspeech(tmp_path)
    assert [(recording.part, recording.name, recording.transcript) for recording in listing.recordings] == [
        ("train", "clips/a.wav", "hola"),
        ("test", "clips/b.wav", "adiós"),
    ]


def test_a_missing_recording_is_rejected_by_file_and_row(tmp_path: Path) -> None:
    long_name = "x" * 5000 + ".wav"
    (tmp_path / "train.csv").write_text(
        f"wav_filename,transcript\ngone.wav,hola\n/gone.wav,hola\n{long_name},hola\n,hola\n"
    )
    listing = read_deepspeech(tmp_path)
    assert [(rejection.file, rejection.row, rejection.reason) for rejection in listing.rejected] == [
        ("train.csv", row, "NoRecording") for row in (2, 3, 4, 5)
    ]
    assert "paths are relative to the CSV file" in listing.rejected[0].message
    assert "use a path relative to the CSV file" in listing.rejected[1].message


@pytest.mark.parametrize("name", ["../secret.wav", "clips/../../secret.wav", "/secret.wav", "..\\\\secret.wav"])
def test_a_bucket_names_no_files_outside_of_itself(name: str, tmp_path: Path) -> None:
    source = tmp_path / "source"
    (source / "clips").mkdir(parents=True)
    for path in (tmp_path / "secret.wav", source / "clips/a.wav"):
        path.touch()
    name = f"{tmp_path}{name}" if name.startswith("/") else name
    (source / "train.csv").write_text(f"wav_filename,transcript\nclips/a.wav,hola\n{name},hola\n")
    assert len(read_deepspeech(source).recordings) == 2
    bucket = read_deepspeech(source, only_inside=True)
    assert [recording.name for recording in bucket.recordings] == ["clips/a.wav"]
    (left,) = bucket.rejected
    assert (left.row, left.reason) == (3, "NoRecording")
    assert f"the recording {name} is outside of the folder of the dataset; use a path relative" in left.message


def test_without_train_csv_the_dataset_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").touch()
    with pytest.raises(BadData, match=r"train.csv is missing; in .* there is dev.csv"):
        read_deepspeech(tmp_path)


def test_without_a_column_the_dataset_is_invalid(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("path,sentence\n")
    with pytest.raises(BadData, match=r"train.csv has no column wav_filename; its header has: path, sentence"):
        read_deepspeech(tmp_path)


def test_columns_are_found_in_any_case_and_behind_any_delimiter(tmp_path: Path) -> None:
    (tmp_path / "a.wav").touch()
    (tmp_path / "train.csv").write_text("sep=;\nTranscript;WAV_FILENAME\nhola, espejo;a.wav\n", encoding="utf-8")
    (recording,) = read_deepspeech(tmp_path).recordings
    assert (recording.transcript, recording.id, recording.row) == ("hola, espejo", "a.wav", 3)


def test_a_name_in_another_form_of_unicode_or_case_of_its_ending_is_found(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "canción")
    (tmp_path / decomposed).mkdir()
    (tmp_path / decomposed / f"{decomposed}.WAV").touch()
    (tmp_path / "train.csv").write_text("wav_filename,transcript\ncanción\\canción.wav,hola\n", encoding="utf-8")
    (recording,) = read_deepspeech(tmp_path).recordings
    assert recording.path == tmp_path / decomposed / f"{decomposed}.WAV"
