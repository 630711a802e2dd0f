"""prepare as the operator runs it: a folder of recordings in, a dataset or a report of what is wrong out."""

import csv
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.base import Document
from speechmodel_api.dataset_spec import (
    Annotations,
    DatasetFormat,
    InvalidSamplePolicy,
    Negatives,
    Numbers,
    Split,
    SplitBy,
    Synthesis,
)
from speechmodel_api.decoding_spec import GrammarSource
from speechmodel_api.stages.contract import RESULT_LIMIT, StageResult
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.stages.prepare import PrepareInput, PrepareOutput
from speechmodel_pipeline.prepare.stage import prepare
from speechmodel_pipeline.prepare.words import with_unusable_words
from speechmodel_runtime import load, loudness
from speechmodel_stagekit.alphabet import read_alphabet
from speechmodel_stagekit.dataset import Part, open_dataset
from speechmodel_stagekit.errors import BadData
from speechmodel_stagekit.program import encode_result
from support.programs import run_program
from support.tones import loudest_hertz, tone
from support.users import unprivileged_folder

KEY = "0000000a"


def task(source: Path, workspace: Path, **more: Any) -> PrepareInput:
    given: dict[str, Any] = {"format": DatasetFormat.COMMANDS, "language": "es", "split": Split(), **more}
    return PrepareInput(key=KEY, attempt=1, workspace=PurePosixPath(workspace), source=PurePosixPath(source), **given)


def commands(source: Path, transcripts: Mapping[str, str], language: str = "es") -> Path:
    source.mkdir(parents=True, exist_ok=True)
    with (source / "commands.csv").open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("id", language), *transcripts.items()])
    return source


def tones(source: Path, count: int, language: str = "es") -> Path:
    for number in range(count):
        tone(source / "original" / language / f"{number}.wav", 300 + 10 * number)
    return commands(
        source, {str(number): f"Frase de {'abcdefghij'[number % 10]}." for number in range(count)}, language
    )


def dataset(workspace: Path) -> Path:
    return workspace / "data" / KEY


def report(workspace: Path) -> dict[str, Any]:
    read: dict[str, Any] = json.loads((dataset(workspace) / "report.json").read_text(encoding="utf-8"))
    return read


def table(workspace: Path, name: str) -> list[dict[str, str]]:
    with (dataset(workspace) / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_whole_speakers_are_held_out_and_the_report_says_where_their_names_are_from(tmp_path: Path) -> None:
    for number, (phrase, who) in enumerate((phrase, who) for phrase in "abc" for who in ("an", "bo", "cy", "di")):
        tone(tmp_path / "source/original/es" / f"{phrase}_{who}.wav", 300 + 10 * number)
    source = commands(tmp_path / "source", {phrase: f"frase {phrase}" for phrase in "abc"})
    output = prepare(task(source, tmp_path / "w"))
    assert (output.speakers, output.unseen_test_speakers) == (4, 1)
    assert (output.train_clips, output.dev_clips, output.test_clips) == (6, 3, 3)
    parts: dict[str, set[str]] = {}
    for row in table(tmp_path / "w", "registry.csv"):
        parts.setdefault(row["speaker"], set()).add(row["part"])
        assert row["recording"].endswith(f"_{row['speaker']}.wav")
    assert sorted(parts.values(), key=str) == [{"dev"}, {"test"}, {"train"}, {"train"}]
    found = report(tmp_path / "w")
    assert found["speakersFrom"] == "Guessed"
    assert [speaker["speaker"] for speaker in found["speakers"]] == ["an", "bo", "cy", "di"]
    assert sum(speaker["parts"]["test"] for speaker in found["speakers"]) == 3


@pytest.mark.parametrize("backwards", [False, True])
def test_a_speaker_who_is_written_in_several_ways_is_one_person(
    backwards: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    written = {"a": ("ana  b", "Bo", "Cy"), "b": ("Ana B", "BO", "Cy"), "c": ("Ana B", "Bo", "Cy")}
    rows = [
        (f"{phrase}{take}", f"frase {phrase}", who)
        for phrase, names in written.items()
        for take, who in enumerate(names)
    ]
    for number, (id_, _, _) in enumerate(rows):
        tone(tmp_path / "source/original/es" / f"{id_}.wav", 300 + 10 * number)
    lines = ["id,es,speaker", *map(",".join, reversed(rows) if backwards else rows)]
    (tmp_path / "source/commands.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    output = prepare(task(tmp_path / "source", tmp_path / "w"))
    assert (output.speakers, output.unseen_test_speakers) == (3, 1)
    assert {speaker["speaker"] for speaker in report(tmp_path / "w")["speakers"]} == {"Ana B", "Bo", "Cy"}
    assert "these names count as one speaker, 'Ana B': 'Ana B', 'ana  b'" in caplog.messages


def test_speakers_that_are_named_later_change_their_digest_and_not_that_of_the_dataset(tmp_path: Path) -> None:
    for number, (phrase, who) in enumerate((phrase, who) for phrase in "abc" for who in ("an", "bo")):
        tone(tmp_path / "source/original/es" / f"{phrase}-{who}.wav", 300 + 10 * number)
    source = commands(tmp_path / "source", {phrase: f"frase {phrase}" for phrase in "abc"})
    split = Split(by=SplitBy.CLIP)
    unnamed = prepare(task(source, tmp_path / "w", split=split, name_pattern="{id}-{}"))
    named = prepare(task(source, tmp_path / "v", split=split, name_pattern="{id}-{speaker}"))
    assert (unnamed.speakers, unnamed.speakers_digest, named.speakers) == (0, None, 2)
    assert named.speakers_digest is not None and named.dataset_digest == unnamed.dataset_digest


def test_a_messy_dataset_gives_a_report_by_row_and_uses_the_good_rows(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "original" / "es"
    tone(folder / "1.wav", 400)
    tone(folder / "3.flac", 500, rate=44_100, channels=2, subtype="PCM_24")
    tone(folder / "4.wav", 600)
    (folder / "5.wav").write_bytes(b"")
    (folder / "6.wav").write_text("this is not a recording")
    tone(folder / "8.wav", 800)
    tone(folder / "stray.wav", 900)
    (tmp_path / "source" / "commands.csv").write_text(
        "id,es\n1,Ok Espejo\n2,hola espejo\n3,¿Qué hora es?\n4,\n5,hola\n6,hola\nthis is not csv\n8,llama al 112\n",
        encoding="utf-8",
    )
    ended = run_program("prepare", task(tmp_path / "source", tmp_path / "work"), tmp_path)
    assert ended.code == 0, ended.log
    assert sum(ended.output[f"{part}Clips"] for part in ("train", "dev", "test")) == 2
    assert (ended.output["rejected"], ended.output["normalised"]) == (6, 2)
    assert ended.output["note"].startswith("6 rejected; first: commands.csv row 3: no recording of 2")
    found = report(tmp_path / "work")
    assert [(left["row"], left["reason"]) for left in found["rejected"]] == [
        (3, "NoRecording"),
        (5, "EmptyTranscript"),
        (6, "EmptyAudio"),
        (7, "NotAudio"),
        (8, "MalformedRow"),
        (9, "NotSpelledOut"),
    ]
    assert [(change["given"], change["used"]) for change in found["normalised"]] == [
        ("Ok Espejo", "ok espejo"),
        ("¿Qué hora es?", "qué hora es"),
    ]
    assert found["unnamedFiles"] == ["original/es/stray.wav"]
    assert {(kind["sampleRate"], kind["channels"], kind["format"]) for kind in found["audio"]} == {
        (16_000, 1, "WAV PCM_16"),
        (44_100, 2, "FLAC PCM_24"),
    }
    registry = table(tmp_path / "work", "registry.csv")
    assert [(row["row"], row["rejected"], row["transcript"]) for row in registry] == [
        ("2", "", "ok espejo"),
        ("3", "NoRecording", ""),
        ("4", "", "qué hora es"),
        ("5", "EmptyTranscript", ""),
        ("6", "EmptyAudio", ""),
        ("7", "NotAudio", ""),
        ("8", "MalformedRow", ""),
        ("9", "NotSpelledOut", ""),
    ]
    assert (ended.progress[0].done, ended.progress[-1].done) == (0, ended.progress[-1].total)


def test_a_dataset_without_a_good_row_is_invalid_and_not_retried(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "hola", "2": "llama al 112"})
    tone(source / "original" / "es" / "2.wav")
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert (ended.code, ended.reason) == (65, "InvalidDataset")
    assert ended.message.startswith(
        "no usable row is left: 2 rejected of 2 rows; commands.csv row 2: no recording of 1"
    )
    assert not dataset(tmp_path / "work").exists()


def test_with_policy_fail_one_bad_row_is_enough_and_is_named(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 3)
    (source / "original" / "es" / "1.wav").unlink()
    with pytest.raises(BadData, match=r"1 rejected of 3 rows and invalidSamplePolicy is Fail; commands.csv row 3"):
        prepare(task(source, tmp_path / "work", invalid_sample_policy=InvalidSamplePolicy.FAIL))


@pytest.mark.parametrize(
    ("name", "rate", "channels", "subtype"),
    [
        ("telephone.wav", 8_000, 1, "ULAW"),
        ("old.wav", 8_000, 1, "PCM_U8"),
        ("studio.wav", 96_000, 2, "FLOAT"),
        ("phone.mp3", 44_100, 1, "MPEG_LAYER_III"),
        ("phone.ogg", 48_000, 2, "VORBIS"),
        ("six.flac", 48_000, 6, "PCM_16"),
        ("plain.wav", 16_000, 1, "PCM_16"),
    ],
)
def test_any_recording_becomes_a_clip_of_16_khz_mono_16_bit(
    name: str, rate: int, channels: int, subtype: str, tmp_path: Path
) -> None:
    source = commands(tmp_path / "source", {name: "hola"})
    tone(source / "original" / "es" / name, 1_000, seconds=2, rate=rate, channels=channels, subtype=subtype)
    assert prepare(task(source, tmp_path / "work")).train_clips == 1
    clip = dataset(tmp_path / "work") / table(tmp_path / "work", "train.csv")[0]["wav_filename"]
    info, pcm = soundfile.info(clip), load(clip)
    assert (info.samplerate, info.channels, info.subtype) == (16_000, 1, "PCM_16")
    assert abs(len(pcm) / 16_000 - 2) < 0.1
    assert abs(loudest_hertz(pcm) - 1_000) < 5
    assert 10_000 < pcm.max() < 15_000  # 0.4 of full scale: neither clipped nor lost


def test_equal_content_has_an_equal_digest_whatever_names_order_and_place(tmp_path: Path) -> None:
    first = tones(tmp_path / "first", 8)
    second = tmp_path / "elsewhere" / "second"
    names = {str(number): f"voice_{9 - number}" for number in range(8)}
    for old, new in names.items():
        target = second / "original" / "es" / f"{new}.wav"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(first / "original" / "es" / f"{old}.wav", target)
    commands(second, {new: f"frase de {'abcdefghij'[int(old)]}" for old, new in reversed(names.items())})
    digests = {prepare(task(source, tmp_path / source.name)).dataset_digest for source in (first, second)}
    assert len(digests) == 1


@pytest.mark.parametrize("change", ["transcript", "audio", "seed", "alphabet"])
def test_other_content_has_another_digest(change: str, tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 8)
    before = prepare(task(source, tmp_path / "before"))
    more: dict[str, Any] = {}
    if change == "transcript":
        commands(source, {str(number): "otra frase" for number in range(8)})
    elif change == "audio":
        tone(source / "original" / "es" / "3.wav", 2_000)
    elif change == "seed":
        more["split"] = Split(seed=7)
    else:
        more["alphabet"] = tuple(" .abcdefghijklmnopqrstuvwxyzF")
    assert prepare(task(source, tmp_path / "after", **more)).dataset_digest != before.dataset_digest


def test_clips_keep_their_part_when_others_are_added(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 50)  # fewer are divided by their number
    prepare(task(source, tmp_path / "few"))
    tones(source, 60)
    prepare(task(source, tmp_path / "many"))
    few, many = (
        {row["sha256"]: row["part"] for row in table(tmp_path / name, "registry.csv")} for name in ("few", "many")
    )
    assert len(few) == 50 and len(many) == 60
    assert few.items() <= many.items()
    assert set(many.values()) == {"train", "dev", "test"}


def test_a_recording_counts_once_and_contradictions_are_named(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "hola", "2": "hola", "3": "adiós"})
    for name in ("1.wav", "2.wav", "3.wav"):
        tone(source / "original" / "es" / name)
    assert prepare(task(source, tmp_path / "work")).train_clips == 1
    first, second = report(tmp_path / "work")["rejected"]
    assert (first["reason"], first["row"], second["row"]) == ("DuplicateRecording", 3, 4)
    assert "2.wav is the same recording as original/es/1.wav (commands.csv row 2); delete one" in first["message"]
    assert "but another transcript ('hola')" in second["message"]
    assert [each["phrase"] for each in report(tmp_path / "work")["coverage"]["phrases"]] == ["adiós", "hola"]
    assert "5 takes of 'adiós' (no usable one so far)" in report(tmp_path / "work")["coverage"]["recordNext"]


def test_several_recordings_of_a_row_are_all_used(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "Hola."})
    for number, name in enumerate(("1.wav", "1_b.wav", "1/c.wav")):
        tone(source / "original" / "es" / name, 400 + 50 * number)
    output = prepare(task(source, tmp_path / "work"))
    assert output.train_clips + output.dev_clips + output.test_clips == 3
    assert output.normalised == 1


def test_commands_with_one_take_each_say_that_some_are_not_trained(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {str(number): "a" * (number + 1) for number in range(6)})
    for number in range(6):
        tone(source / "original" / "es" / f"{number}.wav", 400 + 50 * number)
    output = prepare(task(source, tmp_path / "work"))
    assert output.note == "training never hears 2 phrases, whose only takes are in test or dev"
    assert report(tmp_path / "work")["coverage"]["recordNext"][0].startswith("another take of 'a")


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_phrases_with_one_take_each_are_trained_by_their_synthetic_takes(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {str(number): "a" * (number + 1) for number in range(6)})
    for number in range(6):
        tone(source / "original" / "es" / f"{number}.wav", 400 + 50 * number)
    output = prepare(task(source, tmp_path / "work", synthesize=Synthesis(takes_per_phrase=2)))
    assert output.note == ""
    assert not any("training has none" in each for each in report(tmp_path / "work")["coverage"]["recordNext"])


def test_a_refused_transcript_is_reported_once_for_all_recordings_of_its_row(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "llama al 112", "2": "hola"})
    names = [f"original/es/1_{number}.wav" for number in range(4)]
    for number, name in enumerate(names):
        tone(source / name, 400 + 50 * number)
    tone(source / "original" / "es" / "2.wav", 900)
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert ended.output["rejected"] == 1
    (left,) = report(tmp_path / "work")["rejected"]
    assert (left["row"], left["recordings"]) == (2, names)
    assert left["message"].endswith("or set dataset.numbers to Spell (4 recordings)")
    registry = table(tmp_path / "work", "registry.csv")
    assert [(row["recording"], row["rejected"]) for row in registry] == [
        *((name, "NotSpelledOut") for name in names),
        ("original/es/2.wav", ""),
    ]


def test_no_more_rows_are_counted_as_rejected_than_there_are(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "hola"})
    for number in range(3):
        tone(source / "original" / "es" / f"1_{number}.wav").write_bytes(b"")
    with pytest.raises(BadData, match=r"no usable row is left: 1 rejected of 1 rows; .*1_0\.wav.*1_2\.wav"):
        prepare(task(source, tmp_path / "work"))


def test_the_registry_says_of_every_clip_how_it_was_recorded(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "hola", "2": "hola", "3": "hola", "4": ""})
    tone(source / "original" / "es" / "1.wav", 400)
    tone(source / "original" / "es" / "2.wav", 500, rate=44_100, channels=2)
    tone(source / "original" / "es" / "3.flac", 600, rate=48_000, subtype="PCM_24")
    tone(source / "original" / "es" / "4.wav", 700)
    prepare(task(source, tmp_path / "work"))
    assert [row["recorded_as"] for row in table(tmp_path / "work", "registry.csv")] == [
        "16000 Hz, 1 channel, WAV PCM_16",
        "44100 Hz, 2 channels, WAV PCM_16",
        "48000 Hz, 1 channel, FLAC PCM_24",
        "",
    ]


def test_what_cannot_be_trained_is_rejected_with_its_numbers(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "original" / "es"
    tone(folder / "good.wav")
    tone(folder / "short.wav", 500, seconds=0.3)
    tone(folder / "click.wav", 500, seconds=0.02)
    tone(folder / "long.wav", 500, seconds=31, rate=8_000)
    soundfile.write(folder / "silent.wav", np.full(8_000, 0.0002), 8_000, subtype="ALAW")
    source = commands(
        tmp_path / "source",
        {"good": "hola", "short": "llama a mi hija", "click": "a", "long": "hola", "silent": "hola"},
    )
    prepare(task(source, tmp_path / "work"))
    messages = {left["id"]: (left["reason"], left["message"]) for left in report(tmp_path / "work")["rejected"]}
    assert {name: reason for name, (reason, _) in messages.items()} == {
        "short": "TooShort",
        "click": "TooShort",
        "long": "TooLong",
        "silent": "Silent",
    }
    assert "0.30 s are 15 frames, 'llama a mi hija' needs 16" in messages["short"][1]
    assert "longer than 30 s" in messages["long"][1]


def test_one_broken_recording_never_costs_the_others(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "original" / "es"
    tone(folder / "good.wav")
    soundfile.write(folder / "click.wav", np.full(1, 9000, np.int16), 44_100)
    soundfile.write(folder / "absurd.wav", np.full(100, 9000, np.int16), 1_000_000_000)
    source = commands(tmp_path / "source", {"click": "hola", "absurd": "hola", "good": "hola"})
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert ended.code == 0, ended.log
    assert (ended.output["trainClips"], ended.output["rejected"]) == (1, 2)
    assert [(left["id"], left["reason"]) for left in report(tmp_path / "work")["rejected"]] == [
        ("click", "EmptyAudio"),
        ("absurd", "NotAudio"),
    ]


@pytest.mark.parametrize(
    ("language", "written", "labels"),
    [
        ("es", ["¿Qué hora es?", "¡Mañana!"], " aehmnoqrsuéñ"),
        ("ru", ["Привет, Зеркало!", "Ещё раз."], " авезиклопртщё"),
        ("ca", ["L'Anna", "Col·lecció"], " 'aceilno·ó"),
    ],
)
def test_the_alphabet_is_derived_with_the_space_and_sorted_by_code_point(
    language: str, written: list[str], labels: str, tmp_path: Path
) -> None:
    source = commands(tmp_path / "source", {str(number): text for number, text in enumerate(written)}, language)
    for number in range(len(written)):
        tone(source / "original" / language / f"{number}.wav", 400 + 100 * number)
    output = prepare(task(source, tmp_path / "work", language=language))
    assert "".join(read_alphabet(dataset(tmp_path / "work") / "alphabet.txt")) == labels
    assert output.labels == len(labels)


def test_annotations_are_stripped_and_numbers_spelled_if_that_is_asked_for(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"0": "[risas] Hola.", "1": "pon 5 minutos", "2": "привeт"})
    for number in range(3):
        tone(source / "original" / "es" / f"{number}.wav", 400 + 100 * number)
    prepare(task(source, tmp_path / "work"))
    assert [left["reason"] for left in report(tmp_path / "work")["rejected"]] == ["Annotation", "NotSpelledOut"]
    prepare(task(source, tmp_path / "more", annotations=Annotations.STRIP, numbers=Numbers.SPELL))
    found = report(tmp_path / "more")
    assert [(change["used"], change["rules"]) for change in found["normalised"]] == [
        ("hola", ["Annotation", "LowerCase", "Punctuation", "WhiteSpace"]),
        ("pon cinco minutos", ["Numbers"]),
        ("привет", ["Script"]),
    ]


def test_a_given_alphabet_is_used_in_its_order_and_decides_what_is_rejected(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"1": "Ok", "2": "niña"})
    for name in ("1.wav", "2.wav"):
        tone(source / "original" / "es" / name, 400 if name == "1.wav" else 500)
    made = prepare(task(source, tmp_path / "work", alphabet=tuple("kOan #")))
    assert made.given_alphabet == tuple("kOan #")
    assert read_alphabet(dataset(tmp_path / "work") / "alphabet.txt") == tuple("kOan #")
    assert table(tmp_path / "work", "train.csv")[0]["transcript"] == "Ok"
    (left,) = report(tmp_path / "work")["rejected"]
    assert left["reason"] == "OutsideAlphabet" and "'i', 'ñ' are not in dataset.alphabet" in left["message"]


def test_negatives_are_trained_as_a_label_of_their_own_and_are_no_clips_of_the_dataset(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 40)
    output = prepare(task(source, tmp_path, negatives=Negatives()))
    assert (output.train_clips + output.dev_clips + output.test_clips, report(tmp_path)["clips"]) == (40, 40)
    alphabet = read_alphabet(dataset(tmp_path) / "alphabet.txt")
    assert alphabet == (*sorted(set("frase de abcdefghij")), CATCH_ALL)
    assert output.labels == len(alphabet)
    trained, apart = (
        sum(row["transcript"] == CATCH_ALL for row in table(tmp_path, name)) for name in ("train.csv", "negatives.csv")
    )
    assert trained == output.train_clips // 4
    assert trained + apart == output.negatives == report(tmp_path)["negatives"]


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_synthetic_takes_are_trained_on_and_are_no_clips_of_the_dataset(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 40)
    output = prepare(task(source, tmp_path, synthesize=Synthesis(takes_per_phrase=2)))
    assert (output.train_clips + output.dev_clips + output.test_clips, report(tmp_path)["clips"]) == (40, 40)
    assert output.synthesized == report(tmp_path)["synthesized"] == 20
    assert len(table(tmp_path, "train.csv")) == output.train_clips + 20
    added = [row for row in table(tmp_path, "registry.csv") if row["source"] == "synthetic takes"]
    assert [row["part"] for row in added] == ["train"] * 20
    assert all(row["recorded_as"] == "16000 Hz, 1 channel, espeak-ng" for row in added)


@pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")
def test_near_misses_of_the_takes_are_negatives_in_training(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 40)
    output = prepare(task(source, tmp_path, synthesize=Synthesis(takes_per_phrase=2), negatives=Negatives()))
    trained = [row["transcript"] for row in table(tmp_path, "train.csv")]
    near = [transcript for transcript in trained if CATCH_ALL in transcript.split() and transcript != CATCH_ALL]
    assert (len(near), output.synthesized) == (10, 20)
    negatives = [*trained, *(row["transcript"] for row in table(tmp_path, "negatives.csv"))]
    assert output.negatives == sum(CATCH_ALL in transcript for transcript in negatives)


def test_ready_made_parts_are_kept_and_none_is_measured_with_what_it_was_trained_on(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for number in range(4):
        tone(source / f"{number}.wav", 400 + 100 * number)
    header = "wav_filename,wav_filesize,transcript\n"
    (source / "train.csv").write_text(header + "0.wav,,Hola\n1.wav,,adiós\n", encoding="utf-8")
    (source / "dev.csv").write_text(header + "2.wav,,hola\n", encoding="utf-8")
    (source / "test.csv").write_text(header + "3.wav,,hola\n1.wav,,adiós\n", encoding="utf-8")
    output = prepare(task(source, tmp_path / "work", format=DatasetFormat.DEEPSPEECH_CSV))
    assert (output.train_clips, output.dev_clips, output.test_clips, output.rejected) == (2, 1, 1, 1)
    assert (
        output.note
        == "1 rejected; first: test.csv row 3: 1.wav is the same recording as 1.wav (train.csv row 3); delete one of the two"
    )


@pytest.mark.parametrize(
    ("layout", "table", "row", "folder"),
    [
        ("CommonVoice", "validated.tsv", "{who}\t{who}{n}.wav\tfrase {n}", "clips"),
        ("AudioFolder", "metadata.csv", "clips/{who}{n}.wav,frase {n},{who}", "clips"),
        ("LibriSpeech", "{who}/1/{who}-1.trans.txt", "{who}{n} frase {n}", "{who}/1"),
        ("Kaldi", "text", "{who}{n} frase {n}", ""),
    ],
)
def test_every_format_without_parts_is_divided_by_speaker(
    layout: str, table: str, row: str, folder: str, tmp_path: Path
) -> None:
    headers = {"CommonVoice": "client_id\tpath\tsentence\n", "AudioFolder": "file_name,text,speaker\n"}
    source, index = tmp_path / "source", 0
    for who in ("an", "bo", "cy", "di"):
        for n in "abc":
            index += 1
            tone(source / folder.format(who=who) / f"{who}{n}.wav", 300 + 10 * index)
            path = source / table.format(who=who)
            before = path.read_text(encoding="utf-8") if path.exists() else headers.get(layout, "")
            path.write_text(before + row.format(who=who, n=n) + "\n", encoding="utf-8")
            with (source / "wav.scp").open("a") as scp, (source / "utt2spk").open("a") as speakers:
                scp.write(f"{who}{n} {who}{n}.wav\n")
                speakers.write(f"{who}{n} {who}\n")
    output = prepare(task(source, tmp_path / "w", format=DatasetFormat(layout)))
    assert (output.train_clips, output.dev_clips, output.test_clips, output.rejected) == (6, 3, 3, 0)
    assert (output.speakers, output.unseen_test_speakers) == (4, 1)


def test_held_out_recordings_of_other_speech_are_told_from_built_in_words(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 20)
    for number in range(5):
        tone(source / "other" / f"{number}.wav", 900 + 10 * number)
    prepare(task(source, tmp_path / "w", negatives=Negatives(path="other")))
    prepared = open_dataset(dataset(tmp_path / "w"))
    apart = {clip.name for clip in prepared.clips(Part.NEGATIVES)}
    registry = {Path(row["clip"]).stem: row["recording"] for row in table(tmp_path / "w", "registry.csv")}
    recorded = prepared.recorded_negatives()
    assert {registry[name].split("/")[0] for name in recorded} == {"other"}
    assert "other" not in {registry[name].split("/")[0] for name in apart - recorded}
    assert recorded and recorded < apart


def test_a_negative_that_cannot_be_used_is_an_invalid_sample(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 8)
    for number in range(2):
        tone(source / "other" / f"{number}.wav", 900 + 10 * number)
    (source / "other" / "bad.wav").write_text("no audio")
    negatives = Negatives(built_in=False, path="other")
    output = prepare(task(source, tmp_path / "w", negatives=negatives))
    assert (output.negatives, output.rejected) == (2, 1)
    assert "1 rejected; first: dataset.negatives: other/bad.wav: is not readable audio" in output.note
    (left,) = [row for row in table(tmp_path / "w", "registry.csv") if row["rejected"]]
    assert (left["source"], left["recording"], left["rejected"]) == ("negatives", "other/bad.wav", "NotAudio")
    policy = {"invalid_sample_policy": InvalidSamplePolicy.FAIL}
    with pytest.raises(
        BadData, match=r"1 of the negatives rejected and invalidSamplePolicy is Fail; .*other/bad.wav: "
    ):
        prepare(task(source, tmp_path / "fail", negatives=negatives, **policy))


def test_a_folder_of_negatives_inside_the_dataset_is_no_list_of_forgotten_recordings(tmp_path: Path) -> None:
    source = tmp_path / "source"
    for name in ("a", "b", "other/c", "other/d"):
        tone(source / f"{name}.wav", 300 + 50 * ord(name[-1]) % 500)
    (source / "metadata.csv").write_text("file_name,text\na.wav,hola\n", encoding="utf-8")
    negatives = Negatives(built_in=False, path="other")
    output = prepare(task(source, tmp_path / "w", format=DatasetFormat.AUDIO_FOLDER, negatives=negatives))
    assert output.note == "1 recording belongs to no row; first: b.wav"
    again = task(
        source,
        tmp_path / "again",
        format=DatasetFormat.AUDIO_FOLDER,
        negatives=Negatives(built_in=False),
        other_speech=PurePosixPath(source / "other"),
    )
    assert prepare(again).note == output.note, "the claim of the dataset, with another path"


def test_a_recording_without_speech_is_not_a_copy_of_another_one(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 8)
    tone(source / "other" / "radio.wav", 900)
    for name in ("original/es/0.wav", "other/empty.wav"):
        soundfile.write(source / name, np.zeros(0, np.int16), 16000)
    output = prepare(task(source, tmp_path / "w", negatives=Negatives(built_in=False, path="other")))
    assert [row["rejected"] for row in table(tmp_path / "w", "registry.csv") if row["rejected"]] == [
        "EmptyAudio",
        "EmptyAudio",
    ]
    assert output.negatives == 1
    (source / "other" / "copy.wav").write_bytes((source / "original/es/1.wav").read_bytes())
    with pytest.raises(BadData, match=r"1 of the files in other is a recording of the dataset \(other/copy.wav is "):
        prepare(task(source, tmp_path / "copied", negatives=Negatives(built_in=False, path="other")))
    pcm, rate = soundfile.read(source / "original/es/1.wav", dtype="int16")
    (source / "other" / "copy.wav").unlink()
    soundfile.write(source / "other" / "copy.flac", pcm, rate)
    with pytest.raises(BadData, match=r"1 of the files in other .* \(other/copy.flac is original/es/1.wav\); remove"):
        prepare(task(source, tmp_path / "flac", negatives=Negatives(built_in=False, path="other")))


def test_the_output_lists_clips_by_size_with_paths_relative_to_it(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 6)
    tone(source / "original" / "es" / "2.wav", 700, seconds=0.8)
    prepare(task(source, tmp_path / "work"))
    for part in ("train", "dev", "test"):
        rows = table(tmp_path / "work", f"{part}.csv")
        sizes = [int(row["wav_filesize"]) for row in rows]
        assert sizes == sorted(sizes)
        assert sizes == [(dataset(tmp_path / "work") / row["wav_filename"]).stat().st_size for row in rows]


def test_a_finished_dataset_is_not_made_again_and_a_damaged_one_is(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 3)
    first = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    again = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert again.output == first.output and not again.progress
    next((dataset(tmp_path / "work") / "clips").iterdir()).unlink()
    again = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert again.output == first.output and again.progress


def test_the_result_fits_the_termination_log_also_in_cyrillic(tmp_path: Path) -> None:
    name = "ж" * 120
    source = commands(tmp_path / "source", {name: "Ж" * 5000, "2": "да"}, "ru")
    tone(source / "original" / "ru" / "2.wav")
    tone(source / "original" / "ru" / f"{name}.wav", 500)
    ended = run_program("prepare", task(source, tmp_path / "work", language="ru"), tmp_path)
    assert ended.code == 0 and ended.output["note"].startswith("1 rejected; first: commands.csv row 2: ")
    failed = run_program(
        "prepare", task(source, tmp_path / "fail", language="ru", invalid_sample_policy="Fail"), tmp_path
    )
    assert failed.code == 65 and "invalidSamplePolicy is Fail" in failed.message


@pytest.mark.parametrize("character", ["\u0001", "😀"])
def test_the_result_fits_the_termination_log_whatever_json_makes_of_a_path(character: str, tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {character * 480: "hola", "good": "hola"})
    tone(source / "original" / "es" / "good.wav")
    folder = character * (240 // len(character.encode()))
    tone(source / "original" / "es" / folder / folder / "1.wav", 500)
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert ended.code == 0, ended.log
    assert f"1 recording belongs to no row; first: original/es/{character}" in ended.output["note"]


@pytest.mark.parametrize("character", ["\u0001", '"', "\\", "ж", "😀"])
def test_the_result_fits_the_termination_log_whatever_json_makes_of_an_id(character: str, tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {character * 480: "hola", f"{character * 479}a": "hola", "good": "hola"})
    tone(source / "original" / "es" / "good.wav")
    tone(source / "original" / "es" / "other\\name.wav")  # so that a backslash in an id is no end of a folder's name
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    assert ended.code == 0, ended.log
    assert ended.output["note"].startswith(f"2 rejected; first: commands.csv row 2: no recording of {character}")
    policy = {"invalid_sample_policy": InvalidSamplePolicy.FAIL}
    failed = run_program("prepare", task(source, tmp_path / "fail", **policy), tmp_path)
    assert failed.code == 65 and failed.message.endswith(" ...; and 1 more")


def test_clips_have_the_level_that_is_asked_for_and_the_output_says_so(tmp_path: Path) -> None:
    source = tones(tmp_path / "source", 3)
    quiet = source / "original" / "es" / "1.wav"
    samples, rate = soundfile.read(quiet)
    soundfile.write(quiet, 0.05 * samples, rate)
    assert prepare(task(source, tmp_path / "work", speech_level=-22.0)).speech_level == -22
    clips = sorted((dataset(tmp_path / "work") / "clips").iterdir())
    assert [loudness(load(clip)) for clip in clips] == pytest.approx(3 * [-22], abs=0.1)
    assert prepare(task(source, tmp_path / "before")).speech_level is None
    assert min(loudness(load(clip)) or 0 for clip in (dataset(tmp_path / "before") / "clips").iterdir()) < -36


def test_the_recorded_output_has_the_contracts_type(tmp_path: Path) -> None:
    ended = run_program("prepare", task(tones(tmp_path / "source", 3), tmp_path / "work"), tmp_path)
    assert PrepareOutput.model_validate(ended.output).audio_seconds == 4.5


def test_what_is_doubtful_about_a_recording_is_in_the_report_and_in_the_log(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "original" / "es"
    tone(folder / "good.wav", 400)
    cut = tone(folder / "cut.wav", 500)
    cut.write_bytes(cut.read_bytes()[: 44 + 16_000])
    short = tone(folder / "short.wav", 600)
    short.write_bytes(short.read_bytes()[: 44 + 4_000])
    source = commands(tmp_path / "source", {"good": "hola", "cut": "adiós", "short": "buenos días"})
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    found = report(tmp_path / "work")
    announced = "its header announces 1.50 s, but only {} s are there; copy it again"
    assert found["doubts"] == [
        {
            "file": "commands.csv",
            "row": 3,
            "recording": "original/es/cut.wav",
            "kind": "CutShort",
            "message": announced.format("0.50"),
        }
    ]
    assert f"check: commands.csv row 3: original/es/cut.wav: {announced.format('0.50')}" in ended.log
    (left,) = found["rejected"]
    assert left["reason"] == "TooShort" and left["message"].endswith(announced.format("0.12"))


def test_recordings_behind_a_link_to_a_folder_are_used(tmp_path: Path) -> None:
    source = commands(tmp_path / "source", {"a": "hola", "b": "adiós"})
    tone(source / "original" / "es" / "a.wav", 400)
    tone(tmp_path / "elsewhere" / "1.wav", 500)
    (source / "original" / "es" / "b").symlink_to(tmp_path / "elsewhere")
    prepare(task(source, tmp_path / "work"))
    assert report(tmp_path / "work")["clips"] == 2


@pytest.mark.parametrize("locked", ["original/es", "original", "commands.csv", "."])
def test_a_file_or_folder_that_may_not_be_read_is_named(locked: str) -> None:
    with unprivileged_folder() as folder:
        source = commands(folder / "source", {"a": "hola"})
        tone(source / "original" / "es" / "a.wav")
        (source / locked).chmod(0)
        with pytest.raises(BadData, match=r"cannot be read \(permission denied for user \d+\); make it readable"):
            prepare(task(source, folder / "work"))
        (source / locked).chmod(0o700)


def test_a_recording_that_may_not_be_read_costs_only_itself() -> None:
    with unprivileged_folder() as folder:
        source = commands(folder / "source", {"a": "hola", "b": "adiós"})
        tone(source / "original" / "es" / "a.wav", 400).chmod(0)
        tone(source / "original" / "es" / "b.wav", 500)
        assert prepare(task(source, folder / "work")).rejected == 1
        assert "a.wav: cannot be read (Permission denied)" in report(folder / "work")["rejected"][0]["message"]


def test_paths_may_have_backslashes(tmp_path: Path) -> None:
    tone(tmp_path / "clips" / "a.wav", 400)
    tone(tmp_path / "clips" / "b\\c.wav", 500)
    rows = "wav_filename,transcript\nclips\\a.wav,hola\nclips/b\\c.wav,adiós\nclips\\d.wav,uno\nC:\\e.wav,dos\n"
    (tmp_path / "train.csv").write_text(rows, encoding="utf-8")
    whole = Split(dev_percent=0, test_percent=0)
    prepared = prepare(task(tmp_path, tmp_path / "work", format=DatasetFormat.DEEPSPEECH_CSV, split=whole))
    assert prepared.train_clips == 2
    assert [left["message"] for left in report(tmp_path / "work")["rejected"]] == [
        r"the recording clips\d.wav is missing; paths are relative to the CSV file",
        r"the recording C:\e.wav is missing; use a path relative to the CSV file",
    ]


def test_a_dataset_with_nothing_to_train_on_says_that_train_is_empty(tmp_path: Path) -> None:
    tone(tmp_path / "a.wav", 400)
    tone(tmp_path / "b.wav", 500)
    (tmp_path / "dev.csv").write_text("wav_filename,transcript\nb.wav,hola\n", encoding="utf-8")
    (tmp_path / "train.csv").write_text("wav_filename,transcript\n", encoding="utf-8")
    (tmp_path / "test.csv").write_text("wav_filename,transcript\na.wav,hola\n", encoding="utf-8")
    with pytest.raises(BadData, match=r"the part train has no rows"):
        prepare(task(tmp_path, tmp_path / "work", format=DatasetFormat.DEEPSPEECH_CSV))


def test_the_report_and_the_log_say_what_is_covered_and_what_to_record_next(tmp_path: Path) -> None:
    folder = tmp_path / "source" / "original" / "es"
    for number, speaker in enumerate(("ana", "bo", "cy", "di", "eva")):
        tone(folder / speaker / "hola.wav", 300 + 10 * number, seconds=1.2)
        tone(folder / speaker / "luz.wav", 400 + 10 * number, seconds=4 if speaker == "cy" else 1)
    source = commands(tmp_path / "source", {"hola": "Hola", "luz": "¡Luz!", "nunca": "Nunca grabada."})
    ended = run_program("prepare", task(source, tmp_path / "work"), tmp_path)
    coverage = report(tmp_path / "work")["coverage"]
    assert [(one["phrase"], one["clips"], one["speakers"]) for one in coverage["phrases"]] == [
        ("nunca grabada", 0, 0),
        ("hola", 5, 5),
        ("luz", 5, 5),
    ]
    (clip,) = coverage["suspicious"]
    assert (clip["recording"], clip["phrase"]) == ("original/es/cy/luz.wav", "luz")
    assert clip["speechSeconds"] > 2 * clip["medianSeconds"]
    assert coverage["sampleRates"] == [{"sampleRate": 16_000, "clips": 10}]
    assert -20 < coverage["level"]["median"] < -8
    assert coverage["recordNext"] == [
        "5 takes of 'nunca grabada' (no usable one so far)",
        "original/es/cy/luz.wav again, if the speech in it is not 'luz'",
    ]
    for said in (
        "coverage: 10 clips (0.2 minutes), 3 phrases with 0 to 5 takes each, 5 known speakers, level -1",
        "check: commands.csv row 3: original/es/cy/luz.wav has ",
        "record next: 5 takes of 'nunca grabada' (no usable one so far)",
    ):
        assert said in ended.log


@pytest.mark.parametrize(
    ("decoding", "alphabet", "problem"),
    [
        (
            {"grammar": "Phrases", "phrases": ("frase de x",)},
            (),
            "InvalidGrammar: decoding: the phrase 'frase de x': the model's alphabet does not contain 'x'; write the words as in",
        ),
        (
            {"grammar": "Phrases", "intents": {"Say": ("(frase|ñandú) de a",)}},
            tuple("abcdefghijrsu "),
            "InvalidGrammar: decoding: the phrase '(frase|ñandú) de a' of the intent 'Say': the model's alphabet does not contain",
        ),
        (
            {"scorer": {"build": {"order": 3}, "hotWords": {"xilófono": 2.0}}},
            (),
            "InvalidScorer: decoding.scorer.hotWords: the hot word 'xilófono' is never said, because the alphabet has no 'i', 'l'",
        ),
        ({"grammar": "Phrases", "phrases": ("Frase de [a]!",)}, (), None),
    ],
)
def test_words_that_no_model_of_the_dataset_can_say_are_reported_before_training(
    decoding: dict[str, Any],
    alphabet: tuple[str, ...],
    problem: str | None,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    source, given = tones(tmp_path / "source", 3), Decoding.model_validate(decoding)
    first = prepare(task(source, tmp_path / "w", alphabet=alphabet))
    again = prepare(task(source, tmp_path / "w", alphabet=alphabet, decoding=given))
    assert again.model_copy(update={"unusable_words": None}) == first, "the words changed the dataset"
    found = again.unusable_words
    assert (found is None) == (problem is None)
    if found and problem:
        assert f"{found.reason}: {found.message}".startswith(problem)
        assert found.words_digest == given.words_digest
        assert f"{found.reason}: {found.message}" in caplog.messages


def test_the_problem_with_words_is_cut_or_left_out_where_the_result_would_be_too_long(tmp_path: Path) -> None:
    given = Decoding(grammar=GrammarSource.PHRASES, phrases=("x" * 450,))
    prepared = prepare(task(tones(tmp_path / "source", 3), tmp_path / "w", decoding=given))
    lengths = []
    for letters in (0, 190, 255):
        alphabet = tuple(chr(number) for number in range(0x4E00, 0x4E00 + letters))
        output = prepared.model_copy(update={"given_alphabet": alphabet, "unusable_words": None})
        found = with_unusable_words(output, task(tmp_path, tmp_path, decoding=given), tuple("abcdefrs "))
        lengths.append(len(found.unusable_words.message) if found.unusable_words else 0)
        if letters < 255:
            assert len(encode_result(StageResult[Document](output=found))) <= RESULT_LIMIT
    assert lengths[0] == 304 and 80 < lengths[1] < 300 and lengths[2] == 0, lengths
