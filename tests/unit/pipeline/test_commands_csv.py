"""The format Commands: which recordings belong to which row."""

import sys
import unicodedata
from pathlib import Path

import pytest
from speechmodel_pipeline.prepare.commands_csv import read_commands
from speechmodel_pipeline.prepare.recordings import Listing
from speechmodel_stagekit.errors import BadData


def dataset(folder: Path, table: str, *recordings: str, language: str = "es") -> Path:
    (folder / "commands.csv").write_text(table, encoding="utf-8")
    for name in recordings:
        path = folder / "original" / language / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"RIFF")
    (folder / "original" / language).mkdir(parents=True, exist_ok=True)
    return folder


def recordings(listing: Listing) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for recording in listing.recordings:
        found.setdefault(recording.id, []).append(recording.name.removeprefix("original/es/"))
    return found


@pytest.mark.parametrize(
    ("row", "files", "owned"),
    [
        ("7", ["7.wav"], ["7.wav"]),
        ("7", ["7.WAV"], ["7.WAV"]),
        ("7", ["7.flac"], ["7.flac"]),
        ("7.wav", ["7.wav", "7_2.wav"], ["7.wav"]),
        ("7", ["7_1.wav", "7-b.ogg", "7.mp3"], ["7-b.ogg", "7.mp3", "7_1.wav"]),
        ("7", ["7/anna.wav", "7/deep/otto.wav"], ["7/anna.wav", "7/deep/otto.wav"]),
        ("set/7", ["set/7.wav"], ["set/7.wav"]),
        ("7", ["shapes_06d3_2_3_000000_7_001.wav"], ["shapes_06d3_2_3_000000_7_001.wav"]),
        ("7", ["anna/7.wav", "otto/7_2.wav"], ["anna/7.wav", "otto/7_2.wav"]),
    ],
)
def test_a_row_owns_its_recordings(row: str, files: list[str], owned: list[str], tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, f"id,es\n{row},hola\n", *files), "es")
    assert recordings(listing) == {row: owned}


def test_a_file_that_fits_several_ids_belongs_to_the_longest(tmp_path: Path) -> None:
    source = dataset(
        tmp_path, "id,es\nok,ok\nok_espejo,ok espejo\n1,uno\n", "ok_espejo_2.wav", "ok_2.wav", "12.wav", "1.wav"
    )
    listing = read_commands(source, "es")
    assert recordings(listing) == {"ok": ["ok_2.wav"], "ok_espejo": ["ok_espejo_2.wav"], "1": ["1.wav"]}
    assert listing.unnamed_files == ("original/es/12.wav",)


def test_files_that_no_row_names_are_reported_and_hidden_ones_ignored(tmp_path: Path) -> None:
    source = dataset(tmp_path, "id,es\n1,hola\n", "1.wav", "stray.wav", "._1.wav", "notes.txt")
    assert read_commands(source, "es").unnamed_files == ("original/es/stray.wav",)


PARTS = ["train", "dev", "test"]


@pytest.mark.parametrize(
    ("files", "speakers"),
    [
        ([f"{part}/{id_}_{take}.wav" for part in PARTS for id_ in "12" for take in "34"], {None}),
        ([f"{part}/{id_}/{take}.wav" for part in PARTS for id_ in "12" for take in "34"], {None}),
        ([f"{part}/{who}/{id_}.wav" for part in PARTS for who in ("ana", "bo") for id_ in "12"], {"ana", "bo"}),
    ],
)
def test_folders_of_parts_are_no_speakers(files: list[str], speakers: set[str | None], tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, "id,es,split\n1,hola,\n2,bien,\n", *files), "es")
    assert len(listing.recordings) == len(files)
    assert {each.speaker for each in listing.recordings} == speakers
    assert all(each.name.split("/")[2] == each.part for each in listing.recordings)
    with_column = read_commands(dataset(tmp_path, "id,es,split\n1,hola,test\n2,bien,test\n", *files), "es")
    assert {each.part for each in with_column.recordings} == {"test"}


def test_a_folder_with_the_name_of_a_part_may_be_an_id(tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, "id,es\ntest,prueba\ntrain,tren\n", "test/1.wav", "train/1.wav"), "es")
    assert [(each.id, each.part) for each in listing.recordings] == [("test", None), ("train", None)]


@pytest.mark.parametrize("row", ["original/es/set/7.wav", "./set/7.wav", "set\\7.wav", ".\\set\\7", "set\\7"])
def test_an_id_may_be_the_path_of_the_recording(row: str, tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, f"id,es\n{row},hola\n", "set/7.wav"), "es")
    assert [(each.name, each.transcript) for each in listing.recordings] == [("original/es/set/7.wav", "hola")]


def test_a_backslash_in_a_file_name_is_no_folder(tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, "id,es\na\\b,hola\n", "a\\b.wav"), "es")
    assert recordings(listing) == {"a\\b": ["a\\b.wav"]}


def test_speakers_and_messages_are_text_also_where_names_of_files_are_not(tmp_path: Path) -> None:
    files = [f"{speaker}/{id_}.wav" for speaker in ("Jos\udce9", "ana") for id_ in ("ok", "no")]
    listing = read_commands(dataset(tmp_path, "id,es\nok,hola\nno,no\n", *files), "es")
    assert {each.speaker for each in listing.recordings} == {"Jos\\xe9", "ana"}
    (tmp_path / "other").mkdir()
    unread = read_commands(dataset(tmp_path / "other", "id,es\nok,hola\n", "\udce9.wav"), "es")
    assert "in names such as \\xe9.wav with" in unread.rejected[0].message


def test_names_are_compared_after_unicode_normalisation(tmp_path: Path) -> None:
    source = dataset(tmp_path, "id,es\ncanción,canción\n", unicodedata.normalize("NFD", "canción") + ".wav")
    assert len(read_commands(source, "es").recordings) == 1


@pytest.mark.parametrize(
    ("header", "language", "folder"),
    [
        ("ID,ES", "es", "es"),
        ("note,es_CL,id", "es-CL", "es-cl"),
        ("id,es,de", "es-CL", "es"),
        ("id,es-ES,es-note", "es", "es_CL"),
        ("id,es-419", "es", "es"),
    ],
)
def test_column_and_folder_of_a_language_are_found_as_people_write_them(
    header: str, language: str, folder: str, tmp_path: Path
) -> None:
    columns = header.split(",")
    row = ",".join({"id": "1", "note": "x", "de": "hallo"}.get(column.lower(), "hola") for column in columns)
    source = dataset(tmp_path, f"{header}\n{row}\n", "1.wav", language=folder)
    assert [recording.transcript for recording in read_commands(source, language).recordings] == ["hola"]


def test_of_two_regions_of_a_language_none_is_guessed(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"commands.csv has no column es; its header has: id, es-ES, es-CL"):
        read_commands(dataset(tmp_path, "id,es-ES,es-CL\n1,hola,hola\n", "1.wav"), "es")


def test_rows_without_a_recording_are_rejected_by_row_with_what_was_looked_for(tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, "id,es\n1,hola\n2,adiós\n3.wav,bien\n", "1.wav"), "es")
    assert [(rejection.row, rejection.reason) for rejection in listing.rejected] == [
        (3, "NoRecording"),
        (4, "NoRecording"),
    ]
    assert "no recording of 2: looked in original/es for 2.wav, 2_*.wav, 2-*.wav, 2/" in listing.rejected[0].message
    assert "original/es/3.wav is missing" in listing.rejected[1].message


def test_an_id_given_twice_counts_once(tmp_path: Path) -> None:
    listing = read_commands(dataset(tmp_path, "id,es\n1,hola\n1,adiós\n,nada\n", "1.wav"), "es")
    assert [recording.transcript for recording in listing.recordings] == ["hola"]
    assert [(rejection.row, rejection.reason) for rejection in listing.rejected] == [
        (3, "DuplicateRow"),
        (4, "MalformedRow"),
    ]
    assert "the id 1 is already in row 2" in listing.rejected[0].message


def test_without_its_table_the_dataset_is_invalid_and_the_error_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "comandos.csv").touch()
    with pytest.raises(BadData, match=r"commands.csv is missing; in .* there is comandos.csv") as refused:
        read_commands(tmp_path, "es")
    assert refused.value.reason == "InvalidDataset"


def test_without_the_languages_folder_the_dataset_is_invalid(tmp_path: Path) -> None:
    source = dataset(tmp_path, "id,es\n1,hola\n", "1.wav", language="en")
    with pytest.raises(BadData, match=r"the folder original/es is missing; in .*original there is en"):
        read_commands(source, "es")


def test_without_the_languages_column_the_dataset_is_invalid(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"commands.csv has no column es-CL or es; its header has: id, en"):
        read_commands(dataset(tmp_path, "id,en\n1,hello\n"), "es-CL")


def test_a_source_that_is_not_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"nowhere is not a folder; correct dataset.source"):
        read_commands(tmp_path / "nowhere", "es")


def test_the_work_for_rows_without_recordings_grows_with_rows_and_files_and_not_with_their_product(
    tmp_path: Path,
) -> None:
    def calls(number: int) -> int:
        folder = tmp_path / str(number)
        folder.mkdir()
        rows = "".join(f"wort{at},wort\n" for at in range(number))
        source = dataset(folder, f"id,es\n{rows}", *(f"{at} fremd.wav" for at in range(number)))
        counted = 0

        def count(*_: object) -> None:
            nonlocal counted
            counted += 1

        sys.setprofile(count)
        try:
            read_commands(source, "es")
        finally:
            sys.setprofile(None)
        return counted

    assert calls(200) < 3 * calls(100)


@pytest.mark.parametrize("part", ["train", "dev", "valid", "VAL", "validation", "test"])
def test_a_part_beside_a_speaker_is_refused(part: str, tmp_path: Path) -> None:
    source = dataset(tmp_path, "id,es\n1,uno\n2,dos\n", f"{part}/1.wav", f"{part}/2.wav", "ana/1.wav", "ana/2.wav")
    with pytest.raises(BadData, match=f"the folder {part} is named after a part, and the folder ana beside it is not"):
        read_commands(source, "es")


def test_a_file_beside_the_folders_of_parts_is_refused_by_name(tmp_path: Path) -> None:
    names = ["train/luz_1.wav", "test/luz_2.wav", "train/ok_2.wav", "extra.wav"]
    with pytest.raises(
        BadData, match=r"extra.wav: not in a folder of a part, such as test or train, where all others are; move"
    ):
        read_commands(dataset(tmp_path, "id,es\nluz,luz\nok,ok\n", *names), "es")
