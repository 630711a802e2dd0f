"""The table of recordings that --listen reads, and the comparison with what a version hears."""

import unicodedata
from pathlib import Path

import pytest
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.serving_spec import Engine
from speechmodel_cli.command_line import speechmodel
from speechmodel_cli.errors import CommandError
from speechmodel_cli.listen import FILE_COLUMNS, TEXT_COLUMNS, Spoken, listen, read_spoken
from speechmodel_cli.run import RunOptions, run
from speechmodel_cli.summary import Comparison
from speechmodel_pipeline.graphdef.pbmm import memory_map
from support.manifests import DATASET
from support.places import EXAMPLE, FIXTURES
from support.servers import OK_ESPEJO, VersionFolder


def table(folder: Path, content: str | bytes, name: str = "heard.csv") -> Path:
    (folder / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    return folder


@pytest.mark.parametrize("file", FILE_COLUMNS)
@pytest.mark.parametrize("words", TEXT_COLUMNS)
def test_files_and_words_are_found_by_their_columns(tmp_path: Path, file: str, words: str) -> None:
    table(tmp_path, f'{file},speaker,{words.title()}\na.wav,x,"ok, espejo"\n')
    assert read_spoken(tmp_path) == [Spoken(tmp_path / "a.wav", "ok, espejo")]


@pytest.mark.parametrize(
    "content",
    [
        "\ufefffile;words\na.wav;ok, espejo\n",
        "sep=;\r\nfile;words\r\na.wav;ok, espejo\r\n",
        "file\twords\na.wav\tok, espejo\n",
        "FILE|Words\na.wav|ok, espejo\n",
    ],
    ids=["semicolons and BOM", "sep", "tabs", "pipes"],
)
def test_the_table_is_read_as_those_of_datasets_are(tmp_path: Path, content: str) -> None:
    assert read_spoken(table(tmp_path, content, "heard.tsv")) == [Spoken(tmp_path / "a.wav", "ok, espejo")]


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("a,b\n1,2\n", r"heard\.csv has no column file or wav_filename or path .*; its header has: a, b"),
        ("file,x\na.wav,2\n", r"heard\.csv has no column words or text .*; its header has: file, x"),
        ("file,words\na.wav,ok\nb.wav,ok, espejo\n", r"heard\.csv: row 3 has 3 cells, the header has 2"),
        ("file,words\na.wav,señor\n".encode("latin-1"), r"heard\.csv is not UTF-8 \(line 2\)"),
        ("", r"heard\.csv does not begin with a header line"),
        ("file,words\na.wav,ok\n,ok espejo\nx\n", r"heard\.csv: row 3 has no file name; .*; row 4 has 1 cell"),
    ],
)
def test_a_table_that_cannot_be_read_is_named_with_the_row(tmp_path: Path, content: str | bytes, problem: str) -> None:
    with pytest.raises(CommandError, match=problem):
        read_spoken(table(tmp_path, content))


def test_a_folder_without_one_table_says_what_it_found(tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"must contain one \.csv or \.tsv .*found: none"):
        read_spoken(tmp_path)
    for name in ("a.csv", "b.tsv"):
        table(tmp_path, "file,text\n", name)
    with pytest.raises(CommandError, match=r"found: a\.csv, b\.tsv"):
        read_spoken(tmp_path)


def test_files_are_found_by_names_as_those_of_datasets_are(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "canción")
    (tmp_path / "x").mkdir()
    (tmp_path / "x" / f"{decomposed}.WAV").touch()
    table(tmp_path, "file,words\nx\\canción.wav,ok\ngone.wav,ok\n")
    assert [one.file for one in read_spoken(tmp_path)] == [tmp_path / "x" / f"{decomposed}.WAV", tmp_path / "gone.wav"]


def test_hidden_tables_are_ignored(tmp_path: Path) -> None:
    table(tmp_path, b"\0\5\x16\7", "._heard.csv")
    assert read_spoken(table(tmp_path, "file,words\na.wav,ok\n")) == [Spoken(tmp_path / "a.wav", "ok")]


def test_words_are_normalised_as_those_of_a_dataset_before_they_are_compared(tmp_path: Path) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    folder = VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm").path
    words = ["¡Ok, espejo!", "OK ESPEJO", "¡Ok, mañana!", "ok 5"]
    compared = listen(folder, [Spoken(OK_ESPEJO, text) for text in words], DATASET, Engine.AUTO)
    assert [one.reference for one in compared] == ["ok espejo", "ok espejo", "ok mañana", "ok 5"]
    assert [one.right for one in compared] == [True, True, False, False]
    spoken = [Spoken(OK_ESPEJO, "Ok [risas] espejo"), Spoken(OK_ESPEJO, "ok 5")]
    wishes = {"annotations": Annotations.STRIP, "numbers": Numbers.SPELL}
    compared = listen(folder, spoken, DATASET.model_copy(update=wishes), Engine.AUTO)
    assert [one.reference for one in compared] == ["ok espejo", "ok cinco"]


def test_case_does_not_count() -> None:
    assert Comparison(reference="Ok Espejo", hypothesis="ok espejo").right


def test_the_help_names_columns_that_are_read() -> None:
    (option,) = [option for option in speechmodel.commands["run"].params if option.name == "listen"]
    named = str(getattr(option, "help", ""))
    for name in (*FILE_COLUMNS[:3], *TEXT_COLUMNS[:3], "sentence"):
        assert name in named


def test_a_table_that_cannot_be_read_is_reported_before_anything_runs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = RunOptions(EXAMPLE / "speechmodel.yaml", tmp_path / "state", listen=table(tmp_path, "a,b\n1,2\n"))
    assert run(options) == 1
    assert "heard.csv has no column file" in capsys.readouterr().err
    assert not (tmp_path / "state" / "espejo" / "runs").exists()
