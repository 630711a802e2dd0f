"""The table of recordings that --listen reads."""

from pathlib import Path

import pytest
from speechmodel_cli.errors import CommandError
from speechmodel_cli.listen import read_table


@pytest.mark.parametrize(
    "header", ["file,transcript", "wav_filename,wav_filesize,transcript", "\ufefffile,speaker,text"]
)
def test_files_and_words_are_found_by_their_columns(tmp_path: Path, header: str) -> None:
    cells = {"file": "a.wav", "wav_filename": "a.wav", "transcript": "ok, espejo", "text": "ok, espejo"}
    names = header.removeprefix("\ufeff").split(",")
    row = ",".join(f'"{cells.get(name, "x")}"' for name in names)
    (tmp_path / "heard.csv").write_text(f"{header}\n{row}\n", encoding="utf-8")
    assert read_table(tmp_path) == [(tmp_path / "a.wav", "ok, espejo")]


def test_a_table_without_the_columns_is_named_with_those_it_has(tmp_path: Path) -> None:
    (tmp_path / "heard.csv").write_text("a,b\n1,2\n")
    with pytest.raises(CommandError, match=r"heard\.csv has no column file or wav_filename; its columns are a, b"):
        read_table(tmp_path)


def test_a_folder_without_one_table_says_what_it_found(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"must contain one \.csv .*found: none"):
        read_table(tmp_path)
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("file,text\n")
    with pytest.raises(CommandError, match=r"found: a\.csv, b\.csv"):
        read_table(tmp_path)
