"""Other speech: where its recordings are, and that none of them is a recording of a row."""

from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from speechmodel_api.dataset_spec import DatasetFormat, Negatives, Split
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_pipeline.prepare.other_speech import (
    OtherSpeech,
    find_other_speech,
    in_dataset,
    in_source,
    refuse_recordings_of_rows,
)
from speechmodel_pipeline.prepare.recordings import Recording
from speechmodel_stagekit.errors import BadData

BUCKET = S3Location(bucket="radio", prefix="es", endpoint="http://s3:9000")


def files(folder: Path, **content: str) -> Path:
    """Write recordings of this content."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in content.items():
        (folder / f"{name}.wav").write_text(text, encoding="utf-8")
    return folder


def rows(folder: Path) -> list[Recording]:
    """Return a row for each recording in a folder."""
    return [
        Recording("commands.csv", number, path.stem, path, path.name, "hola", None)
        for number, path in enumerate(sorted(folder.glob("*.wav")), 2)
    ]


def test_recordings_are_named_below_the_dataset_or_below_their_own_place(tmp_path: Path) -> None:
    files(tmp_path / "other" / "radio", a="a")
    (tmp_path / "other" / "list.csv").write_text("file\n", encoding="utf-8")
    assert [name for _, name in in_dataset(tmp_path, "other").recordings] == ["other/radio/a.wav"]
    assert [name for _, name in in_source(tmp_path / "other", None).recordings] == ["radio/a.wav"]
    assert in_source(tmp_path / "other", BUCKET).place == "es/ of bucket radio at http://s3:9000"


def test_a_place_without_recordings_is_named_by_its_field(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    copy = "copy recordings of other speech into that folder"
    for name in ("empty", "absent"):
        with pytest.raises(
            BadData, match=f"dataset.negatives.path: {name} has no recordings; {copy}, or remove the field"
        ):
            in_dataset(tmp_path, name)
    claim = "dataset.negatives.source.persistentVolumeClaim: "
    with pytest.raises(BadData, match=f"{claim}{tmp_path}/empty has no recordings; {copy}, or correct path"):
        in_source(tmp_path / "empty", None)
    with pytest.raises(BadData, match=f"{claim}{tmp_path}/absent is not a folder; correct path, or create that folder"):
        in_source(tmp_path / "absent", None)


def refused(other: OtherSpeech, recordings: list[Recording]) -> str:
    with pytest.raises(BadData) as raised:
        refuse_recordings_of_rows(other, recordings)
    return str(raised.value)


def test_a_copy_of_a_recording_of_a_row_is_refused_in_whatever_place(tmp_path: Path) -> None:
    recordings = rows(files(tmp_path, hola="words of a row"))
    files(tmp_path / "other", copied="words of a row", radio="words of radio")
    end = "remove these copies, or name a place whose recordings contain none of the transcripts"
    said = refused(in_dataset(tmp_path, "other"), recordings)
    assert said == (
        "dataset.negatives.path: 1 of the files in other is a recording of the dataset (other/copied.wav is hola.wav); "
        + end
    )
    said = refused(in_source(tmp_path / "other", BUCKET), recordings)
    assert said.startswith(
        "dataset.negatives.source: 1 of the files in es/ of bucket radio at http://s3:9000 is a recording of"
    )
    files(tmp_path / "other", another="words of a row")
    assert "2 of the files in other are recordings of the dataset" in refused(in_dataset(tmp_path, "other"), recordings)


def test_recordings_of_one_size_are_not_copies_and_what_cannot_be_read_is_left_for_later(tmp_path: Path) -> None:
    recordings = rows(files(tmp_path, hola="aaaa"))
    recordings.append(Recording("commands.csv", 4, "x", tmp_path / "absent.wav", "absent.wav", "hola", None))
    files(tmp_path / "other", radio="bbbb")
    (tmp_path / "other" / "broken.wav").symlink_to("nowhere")
    refuse_recordings_of_rows(in_dataset(tmp_path, "other"), recordings)


def found(claim: Path, **more: Any) -> list[str]:
    """Return the names of other speech for a model whose workspace is the folder `espejo` of a claim."""
    document = {
        "key": "0000000a",
        "attempt": 1,
        "workspace": PurePosixPath(claim / "espejo"),
        "source": PurePosixPath(claim / "voices"),
        "format": DatasetFormat.COMMANDS,
        "language": "es",
        "split": Split(),
    }
    other = find_other_speech(PrepareInput(**{**document, **more}))
    return [name for _, name in other.recordings] if other else []


def test_a_folder_with_the_workspace_is_not_other_speech(tmp_path: Path) -> None:
    claim, mounted = tmp_path / "claim", tmp_path / "negatives"
    files(claim / "espejo" / "data" / "00000001" / "clips", hola="words of a row")
    files(claim / "radio", a="words of radio")
    mounted.symlink_to(claim)  # as the claim is mounted a second time
    for path, relation in (("", "contains"), ("espejo", "contains"), ("espejo/data/00000001/clips", "is in")):
        with pytest.raises(BadData) as raised:
            found(claim, other_speech=PurePosixPath(mounted / path))
        assert str(raised.value) == (
            f"dataset.negatives.source: {mounted / path} {relation} the workspace of the model, with its prepared clips; "
            "set path to a folder that has only other speech"
        )
    assert found(claim, other_speech=PurePosixPath(mounted / "radio")) == ["a.wav"]
    with pytest.raises(BadData, match=r"dataset\.negatives\.path: .* contains the workspace of the model"):
        found(claim, source=PurePosixPath(tmp_path), negatives=Negatives(path="negatives"))
    downloads = PurePosixPath(files(claim / "espejo" / "sources" / "0", b="words of radio"))
    assert found(claim, other_speech=downloads, other_speech_bucket=BUCKET) == ["b.wav"]


def test_files_below_other_speech_are_not_forgotten_by_a_row(tmp_path: Path) -> None:
    files(tmp_path / "clips" / "other" / "es", a="a")
    (tmp_path / "negatives").symlink_to(tmp_path / "clips" / "other")  # as the claim is mounted a second time
    names = ("b.wav", "clips/c.wav", "clips/other/es/a.wav", "clips/other/\\udce9.wav", "otherwise/d.wav")
    for other in (in_source(tmp_path / "negatives", None), in_dataset(tmp_path, "clips/other")):
        assert other.not_in_folder(names, tmp_path) == ("b.wav", "clips/c.wav", "otherwise/d.wav")
    assert in_source(files(tmp_path / "radio", a="a"), None).not_in_folder(names, tmp_path) == names
