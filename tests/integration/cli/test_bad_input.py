"""Bad input of every kind: what the user reads, and the exit code.

A row is the input, what is said about it, and how prepare or the command ends. 0 means that the rest of
the input was used.
"""

import contextlib
import io
import os
import shutil
import struct
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pytest
import soundfile
from speechmodel_api.dataset_spec import Annotations, DatasetFormat, Negatives, Split
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.workspace import REPORT, Workspace
from speechmodel_cli.command_line import main
from speechmodel_cli.transcriptions import transcribe_here
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_pipeline.prepare.stage import prepare
from speechmodel_pipeline.prepare_report import PrepareReport
from speechmodel_stagekit.errors import StageFailure
from support.manifests import MANIFEST
from support.places import FIXTURES
from support.servers import OK_ESPEJO, VersionFolder
from support.tones import tone
from support.users import unprivileged_folder

KEY = "0000000a"
RATE = 16_000
AT = np.arange(int(1.5 * RATE)) / RATE
TONE = 0.4 * np.sin(2 * np.pi * 440 * AT) * np.sin(np.pi * AT / 1.5)
READABLE = "use wav, flac, ogg, mp3, m4a, mp4, webm, aac, amr or wma"

Make = Callable[[Path], object]
"""Writes the input into a folder."""


@dataclass(frozen=True)
class Row:
    """One bad input."""

    make: Make
    said: str
    code: int = 0
    settings: Mapping[str, Any] = field(default_factory=dict)
    """Fields of prepare's input document."""
    arguments: tuple[str, ...] = ()
    """Arguments of the command, in which `@` is the folder of the input. Without any, prepare runs."""
    unprivileged: bool = False
    """The input belongs to a user who may not read everything."""


# datasets of the format Commands


def table(content: str | bytes) -> Make:
    """commands.csv with this content, and the recordings a, b and c."""

    def make(folder: Path) -> None:
        for number, name in enumerate("abc"):
            tone(folder / "original" / "es" / f"{name}.wav", 400 + 50 * number)
        (folder / "commands.csv").write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def transcript(text: str) -> Make:
    """A row with this transcript in row 2, and a good one."""
    return table(f"id,es\na,{text}\nb,bien\n")


def named(ids: list[str], *files: str) -> Make:
    """A row for each id, and recordings of these names."""

    def make(folder: Path) -> None:
        for number, name in enumerate(files):
            tone(folder / "original" / "es" / name, 400 + 10 * number)
        rows = "".join(f"{id_},frase {'abcdefghij'[number]}\n" for number, id_ in enumerate(ids))
        (folder / "commands.csv").write_text(f"id,es\n{rows}", encoding="utf-8")

    return make


def linked(name: str, target: str) -> Make:
    """A symbolic link beside the recordings."""

    def make(folder: Path) -> None:
        table("id,es\na,hola\nx,adiós\n")(folder)
        (folder / "original" / "es" / name).symlink_to(target)

    return make


def latin1_name(folder: Path) -> None:
    table("id,es\na,hola\nniña,adiós\n")(folder)
    tone(folder / "original" / "es" / "x.wav", 900).rename(folder / "original" / "es" / os.fsdecode(b"ni\xf1a.wav"))


def locked(name: str) -> Make:
    """A file or folder that may not be read."""

    def make(folder: Path) -> None:
        table("id,es\na,hola\nb,bien\n")(folder)
        (folder / name).chmod(0)

    return make


def without(name: str) -> Make:
    """A dataset without this file or folder."""

    def make(folder: Path) -> None:
        table("id,es\na,hola\n")(folder)
        (shutil.rmtree if (folder / name).is_dir() else os.unlink)(folder / name)

    return make


def folder_for_a_table(folder: Path) -> None:
    without("commands.csv")(folder)
    (folder / "commands.csv").mkdir()


def negatives(folder: Path) -> None:
    table("id,es\na,hola\n")(folder)
    (folder / "negatives").mkdir()
    (folder / "negatives" / "README.txt").write_text("to be recorded")


# recordings


def audio(content: bytes | Callable[[], bytes], name: str = "bad.wav") -> Make:
    """A good recording, and another with this content, whose transcript needs 11 frames."""

    def make(folder: Path) -> None:
        tone(folder / "original" / "es" / "good.wav", 700)
        (folder / "original" / "es" / name).write_bytes(content if isinstance(content, bytes) else content())
        (folder / "commands.csv").write_text("id,es\ngood,hola\nbad,hola espejo\n", encoding="utf-8")

    return make


def stored(samples: np.ndarray, rate: int = RATE, subtype: str = "PCM_16") -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate, format="WAV", subtype=subtype)
    return file.getvalue()


def forged(
    announced: int | None = None, *, channels: int = 1, rate: int = RATE, code: int = 1, before: bytes = b""
) -> bytes:
    """A wav file with anything in its header. `announced` is its number of bytes of samples."""
    data = np.rint(TONE * 32_767).astype("<i2").tobytes()
    chunks = (
        struct.pack("<4sIHHIIHH", b"fmt ", 16, code, channels, rate, 2 * rate * channels, 2 * channels, 16) + before
    )
    chunks += struct.pack("<4sI", b"data", len(data) if announced is None else announced) + data
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


NOT_PADDED = struct.pack("<4sI", b"LIST", 17) + b"INFOISFT\x05\x00\x00\x00Lavf\x00"

# datasets of the format DeepSpeechCSV

TRAIN = {"format": DatasetFormat.DEEPSPEECH_CSV}


def train(name: str) -> Make:
    """train.csv with a recording of this name in row 2, and a good one."""

    def make(folder: Path) -> None:
        for number, recording in enumerate(("a.wav", "clips/b.wav")):
            tone(folder / recording, 400 + 50 * number)
        rows = f"wav_filename,transcript\n{name},hola\na.wav,uno\n"
        (folder / "train.csv").write_text(rows, encoding="utf-8")

    return make


def audio_folder(name: str) -> Make:
    """metadata.csv with a recording of this name in row 2, and a good one."""

    def make(folder: Path) -> None:
        tone(folder / "a.wav")
        (folder / "metadata.csv").write_text(f"file_name,text\n{name},hola\na.wav,uno\n", encoding="utf-8")

    return make


def nothing_to_train(folder: Path) -> None:
    tone(folder / "a.wav")
    (folder / "train.csv").write_text("wav_filename,transcript\n", encoding="utf-8")
    (folder / "test.csv").write_text("wav_filename,transcript\na.wav,hola\n", encoding="utf-8")
    tone(folder / "b.wav", 900)
    (folder / "dev.csv").write_text("wav_filename,transcript\nb.wav,hola\n", encoding="utf-8")


# manifests, tables of --listen, and files to transcribe

VALIDATE = ("validate", "@/m.yaml")
LISTEN = ("run", "@/m.yaml", "--state", "@/state", "--listen", "@/heard")


def manifest(content: str | bytes) -> Make:
    return lambda folder: (folder / "m.yaml").write_bytes(content if isinstance(content, bytes) else content.encode())


def heard(content: str | bytes, name: str = "heard.csv") -> Make:
    """A manifest, and a table in the folder of --listen."""

    def make(folder: Path) -> None:
        manifest(MANIFEST)(folder)
        (folder / "heard").mkdir()
        (folder / "heard" / name).write_bytes(content if isinstance(content, bytes) else content.encode())

    return make


def to_transcribe(content: bytes) -> Make:
    """A file, and a good recording after it."""

    def make(folder: Path) -> None:
        (folder / "x.wav").write_bytes(content)
        shutil.copy(OK_ESPEJO, folder / "ok.wav")

    return make


def piped(content: bytes) -> Make:
    """A named pipe that gives this content, and a good recording after it."""

    def make(folder: Path) -> None:
        os.mkfifo(folder / "x.wav")
        threading.Thread(target=(folder / "x.wav").write_bytes, args=(content,), daemon=True).start()
        shutil.copy(OK_ESPEJO, folder / "ok.wav")

    return make


TRANSCRIBE = ("transcribe", "@/x.wav", "@/ok.wav")

TABLES = {
    "a table in Latin-1": Row(
        table("id,es\na,hola\nb,niña\n".encode("latin-1")),
        "commands.csv is not UTF-8 (line 3); save it as CSV UTF-8",
        65,
    ),
    "a table in UTF-16 without a mark": Row(
        table("id,es\na,hola\n".encode("utf-16-le")), "commands.csv is not UTF-8 (line 1); save it", 65
    ),
    "a spreadsheet with another ending": Row(
        table(b"PK\x03\x04" + bytes(range(256))),
        "commands.csv is a workbook of a spreadsheet, not text; save it as",
        65,
    ),
    "an empty table": Row(table(""), "InvalidDataset: commands.csv does not begin with a header line; add one", 65),
    "a header alone": Row(table("id,es\n"), "InvalidDataset: the dataset has no rows below its header; add rows", 65),
    "no header": Row(table("a,hola\nb,bien\n"), "commands.csv has no column id; its header has: a, hola", 65),
    "no column of the language": Row(
        table("id,en\na,hi\n"), "commands.csv has no column es; its header has: id, en", 65
    ),
    "a column twice": Row(table("id,es,ES\na,b,c\n"), "has the column 'es' twice; rename or delete one of them", 65),
    "a comma in a transcript": Row(
        table("id,es\na,hola, espejo\nb,bien\n"),
        "MalformedRow: commands.csv row 2: has 3 cells, the header has 2: quote a transcript with the delimiter in it",
    ),
    "a row of another delimiter": Row(
        table("id,es\na;hola\nb,bien\n"),
        "MalformedRow: commands.csv row 2: has 1 cell, the header has 2: add the missing",
    ),
    "a quotation mark that is not closed": Row(
        table('id,es\na,"hola\nb,bien\n'), "MalformedRow: commands.csv row 2: is not valid CSV (unexpected end of data)"
    ),
    "quotation marks that are not doubled": Row(
        table('id,es\na,"di "hola" ya"\nb,bien\n'), "quote the cell and double any quotes inside it"
    ),
    "a huge cell": Row(table(f"id,es\na,{'x' * 200_000}\nb,bien\n"), "row 2: is not valid CSV (field larger than"),
    "an id twice": Row(
        table("id,es\na,hola\na,bien\n"),
        "DuplicateRow: commands.csv row 3: the id a is already in row 2; give each id once",
    ),
    "no id": Row(table("id,es\n,hola\nb,bien\n"), "MalformedRow: commands.csv row 2: has no id; give the file name"),
    "an unknown part": Row(
        table("id,es,split\na,hola,training\nb,bien,train\n"), "the split 'training' is unknown; use train, dev or test"
    ),
    "no part to train on": Row(table("id,es,split\na,hola,test\nb,bien,dev\n"), "no clip is left to train on", 65),
    "a single part": Row(
        table("id,es,split\na,hola,test\nb,bien,test\n"),
        "record next: more takes: no clip is left for the part test, which measures the model; raise dataset.split.testPercent",
        settings={"split": Split(dev_percent=0, test_percent=0)},
    ),
    "no table": Row(without("commands.csv"), "commands.csv is missing; in @ there is original", 65),
    "a folder for a table": Row(folder_for_a_table, "commands.csv in @ is a folder; replace it with the table", 65),
    "no recordings": Row(without("original"), "the folder original/es is missing; in @ there is commands.csv", 65),
}

NAMES = {
    "another case": Row(named(["A"], "a.wav"), "did you mean a.wav? Make the id and the file name equal", 65),
    "an ending in another case": Row(
        named(["1.wav"], "1.WAV"), "is missing; copy it there or correct the id; did you mean 1.WAV?", 65
    ),
    "another separator": Row(
        named(["1", "2"], "1.ana.wav", "2.ana.wav"),
        "say where the id is in names such as 1.ana.wav with dataset.recordings.namePattern, such as {speaker}",
        65,
    ),
    "leading zeros": Row(
        named(["001"], "1.wav"), "no recording of 001: looked in original/es for 001.wav, 001_*.wav", 65
    ),
    "a number as spreadsheets write it": Row(named(["1.0"], "1.wav"), "did you mean 1.wav?", 65),
    "a copy": Row(named(["1"], "1 (copia).wav"), "did you mean 1 (copia).wav?", 65),
    "takes as Windows numbers them": Row(
        named(["luz", "sol"], "luz.wav", "luz (1).wav", "luz (2).wav", "sol (1).wav"), "<id>/<file>; 4 clips"
    ),
    "takes with a number at once": Row(
        named(["luz", "sol"], "luz1.wav", "luz2.wav", "sol.wav"),
        "2 files such as luz1 look like its takes; set dataset.recordings.namePattern to '{id}{take}'",
    ),
    "takes by that pattern": Row(
        named(["luz", "sol"], "luz (1).wav", "luz (2).wav", "sol (1).wav", "sol (2).wav"),
        "layout: {id} ({take}); 4 clips",
        settings={"name_pattern": "{id} ({take})"},
    ),
    "names in which a number in front is an id": Row(
        named([*"1234567"], *(f"2_3_000000_{id_}_001.wav" for id_ in "1234567")), "layout: <anything>_<id>_<take>"
    ),
    "names of the recipe": Row(
        named([*"1234567"], *(f"shapes_a{id_}f_2_3_000000_{id_}_001.wav" for id_ in "1234567")),
        "layout: <anything>_<id>_<take>; 7 clips",
    ),
    "names that can be read in two ways": Row(
        named(["1", "2"], "1_2_1.wav", "2_1_2.wav"), "can be read in two ways: <id>, <id>_<take> or <id>/<file>", 65
    ),
    "one id that takes nearly all files": Row(
        named([*"1234567"], *(f"2_{take}_x.wav" for take in "abcdefg")),
        "7 of 7 recordings would belong to the id 2, and 6 of 7 ids would have none",
        65,
    ),
    "a phrase with two takes stays in training": Row(
        named(["a", "b", "c"], *(f"{id_}_{take}.flac" for id_ in "abc" for take in "12")), "6 clips"
    ),
    "a folder of a part beside others": Row(
        named(["a", "b"], "test/a.wav", "ana/a_2.wav", "ana/b.wav"),
        "the folder test is named after a part, and the folder ana beside it is not: put all recordings in folders train",
        65,
    ),
    "an id that leaves the folder": Row(
        named(["../../x.wav"], "a.wav"), "the recording original/es/../../x.wav is missing", 65
    ),
    "a file name that is not UTF-8": Row(latin1_name, "unnamed: original/es/ni\ufffda.wav"),
    "a pattern with an open brace": Row(
        named(["1"], "1.wav"), "namePattern '{id' has a brace without its partner", 65, {"name_pattern": "{id"}
    ),
    "a pattern with an unknown field": Row(
        named(["1"], "1.wav"), "has the unknown field {name}; use {id}, {speaker}", 65, {"name_pattern": "{id}_{name}"}
    ),
    "a pattern that no name fits": Row(
        named(["1"], "1.wav"),
        "no name in original/es fits dataset.recordings.namePattern 'x_{id}' with this id; names are read without their "
        "endings, here as '1'",
        65,
        {"name_pattern": "x_{id}"},
    ),
}

AUDIO = {
    "a file of 0 bytes": Row(
        audio(b""), "EmptyAudio: commands.csv row 3: original/es/bad.wav: is empty (0 bytes); record it"
    ),
    "text": Row(
        audio(b"this is text\n" * 50),
        f"NotAudio: commands.csv row 3: original/es/bad.wav: is not readable audio; {READABLE}",
    ),
    "a picture": Row(
        audio(b"\x89PNG\r\n\x1a\n" + bytes(500)),
        f"NotAudio: commands.csv row 3: original/es/bad.wav: is not readable audio; {READABLE}",
    ),
    "a pointer of Git LFS": Row(
        audio(b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "bad.wav: is a pointer of Git LFS instead of a recording; run `git lfs pull`",
    ),
    "half a header": Row(audio(lambda: stored(TONE)[:40]), "bad.wav: is not readable audio"),
    "a header without samples": Row(
        audio(lambda: stored(TONE)[:44]), "EmptyAudio: commands.csv row 3: original/es/bad.wav: has no samples"
    ),
    "a file that was cut": Row(
        audio(lambda: stored(TONE)[: 44 + 30_000]),
        "CutShort: commands.csv row 3: original/es/bad.wav: its header announces 1.50 s, but only 0.94 s are there; copy it again",
    ),
    "a file that was cut too short": Row(
        audio(lambda: stored(TONE)[: 44 + 4_000]), "0.12 s are 6 frames, 'hola espejo' needs 11; check that recording"
    ),
    "a length of 0 with samples behind it": Row(
        audio(lambda: forged(0)),
        "LengthUnknown: commands.csv row 3: original/es/bad.wav: its header announces no length, so all 1.50 s",
    ),
    "a length that a pipe left": Row(audio(lambda: forged(0xFFFFFFFF)), "so all 1.50 s up to its end are used"),
    "a chunk that is not padded": Row(audio(lambda: forged(before=NOT_PADDED)), "2 clips"),
    "a header without channels": Row(audio(lambda: forged(channels=0)), "bad.wav: is not readable audio"),
    "a header without a rate": Row(audio(lambda: forged(rate=0)), "bad.wav: is not readable audio"),
    "a header of an unknown encoding": Row(audio(lambda: forged(code=0x1234)), "bad.wav: is not readable audio"),
    "an absurd rate": Row(
        audio(lambda: stored(TONE, 1_000_000_000)),
        "has a sample rate of 1000000000 Hz in its header, but at most 768000 Hz",
    ),
    "a rate without speech": Row(
        audio(lambda: stored(TONE, 100)), "has a sample rate of 100 Hz; record it at 4000 Hz or more"
    ),
    "floating point with the values of integers": Row(
        audio(lambda: stored(TONE * 32_768, subtype="FLOAT")),
        "IntegerScale: commands.csv row 3: original/es/bad.wav: its floating point samples reach 13",
    ),
    "samples that are not numbers": Row(
        audio(lambda: stored(np.full(24_000, np.nan), subtype="FLOAT")),
        "has samples that are not numbers; export it again",
    ),
    "infinite samples": Row(
        audio(lambda: stored(np.full(24_000, np.inf), subtype="FLOAT")), "has samples that are not numbers"
    ),
    "silence": Row(
        audio(lambda: stored(0 * TONE)),
        "Silent: commands.csv row 3: original/es/bad.wav: it is silent; record it again",
    ),
    "a constant": Row(audio(lambda: stored(np.full(24_000, 0.5))), "Silent: commands.csv row 3: original/es/bad.wav"),
    "noise": Row(
        audio(lambda: stored(np.random.default_rng(0).normal(0, 0.1, 24_000))),
        "record next: original/es/bad.wav again, which has no speech that stands out",
    ),
    "a faint recording": Row(
        audio(lambda: stored(0.002 * TONE)), "record next: original/es/bad.wav again, which is quiet"
    ),
    "a clipped recording": Row(
        audio(lambda: stored(np.clip(20 * TONE, -1, 1))),
        "of its samples stay at full scale; lower the gain and record it again",
    ),
    "channels of opposite phase": Row(
        audio(lambda: stored(np.stack([TONE, -TONE], axis=1))),
        "OppositePhase: commands.csv row 3: original/es/bad.wav: its channels cancel",
    ),
    "eight channels": Row(audio(lambda: stored(np.repeat(TONE[:, None], 8, axis=1))), "2 clips"),
    "a very long recording": Row(
        audio(lambda: stored(np.resize(TONE, 600 * 8_000), 8_000)),
        "TooLong: commands.csv row 3: original/es/bad.wav: is longer than 30 s; split it",
    ),
    "a click": Row(
        audio(lambda: stored(TONE[:200])),
        "TooShort: commands.csv row 3: original/es/bad.wav is too short for its transcript",
    ),
    "two recordings in a file": Row(
        audio(lambda: stored(TONE) * 2), "holds two wav files, the second from byte 48044 on; save them as two"
    ),
    "an ending that no recording has": Row(
        audio(b"x", "bad.docx"), "NoRecording: commands.csv row 3: no recording of bad: looked in"
    ),
    "negatives that are no recordings": Row(
        negatives, "dataset.negatives.path: negatives has no recordings", 65, {"negatives": Negatives(path="negatives")}
    ),
    "negatives among the recordings": Row(
        table("id,es\na,hola\n"),
        "dataset.negatives.path: 1 of the files in original/es is a recording of the dataset (original/es/a.wav); remove",
        65,
        {"negatives": Negatives(path="original/es")},
    ),
    "negatives that are not there": Row(
        table("id,es\na,hola\n"),
        "dataset.negatives.path: none has no recordings",
        65,
        {"negatives": Negatives(path="none")},
    ),
}

TRANSCRIPTS = {
    "an annotation": Row(
        transcript("[risas] hola"), "Annotation: commands.csv row 2: '[risas]' may not be spoken; write the spoken"
    ),
    "an annotation that is not closed": Row(transcript("hola [risas"), "'[' is unpaired in 'hola [risas'"),
    "nothing but an annotation": Row(
        transcript("(inaudible)"), "EmptyTranscript: commands.csv row 2: ", 0, {"annotations": Annotations.STRIP}
    ),
    "markup": Row(transcript("<b>hola</b>"), "Annotation: commands.csv row 2: '<b>' may not be spoken"),
    "digits": Row(
        transcript("llama al 112"), "NotSpelledOut: commands.csv row 2: '112' is not spelled out in 'llama al 112'"
    ),
    "Arabic digits": Row(transcript("١٢٣"), "write numbers and signs as spoken words"),
    "a sign": Row(transcript("cien %"), "NotSpelledOut: commands.csv row 2: '%' is not spelled out in 'cien %'"),
    "an emoji": Row(transcript("hola 😀"), "NotSpelledOut: commands.csv row 2: '😀' is not spelled out in 'hola 😀'"),
    "letters of two scripts": Row(
        transcript("holaщ"), "MixedScripts: commands.csv row 2: 'holaщ' has letters of several scripts"
    ),
    "letters that look like others": Row(
        transcript("hоlа"), "normalised: commands.csv row 2: 'hоlа' is 'hola' (Script)"
    ),
    "marks of the direction of writing": Row(transcript("\u202ehola\u202c"), "is 'hola' (Invisible)"),
    "a control character": Row(transcript("ho\x07la"), "is 'hola' (Invisible)"),
    "UTF-8 that was read as Windows-1252": Row(
        transcript("niÃ±a"),
        "WrongEncoding: commands.csv row 2: 'niÃ±a' was saved in the wrong encoding and seems to be 'niña'",
    ),
    "UTF-8 that was read as Windows-1252, without a sign": Row(
        transcript("Ã¡rbol"), "seems to be 'árbol'; save the table as UTF-8"
    ),
    "a character that was lost": Row(
        transcript("ni\ufffda"), "WrongEncoding: commands.csv row 2: 'ni\ufffda' lost letters in another encoding"
    ),
    "punctuation alone": Row(
        transcript("¿?"), "EmptyTranscript: commands.csv row 2: the transcript has only punctuation"
    ),
    "an annotation alone": Row(
        transcript("(inaudible)"),
        "EmptyTranscript: commands.csv row 2: the transcript has only punctuation and annotations; write the spoken words",
        settings={"annotations": Annotations.STRIP},
    ),
    "nothing": Row(
        transcript(""), "EmptyTranscript: commands.csv row 2: the transcript is empty; write the spoken words"
    ),
    "more than fits into the recording": Row(
        transcript("palabra " * 40), "TooShort: commands.csv row 2: original/es/a.wav is too short"
    ),
    "a given alphabet without the space": Row(
        transcript("hola espejo"), "2 clips; alphabet: abehijlnops\u2423", 0, {"alphabet": tuple("abehijlnops")}
    ),
    "a given alphabet without a letter": Row(
        transcript("hola"),
        "OutsideAlphabet: commands.csv row 2: 'h', 'o' are not in dataset.alphabet",
        0,
        {"alphabet": tuple("abeiln ")},
    ),
}

PATHS = {
    "a backslash": Row(train("clips\\b.wav"), "2 clips", 0, TRAIN),
    "a backslash to nothing": Row(
        train("clips\\x.wav"), r"NoRecording: train.csv row 2: the recording clips\x.wav is missing", 0, TRAIN
    ),
    "a drive": Row(train("C:\\x\\a.wav"), r"NoRecording: train.csv row 2: the recording C:\x\a.wav is ", 0, TRAIN),
    "a folder": Row(train("clips"), "NoRecording: train.csv row 2: the recording clips is missing", 0, TRAIN),
    "an address": Row(
        train("https://example.org/a.wav"), "the recording https://example.org/a.wav is missing", 0, TRAIN
    ),
    "a path that leaves the folder to nothing": Row(
        train("../x.wav"),
        "NoRecording: train.csv row 2: the recording ../x.wav is missing; paths are relative to the CSV file",
        0,
        TRAIN,
    ),
    "an absolute path to something else": Row(
        train("/etc/passwd"), f"NotAudio: train.csv row 2: /etc/passwd: is not readable audio; {READABLE}", 0, TRAIN
    ),
    "a path that leaves an audio folder": Row(
        audio_folder("../x.wav"),
        "the recording ../x.wav is outside of the folder of the dataset; use a path relative to the folder",
        0,
        {"format": DatasetFormat.AUDIO_FOLDER},
    ),
    "an absolute path in an audio folder": Row(
        audio_folder("/etc/passwd"),
        "the recording /etc/passwd is outside of the folder of the dataset",
        0,
        {"format": DatasetFormat.AUDIO_FOLDER},
    ),
    "another format than that of the folder": Row(
        audio_folder("a.wav"), "the folder looks like the format AudioFolder: set dataset.format: AudioFolder", 65
    ),
    "a NUL": Row(train("a\0.wav"), "NoRecording: train.csv row 2: the recording a\0.wav is missing", 0, TRAIN),
    "no path": Row(train(" "), "NoRecording: train.csv row 2: ", 0, TRAIN),
    "a recording twice": Row(
        train("./a.wav"), "DuplicateRecording: train.csv row 3: a.wav is the same recording as a.wav", 0, TRAIN
    ),
    "no rows to train on": Row(nothing_to_train, "no clip is left to train on", 65, TRAIN),
    "a folder that links to the one above": Row(linked("loop", ".."), "no recording of x: looked in original/es"),
    "a recording that links to nothing": Row(
        linked("x.wav", "none.wav"),
        "NoRecording: commands.csv row 3: original/es/x.wav: cannot be read (No such file or directory)",
    ),
    "a folder that links to nothing": Row(
        linked("x", "none"),
        "NoRecording: commands.csv row 3: original/es/x: cannot be read (No such file or directory)",
    ),
    "a recording that links to itself": Row(
        linked("x.wav", "x.wav"),
        "NoRecording: commands.csv row 3: original/es/x.wav: cannot be read (Too many levels of symbolic",
    ),
    "a folder that may not be read": Row(
        locked("original/es"),
        "original/es cannot be read (permission denied for user 65534); make it readable",
        65,
        unprivileged=True,
    ),
    "a table that may not be read": Row(
        locked("commands.csv"), "commands.csv cannot be read (permission denied for user 65534)", 65, unprivileged=True
    ),
    "a recording that may not be read": Row(
        locked("original/es/a.wav"), "a.wav: cannot be read (Permission denied); make it readable", unprivileged=True
    ),
}

MANIFESTS = {
    "an empty file": Row(manifest(""), "m.yaml:1: holds no document of kind SpeechModel", 1, arguments=VALIDATE),
    "UTF-16": Row(
        manifest(MANIFEST.encode("utf-16")),
        "m.yaml:1: is not UTF-8 (invalid start byte); save it",
        1,
        arguments=VALIDATE,
    ),
    "a NUL in a manifest": Row(
        manifest(MANIFEST + "\0"), "has the character U+0000, which is not allowed; remove it", 1, arguments=VALIDATE
    ),
    "aliases that grow without end": Row(
        manifest(
            MANIFEST + "  a0: &a0 [1]\n" + "".join(f"  a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))
        ),
        "m.yaml:1: has more than 100000 values when its aliases are written out; use fewer aliases",
        1,
        arguments=VALIDATE,
    ),
    "lists without end": Row(
        manifest(f"{MANIFEST}  a: {'[' * 3_000}{']' * 3_000}\n"),
        "m.yaml:1: nests lists or mappings too deeply",
        1,
        arguments=VALIDATE,
    ),
    "a list as a key": Row(
        manifest(MANIFEST + "  ? [a, b]\n  : 1\n"),
        "m.yaml:8: spec: has a list or a mapping as a key",
        1,
        arguments=VALIDATE,
    ),
    "a path that leaves the claim": Row(
        manifest(MANIFEST.replace("voices}", "voices, path: ../x}")),
        "'../x' does not match ^([^/.][^/]*(/[^/.][^/]*)*)?$; use a path below",
        1,
        arguments=VALIDATE,
    ),
    "a language in words": Row(
        manifest(MANIFEST.replace(": es", ": español")),
        "m.yaml:5: spec.language: 'español' does not match",
        1,
        arguments=VALIDATE,
    ),
    "a pattern without an id": Row(
        manifest(MANIFEST.replace("dataset: {", "dataset: {recordings: {namePattern: '{speaker}_{id:d}'}, ")),
        "write {id} where the id is in the file names, without a format such as :d",
        1,
        arguments=VALIDATE,
    ),
    "a template that is not closed": Row(
        manifest(MANIFEST + "  decoding:\n    phrases: ['(prende luz']\n"),
        "m.yaml:9: spec.decoding.phrases: the phrase '(prende luz' ",
        1,
        arguments=VALIDATE,
    ),
    "a phrase with a number": Row(
        manifest(MANIFEST + "  decoding: {phrases: ['¡canal 5!']}\n"),
        "spec.decoding.phrases: the phrase '¡canal 5!': '5' is not spelled out in '¡canal 5!'; write numbers",
        1,
        arguments=VALIDATE,
    ),
    "a phrase with punctuation": Row(
        manifest(MANIFEST + "  decoding: {phrases: ['¡enciende, la luz!']}\n"), "valid", arguments=VALIDATE
    ),
    "a template with an unknown list": Row(
        manifest(MANIFEST + "  decoding: {phrases: ['luz de {sala}']}\n"), "'sala'", 1, arguments=VALIDATE
    ),
    "a phrase with a letter that the given alphabet lacks": Row(
        manifest(MANIFEST.replace("dataset: {", "dataset: {alphabet: [a, l], ") + "  decoding: {phrases: [sala]}\n"),
        "the phrase 'sala': the model's alphabet does not contain 's'",
        1,
        arguments=VALIDATE,
    ),
    "a template of an intent that is not closed": Row(
        manifest(MANIFEST + "  decoding:\n    intents:\n      TurnOn: ['(prende luz']\n"),
        "m.yaml:9: spec.decoding.intents: the phrase '(prende luz' of the intent 'TurnOn' ",
        1,
        arguments=VALIDATE,
    ),
    "a sentence of two intents": Row(
        manifest(MANIFEST + "  decoding: {intents: {TurnOn: ['(prende|pon) luz'], Toggle: ['prende [la] luz']}}\n"),
        "spec.decoding.intents: the sentence 'prende luz' is in the intents 'Toggle' and 'TurnOn'; keep it in one",
        1,
        arguments=VALIDATE,
    ),
    "a sentence of an intent and of none": Row(
        manifest(MANIFEST + "  decoding: {phrases: ['¡Luz!'], intents: {TurnOn: ['[la] luz']}}\n"),
        "spec.decoding: the sentence 'luz' is in the intent 'TurnOn' and in decoding.phrases; keep it in one of them",
        1,
        arguments=VALIDATE,
    ),
    "intents beside phrases": Row(
        manifest(MANIFEST + "  decoding: {phrases: [ok], intents: {TurnOn: ['luz {a}']}, lists: {a: [sala]}}\n"),
        "valid",
        arguments=VALIDATE,
    ),
    "a folder for a manifest": Row(
        lambda folder: (folder / "m.yaml").mkdir(), "m.yaml:1: cannot be read: Is a directory", 1, arguments=VALIDATE
    ),
    "a path that is not UTF-8": Row(
        manifest(MANIFEST),
        r"caf\udce9/m.yaml' is not UTF-8; rename the file or folder",
        2,
        arguments=("validate", "@/caf\udce9/m.yaml"),
    ),
    "a file for the folder of the state": Row(
        heard("file,words\n"),
        "m.yaml/espejo: Not a directory; choose a folder, not a file",
        1,
        arguments=("run", "@/m.yaml", "--state", "@/m.yaml"),
    ),
}

LISTENING = {
    "a table of other columns": Row(heard("a,b\n1,2\n"), "has no column file or wav_filename", 1, arguments=LISTEN),
    "a comma in the words": Row(
        heard("file,words\na.wav,ok, espejo\n"), "heard.csv: row 2 has 3 cells, the header has 2", 1, arguments=LISTEN
    ),
    "words in Latin-1": Row(
        heard("file,words\na.wav,señor\n".encode("latin-1")),
        "heard.csv is not UTF-8 (line 2); save it as CSV UTF-8",
        1,
        arguments=LISTEN,
    ),
    "no table of words": Row(
        heard("", "heard.txt"),
        "must contain one .csv or .tsv with the file and the words of each recording; found: none",
        1,
        arguments=LISTEN,
    ),
    "no folder to listen to": Row(
        manifest(MANIFEST),
        "heard cannot be read as a folder of recordings (No such file or directory); correct --listen",
        1,
        arguments=LISTEN,
    ),
}

TRANSCRIBING = {
    "a pipe": Row(piped(OK_ESPEJO.read_bytes()), "x.wav: ok espejo\n", 0, arguments=TRANSCRIBE),
    "an empty pipe": Row(piped(b""), "x.wav: is empty (0 bytes); record it again", 1, arguments=TRANSCRIBE),
    "an empty file to transcribe": Row(
        to_transcribe(b""), "x.wav: is empty (0 bytes); record it again", 1, arguments=TRANSCRIBE
    ),
    "text to transcribe": Row(
        to_transcribe(b"not audio"), f"x.wav: is not readable audio; {READABLE}", 1, arguments=TRANSCRIBE
    ),
    "a length of 0 to transcribe": Row(to_transcribe(forged(0)), "x.wav: ", 0, arguments=TRANSCRIBE),
    "a folder to transcribe": Row(
        to_transcribe(b""),
        "cannot be read (Is a directory); name the recordings in it",
        1,
        arguments=("transcribe", "@", "@/ok.wav"),
    ),
    "no file to transcribe": Row(
        to_transcribe(b""),
        "none.wav: cannot be read (No such file or directory); correct the name",
        1,
        arguments=("transcribe", "@/none.wav", "@/ok.wav"),
    ),
}

ROWS = {**TABLES, **NAMES, **AUDIO, **TRANSCRIPTS, **PATHS, **MANIFESTS, **LISTENING, **TRANSCRIBING}


@pytest.fixture(scope="session")
def version(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a published version."""
    folder = tmp_path_factory.mktemp("published")
    memory_map(FIXTURES / "tf2_128.pb", folder / "output_graph.pbmm")
    return VersionFolder(folder / "version", folder / "output_graph.pbmm").path


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS.keys())
def test_bad_input_is_named_with_what_to_do(
    row: Row, version: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("speechmodel_cli.transcribe._choose", lambda folder, name: None)
    monkeypatch.setattr(
        "speechmodel_cli.transcribe._by_model", lambda model, files: transcribe_here(version, files, Engine.AUTO)
    )
    with unprivileged_folder() if row.unprivileged else contextlib.nullcontext(tmp_path) as place:
        source = place / "input"
        source.mkdir()
        row.make(source)
        if row.arguments:
            code = main([argument.replace("@", str(source)) for argument in row.arguments])
            shown = capsys.readouterr()
            said = shown.out + shown.err
        else:
            code, said = prepared(source, place, row.settings)
    assert row.said.replace("@", str(source)) in said
    assert code == row.code
    assert "Traceback" not in said
    if row.arguments[:1] == ("transcribe",):
        assert f"{source}/ok.wav: ok espejo\n" in said


def test_no_row_of_the_table_hides_another() -> None:
    assert len(ROWS) == sum(map(len, (TABLES, NAMES, AUDIO, TRANSCRIPTS, PATHS, MANIFESTS, LISTENING, TRANSCRIBING)))
    assert len(ROWS) >= 60


def prepared(source: Path, place: Path, settings: Mapping[str, Any]) -> tuple[int, str]:
    """Run prepare, and return its exit code and everything that it reports."""
    workspace = PurePosixPath(place / "workspace")
    given = {"format": DatasetFormat.COMMANDS, "language": "es", "split": Split(), **settings}
    document = PrepareInput(key=KEY, attempt=1, workspace=workspace, source=PurePosixPath(source), **given)
    try:
        prepare(document)
    except StageFailure as failure:
        return failure.code, f"{failure.reason}: {failure}"
    report = PrepareReport.model_validate_json((Workspace(workspace).data(KEY) / REPORT).read_bytes())
    return 0, "\n".join(
        (
            f"layout: {report.layout}; {report.clips} clips; alphabet: {''.join(report.alphabet).replace(' ', chr(0x2423))}",
            *(f"{rejection.reason}: {rejection}" for rejection in report.rejected),
            *(f"{doubt.kind}: {doubt}" for doubt in report.doubts),
            *(
                f"normalised: {change.file} row {change.row}: {change.given!r} is {change.used!r} ({', '.join(change.rules)})"
                for change in report.normalised
            ),
            *(f"unnamed: {name}" for name in report.unnamed_files),
            *(f"record next: {sentence}" for sentence in report.coverage.record_next),
        )
    )
