"""Utterances that a Kaldi data folder cuts from long recordings by their times."""

import csv
import json
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from speechmodel_api.dataset_spec import DatasetFormat, Split
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_pipeline.prepare.kaldi import read_kaldi
from speechmodel_pipeline.prepare.stage import prepare
from speechmodel_runtime import load
from speechmodel_stagekit.errors import BadData

KEY = "0000000a"
RATE = 16_000


def noise(seconds: float, seed: int) -> NDArray[np.int16]:
    """Return samples that differ everywhere, so that equal ones have equal times."""
    return np.random.default_rng(seed).integers(-9000, 9000, round(seconds * RATE)).astype(np.int16)


CALL = noise(12, 0)


def folder_with(place: Path, files: dict[str, str]) -> Path:
    """Write a data folder with the recording call.wav, 12 s."""
    place.mkdir()
    soundfile.write(place / "call.wav", CALL, RATE)
    for name, content in files.items():
        (place / name).write_text(content, encoding="utf-8")
    return place


def prepared(source: Path, workspace: Path) -> PrepareOutput:
    task: dict[str, Any] = {"format": DatasetFormat.KALDI, "language": "es", "split": Split(), "speech_level": None}
    return prepare(
        PrepareInput(key=KEY, attempt=1, workspace=PurePosixPath(workspace), source=PurePosixPath(source), **task)
    )


def registry(workspace: Path) -> list[dict[str, str]]:
    with (workspace / "data" / KEY / "registry.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def samples(workspace: Path) -> dict[str, NDArray[np.int16]]:
    """Return the samples of each clip by the id of its utterance."""
    return {
        row["id"]: load(workspace / "data" / KEY / row["clip"]) for row in registry(workspace) if not row["rejected"]
    }


def said(workspace: Path) -> list[str]:
    report = json.loads((workspace / "data" / KEY / "report.json").read_text(encoding="utf-8"))
    return [f"{each['file']} row {each['row']}: {each['message']}" for each in report["rejected"]]


TEXT = "ana-1 hola espejo\nana-2 adiós\nbo-1 enciende la luz\nbo-2 apaga la luz\n"
SPEAKERS = "ana-1 ana\nana-2 ana\nbo-1 bo\nbo-2 bo\n"
TIMES = "bo-1 call 6.0 9.0\nana-1 call 0.5 2.75\nana-2 call 2.75 4.125\nbo-2 call 8.25 -1\n"


def test_utterances_are_cut_from_a_recording_at_their_times(tmp_path: Path) -> None:
    files = {"wav.scp": "call call.wav\n", "text": TEXT, "utt2spk": SPEAKERS, "segments": TIMES}
    output = prepared(folder_with(tmp_path / "source", files), tmp_path / "w")
    clips = samples(tmp_path / "w")
    assert set(clips) == {"ana-1", "ana-2", "bo-1", "bo-2"}
    for id_, start, end in (("ana-1", 0.5, 2.75), ("ana-2", 2.75, 4.125), ("bo-1", 6, 9), ("bo-2", 8.25, 12)):
        assert np.array_equal(clips[id_], CALL[int(start * RATE) : int(end * RATE)]), f"{id_} has other samples"
    assert output.audio_seconds == pytest.approx(2.25 + 1.375 + 3 + 3.75)
    rows = {row["id"]: row for row in registry(tmp_path / "w")}
    assert (rows["ana-1"]["recording"], rows["ana-1"]["source"], rows["ana-1"]["speaker"]) == (
        "call.wav from 0.50 s to 2.75 s",
        "text",
        "ana",
    )
    assert rows["bo-2"]["recording"] == "call.wav from 8.25 s to its end"
    report = json.loads((tmp_path / "w" / "data" / KEY / "report.json").read_text(encoding="utf-8"))
    assert (report["rows"], report["recordings"], report["clips"], report["coverage"]["clips"]) == (4, 4, 4, 4)
    assert report["unnamedFiles"] == []


def test_a_cut_utterance_is_the_same_clip_as_a_file_of_it_and_other_times_are_another_dataset(tmp_path: Path) -> None:
    files = {"wav.scp": "call call.wav\n", "text": TEXT, "utt2spk": SPEAKERS}
    cut = prepared(folder_with(tmp_path / "cut", {**files, "segments": TIMES}), tmp_path / "w")
    other = TIMES.replace("2.75\n", "2.80\n")
    moved = prepared(folder_with(tmp_path / "moved", {**files, "segments": other}), tmp_path / "m")
    source = folder_with(
        tmp_path / "files", files | {"wav.scp": "".join(f"{id_} {id_}.wav\n" for id_ in samples(tmp_path / "w"))}
    )
    for id_, pcm in samples(tmp_path / "w").items():
        soundfile.write(source / f"{id_}.wav", pcm, RATE)
    apart = prepared(source, tmp_path / "a")
    assert cut.dataset_digest == apart.dataset_digest
    assert moved.dataset_digest != cut.dataset_digest


def test_wrong_rows_of_segments_are_rejected_with_their_line_and_the_others_are_used(tmp_path: Path) -> None:
    wrong = {
        "u1": ("u1 call 1.0", "has 3 cells, a row has 4: write <utterance> <recording> <start> <end>"),
        "u2": ("u2 other 1 2", "wav.scp has no row for the recording other; add one or correct this row"),
        "u3": ("u3 call 2 1.5", "u3 ends at 1.5 s, but begins at 2 s; correct the times"),
        "u4": ("u4 call 11 12.75", "u4 ends at 12.75 s, but call.wav ends after 12.00 s; correct the times, or copy the file again"),
        "u5": ("u5 call 12 13", "u5 begins at 12.00 s, but call.wav ends after 12.00 s; correct the times, or remove the row"),
        "u6": ("u6 call one 2", "has the time one, which is not a number of seconds; correct it"),
        "u7": ("u7 call 1 inf", "has the time inf, which is not a number of seconds; correct it"),
        "u8": ("u8 call -1 2", "u8 begins at -1 s, before its recording; correct the start"),
        "u9": ("good call 5 6", "good is already in row 9; give each utterance once"),
    }  # fmt: skip
    lines = [row for row, _ in wrong.values()]
    lines.insert(8, "good call 3 4.25")
    files = {
        "wav.scp": "call call.wav\n",
        "text": "good hola\nlate hola espejo\nlost adiós\n" + "".join(f"u{number} hola\n" for number in range(1, 9)),
        "segments": "".join(f"{line}\n" for line in [*lines, "late call 11 12.3"]),
    }
    source = folder_with(tmp_path / "source", files)
    prepared(source, tmp_path / "w")
    places = {f"u{number}": number + (number > 8) for number in range(1, 10)}
    expected = [f"segments row {places[id_]}: {problem}" for id_, (_, problem) in wrong.items()]
    assert said(tmp_path / "w") == [*expected, "text row 3: segments has no row for lost; add one or remove this row"]
    clips = samples(tmp_path / "w")
    assert np.array_equal(clips["good"], CALL[3 * RATE : int(4.25 * RATE)])
    assert np.array_equal(clips["late"], CALL[11 * RATE :]), "an end that is hardly beyond the file is that of the file"


def test_a_recording_of_a_wrong_row_is_not_called_unnamed(tmp_path: Path) -> None:
    files = {"wav.scp": "call call.wav\nspare spare.wav\n", "segments": "a call 2 1.5\n", "text": "a hola\n"}
    source = folder_with(tmp_path / "source", files)
    soundfile.write(source / "spare.wav", noise(1, 3), RATE)
    listing = read_kaldi(source)
    assert [rejection.row for rejection in listing.rejected] == [1]
    assert listing.unnamed_files == ("spare.wav",)


def test_an_utterance_longer_than_a_clip_is_rejected_and_so_is_one_without_audio(tmp_path: Path) -> None:
    files = {
        "wav.scp": "call call.wav\nlong long.wav\n",
        "text": "a hola\nb adiós\nc luz\nd espejo\n",
        "segments": "a long 0.5 31\nb long 3 -1\nc call 1 1.00001\nd call 2 3\n",
    }
    source = folder_with(tmp_path / "source", files)
    soundfile.write(source / "long.wav", noise(40, 1), RATE)
    prepared(source, tmp_path / "w")
    longer = "is longer than 30 s; divide it into shorter utterances"
    assert said(tmp_path / "w")[:2] == [f"segments row 1: a {longer}", f"segments row 2: b {longer}"]
    assert "text row 3: call.wav from 1.00 s to 1.00 s is too short for its transcript" in said(tmp_path / "w")[2]
    assert set(samples(tmp_path / "w")) == {"d"}


def test_the_channel_of_an_utterance_is_that_of_its_recording(tmp_path: Path) -> None:
    files = {
        "wav.scp": "call-A both.wav\ncall-B both.wav\nmono call.wav\n",
        "reco2file_and_channel": "call-A both A\ncall-B both B\nmono call B\n",
        "segments": "a call-A 0 1.5\nb call-B 0 1.5\nc mono 0 1\n",
        "text": "a hola\nb adiós\nc luz\n",
    }
    source = folder_with(tmp_path / "source", files)
    left, right = noise(2, 1), noise(2, 2)
    soundfile.write(source / "both.wav", np.stack([left, right], axis=1), RATE)
    prepared(source, tmp_path / "w")
    clips = samples(tmp_path / "w")
    assert np.array_equal(clips["a"], left[: 3 * RATE // 2]) and np.array_equal(clips["b"], right[: 3 * RATE // 2])
    assert said(tmp_path / "w") == [
        "text row 3: call.wav: has 1 channel, and channel 2 is not among them; correct the channel"
    ]
    (source / "reco2file_and_channel").write_text("call-A both C\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"reco2file_and_channel row 1: call-A has the channel C; write .* A or B"):
        prepared(source, tmp_path / "v")


def test_parts_of_a_recording_without_a_text_are_named_and_utterances_before_damage_are_used(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    files = {
        "wav.scp": "call call.wav\nlost gone.wav\nspare spare.wav\nflac call.flac\n",
        "segments": "a call 0 1\nb call 1 2\nc lost 0 1\nd flac 0 1\ne flac 10 11\n",
        "text": "a hola\nc adiós\nd luz\ne espejo\n",
    }
    source = folder_with(tmp_path / "source", files)
    soundfile.write(source / "spare.wav", noise(1, 3), RATE)
    soundfile.write(source / "call.flac", noise(12, 4), RATE)
    content = (source / "call.flac").read_bytes()
    (source / "call.flac").write_bytes(content[: len(content) // 2])
    prepared(source, tmp_path / "w")
    named = [line for line in caplog.messages if line.startswith("no row names the recording")]
    assert named == [
        f"no row names the recording {name}; add a row or delete it"
        for name in ("call.wav from 1.00 s to 2.00 s", "spare.wav")
    ]
    assert set(samples(tmp_path / "w")) == {"a", "d"}
    rejected = said(tmp_path / "w")
    assert (
        rejected[0] == "text row 2: the recording gone.wav is missing; paths are relative to the folder of the dataset"
    )
    assert len(rejected) == 2 and rejected[1].startswith(("text row 4: call.flac", "segments row 5: e"))
