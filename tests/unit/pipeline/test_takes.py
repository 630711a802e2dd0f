"""Takes that were recorded on the page of the server are rows of a dataset in any format."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from speechmodel_api.dataset_spec import DatasetFormat
from speechmodel_api.takes import MISHEARD, TAKES, Take
from speechmodel_pipeline.prepare.formats import list_recordings
from speechmodel_pipeline.prepare.recordings import Listing
from speechmodel_pipeline.prepare.takes import with_takes

TABLES = {
    DatasetFormat.COMMANDS: ("commands.csv", "id,es\n1,Ok espejo\n2,¡Hola!\n"),
    DatasetFormat.DEEPSPEECH_CSV: ("train.csv", "wav_filename,transcript\na.wav,ok espejo\n"),
    DatasetFormat.AUDIO_FOLDER: ("metadata.csv", "file_name,transcription\na.wav,ok espejo\n"),
    DatasetFormat.KALDI: ("text", "a ok espejo\n"),
    DatasetFormat.COMMON_VOICE: ("validated.tsv", "client_id\tpath\tsentence\nx\ta.mp3\tok espejo\n"),
    DatasetFormat.LIBRISPEECH: ("1/2/1-2.trans.txt", "1-2-0 ok espejo\n"),
}
SOUNDS = {
    DatasetFormat.COMMANDS: "original/es/1.wav",
    DatasetFormat.COMMON_VOICE: "clips/a.mp3",
    DatasetFormat.LIBRISPEECH: "1/2/1-2-0.flac",
}


def write(path: Path, content: str = "") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def dataset(folder: Path, layout: DatasetFormat = DatasetFormat.COMMANDS) -> Path:
    name, table = TABLES[layout]
    write(folder / name, table)
    write(folder / SOUNDS.get(layout, "a.wav"))
    if layout is DatasetFormat.KALDI:
        write(folder / "wav.scp", "a a.wav\n")
    return folder


def record(folder: Path, text: str, speaker: str = "ana", identity: str = "20260101-000000-aaaaaa") -> Path:
    take = Take(text=text, speaker=speaker, language="es", recorded_at=datetime.now(UTC), consent=True)
    document = write(folder / TAKES / speaker / f"{identity}.json", take.model_dump_json(by_alias=True))
    return write(document.with_suffix(".wav"))


def listing(folder: Path, layout: DatasetFormat = DatasetFormat.COMMANDS) -> Listing:
    return with_takes(list_recordings(folder, layout, "es"), folder, lambda text: text.strip("¡!").lower())


@pytest.mark.parametrize("layout", DatasetFormat)
def test_takes_are_rows_of_every_format_with_their_speaker(tmp_path: Path, layout: DatasetFormat) -> None:
    before = list_recordings(dataset(tmp_path, layout), layout, "es")
    sound = record(tmp_path, "apaga la luz")
    found = listing(tmp_path, layout)
    assert found.recordings[:-1] == before.recordings
    assert (found.rows, found.unnamed_files) == (before.rows + 1, ())
    take = found.recordings[-1]
    assert (take.path, take.transcript, take.speaker, take.part) == (sound, "apaga la luz", "ana", None)


@pytest.mark.parametrize("layout", DatasetFormat)
def test_misheard_clips_are_no_recordings_of_a_dataset(tmp_path: Path, layout: DatasetFormat) -> None:
    before = list_recordings(dataset(tmp_path, layout), layout, "es")
    write(tmp_path / MISHEARD / "espejo" / "20260101-000000-aaaaaa.wav")
    assert listing(tmp_path, layout) == before


def test_a_dataset_without_takes_is_as_it_was(tmp_path: Path) -> None:
    before = list_recordings(dataset(tmp_path), DatasetFormat.COMMANDS, "es")
    assert listing(tmp_path) == before


def test_a_phrase_that_has_only_takes_is_not_rejected(tmp_path: Path) -> None:
    dataset(tmp_path)
    assert [each.transcript for each in listing(tmp_path).rejected] == ["¡Hola!"]
    record(tmp_path, "hola")
    assert listing(tmp_path).rejected == ()


def test_what_is_no_take_is_rejected_with_its_name_and_what_to_do(tmp_path: Path) -> None:
    dataset(tmp_path)
    record(tmp_path, "hola").unlink()
    write(tmp_path / TAKES / "ana" / "b.json", "{}")
    write(tmp_path / TAKES / "ana" / "c.json", "hello")
    said = [str(each) for each in listing(tmp_path).rejected if each.file.startswith(TAKES)]
    assert len(said) == 3
    assert all("ana/" in each and "record the take again" in each for each in said)


def test_hidden_files_of_macos_are_no_takes(tmp_path: Path) -> None:
    document = record(dataset(tmp_path), "hola").with_suffix(".json")
    write(document.with_name(f"._{document.name}"), "Mac OS X")
    assert listing(tmp_path).rejected == ()


def test_a_take_without_consent_is_not_used(tmp_path: Path) -> None:
    document = record(dataset(tmp_path), "hola").with_suffix(".json")
    write(document, document.read_text(encoding="utf-8").replace("true", "false"))
    assert all(each.transcript != "hola" for each in listing(tmp_path).recordings)
