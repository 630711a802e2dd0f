"""CSV files as people and spreadsheets write them."""

import contextlib
import csv
import io
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_pipeline.prepare.table import (
    KEY,
    VALUE,
    Table,
    read_headerless,
    read_json_lines,
    read_pairs,
    read_table,
)
from speechmodel_stagekit.errors import BadData


def table_of(content: str | bytes, folder: Path) -> Table:
    path = folder / "commands.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_table(path, "commands.csv")


@pytest.mark.parametrize(
    "content",
    [
        "id,es\n1,hola espejo\n",
        "\ufeffid,es\n1,hola espejo\n",
        "id;es\r\n1;hola espejo\r\n",
        "id\tes\r1\thola espejo\r",
        ' id , es \n 1 , "hola espejo"\n',
        "id,es\n\n1,hola espejo\n,\n\n",
        "id,es\n1,hola espejo,,\n",
        "id,es\n1,hola espejo",
        "\n,,\nid,es\n1,hola espejo\n",
        "\nsep=;\n\nid;es\n1;hola espejo\n",
        "id|es\n1|hola espejo\n",
        "sep=;\nid;es\n1;hola espejo\n",
        '"sep=|"\r\nid|es\r\n1|hola espejo\r\n',
        "id\tes\r\n1\thola espejo\r\n".encode("utf-16"),
        "\ufeffid,es\n1,hola espejo\n".encode("utf-16-be"),
    ],
    ids=[
        "plain",
        "BOM",
        "semicolons",
        "tabs and CR",
        "spaces",
        "blank rows",
        "trailing commas",
        "no newline",
        "blank lines first",
        "blank lines first, with sep",
        "pipes",
        "sep",
        "quoted sep",
        "UTF-16",
        "UTF-16, big-endian",
    ],
)
def test_however_a_spreadsheet_writes_it_the_row_is_the_same(content: str | bytes, tmp_path: Path) -> None:
    table = table_of(content, tmp_path)
    assert [dict(row.cells) for row in table.rows] == [{"id": "1", "es": "hola espejo"}]
    assert not table.malformed


def test_the_delimiter_is_the_headers_and_transcripts_may_hold_the_others(tmp_path: Path) -> None:
    assert table_of("id;es\n1;hola, espejo\n", tmp_path).rows[0].cells["es"] == "hola, espejo"


def test_a_header_with_other_delimiters_in_it_does_not_deceive(tmp_path: Path) -> None:
    table = table_of("id,es (a;b;c;d)\n1,hola\n2,adiós\n", tmp_path)
    assert table.columns == ("id", "es (a;b;c;d)")
    assert [row.cells["id"] for row in table.rows] == ["1", "2"]


def test_columns_are_found_without_case_and_the_first_name_wins(tmp_path: Path) -> None:
    table = table_of("Wav_Filename,ES,es-CL\n1,a,b\n", tmp_path)
    assert table.column("wav-filename") == "Wav_Filename"
    assert (table.column("es_cl", "es"), table.column("es-AR", "es")) == ("es-CL", "ES")
    with pytest.raises(BadData, match="has no column ru or en; its header has: Wav_Filename, ES, es-CL"):
        table.column("ru", "en")


def test_columns_that_differ_in_case_alone_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has the column 'es' twice"):
        table_of("id,es,ES\n", tmp_path)


def test_below_a_line_with_the_delimiter_rows_keep_their_lines(tmp_path: Path) -> None:
    assert [row.line for row in table_of("sep=,\nid,es\n1,hola\n", tmp_path).rows] == [3]
    with pytest.raises(BadData, match="does not begin with a header"):
        table_of("sep=,\n", tmp_path)


def test_rows_are_named_by_their_line_in_the_file(tmp_path: Path) -> None:
    table = table_of('id,es\n\n1,"two\nlines"\n2,b\n', tmp_path)
    assert [(row.line, row.cells["id"]) for row in table.rows] == [(3, "1"), (5, "2")]


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        ("1,hola, espejo", "has 3 cells, the header has 2: quote a transcript with the delimiter in it"),
        ("this is not csv", "has 1 cell, the header has 2: add the missing ones, or correct the delimiter"),
        ('1,"hola', "is not valid CSV"),
        ('1,"hola" espejo', "is not valid CSV"),
    ],
)
def test_a_malformed_row_costs_only_itself(row: str, problem: str, tmp_path: Path) -> None:
    table = table_of(f'id,es\n{row}\n2,adiós\n3,"bien"\n', tmp_path)
    assert [row.cells["id"] for row in table.rows] == ["2", "3"]
    assert [(rejection.row, rejection.reason) for rejection in table.malformed] == [(2, "MalformedRow")]
    assert table.malformed[0].message.startswith(problem)


def test_a_file_that_is_not_utf8_is_refused_with_the_line(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"commands.csv is not UTF-8 \(line 3\); save it as CSV UTF-8"):
        table_of("id,es\n1,hola\n2,niña\n".encode("latin-1"), tmp_path)


@pytest.mark.parametrize(
    "content",
    [
        "id,es\n1,hola\n".encode("utf-16-le"),
        "id,es\n".encode("utf-16-be"),
        "id,es".encode("utf-16") + b"1",
        "id,es".encode("utf-32"),
        "id,es".encode("utf-32-be"),
    ],
)
def test_utf16_without_a_mark_at_its_beginning_or_cut_is_refused(content: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"commands.csv is not UTF-8 \(line 1\); save it as CSV UTF-8"):
        table_of(content, tmp_path)


@pytest.mark.parametrize("beginning", [b"PK\x03\x04\x14\0", bytes.fromhex("d0cf11e0a1b11ae1")])
def test_a_workbook_is_called_so(beginning: bytes, tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"commands.csv is a workbook of a spreadsheet, not text; save it as CSV UTF-8"):
        table_of(beginning + b"xl/worksheets", tmp_path)


def test_a_header_that_cannot_be_read_is_named_as_such(tmp_path: Path) -> None:
    with pytest.raises(BadData, match=r"the header of commands.csv \(line 2\) is not valid CSV"):
        table_of('sep=,\n"id" , "es"\n', tmp_path)


@pytest.mark.parametrize("content", ["", "\n,,\n", "sep=;\n"])
def test_a_file_without_a_header_is_refused(content: str, tmp_path: Path) -> None:
    with pytest.raises(BadData, match="does not begin with a header line"):
        table_of(content, tmp_path)


def test_a_column_given_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadData, match="has the column 'es' twice"):
        table_of("id,es,es\n", tmp_path)


CELLS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\x00"), max_size=20)


@given(rows=st.lists(st.tuples(CELLS, CELLS), max_size=8), delimiter=st.sampled_from(",;\t|"))
def test_what_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, str]], delimiter: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, quoting=csv.QUOTE_ALL).writerows([("id", "es"), *rows])
    table = table_of(text.getvalue(), tmp_path_factory.mktemp("table"))
    wanted = [(left.strip(), right.strip()) for left, right in rows if left.strip() or right.strip()]
    assert [(row.cells["id"], row.cells["es"]) for row in table.rows] == wanted
    assert not table.malformed


@given(raw=st.binary(max_size=200))
def test_no_bytes_make_it_fail_in_another_way(raw: bytes, tmp_path_factory: pytest.TempPathFactory) -> None:
    with contextlib.suppress(BadData):
        table_of(b"id,es\n" + raw, tmp_path_factory.mktemp("table"))


@given(raw=st.binary(max_size=200))
def test_no_bytes_make_the_other_readers_fail_in_another_way(
    raw: bytes, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "table"
    path.write_bytes(raw)
    for read in (read_pairs, read_json_lines):
        with contextlib.suppress(BadData):
            read(path, "table")
    with contextlib.suppress(BadData):
        read_headerless(path, "table", ("id", "text"), 2, "|")


@given(rows=st.lists(st.tuples(CELLS, CELLS), min_size=1, max_size=8))
def test_what_a_json_writer_writes_is_read_back(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("table") / "metadata.jsonl"
    lines = (json.dumps({"file_name": name, "text": text}, ensure_ascii=False) for name, text in rows)
    path.write_text("\n".join(lines), encoding="utf-8")
    table = read_json_lines(path, path.name)
    assert [tuple(row.cells.values()) for row in table.rows] == [(name.strip(), text.strip()) for name, text in rows]
    assert not table.malformed


@pytest.mark.parametrize(
    "line",
    [
        r'{"file_name": "a.wav", "text": "\ud800"}',
        r'{"file_name": "a.wav", "te\ud800xt": "hola"}',
        r'{"file_name": "a.wav", "text": ["hola", "\udc00"]}',
        "[" * 100_000,
        '{"file_name": ' * 100_000,
    ],
)
def test_a_line_that_is_no_text_or_too_deep_costs_only_itself(line: str, tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text(f'{line}\n{{"file_name": "b.wav", "text": "\\ud83d\\ude00"}}\n', encoding="utf-8")
    table = read_json_lines(path, path.name)
    assert [dict(row.cells) for row in table.rows] == [{"file_name": "b.wav", "text": "\U0001f600"}]
    assert [rejection.row for rejection in table.malformed] == [1]
    assert table.malformed[0].message.startswith("is not valid JSON (")


def test_json_that_is_no_lines_says_what_to_write(tmp_path: Path) -> None:
    path = tmp_path / "metadata.jsonl"
    path.write_text('[{"file_name": "a.wav", "text": "hola"}]\n')
    with pytest.raises(BadData, match=r"metadata.jsonl row 1 is not a JSON object; write one object in each line"):
        read_json_lines(path, path.name)


def test_pairs_keep_their_lines_and_may_lack_a_value(tmp_path: Path) -> None:
    path = tmp_path / "text"
    path.write_bytes("\ufeffa  hola  espejo \r\n\r\nb\n".encode())
    assert [(row.line, row.cells[KEY], row.cells[VALUE]) for row in read_pairs(path, "text").rows] == [
        (1, "a", "hola  espejo"),
        (3, "b", ""),
    ]
