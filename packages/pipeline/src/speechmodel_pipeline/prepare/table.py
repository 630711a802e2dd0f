"""CSV files as people and spreadsheets write them.

UTF-8 with or without BOM; the delimiter is the one of `,`, `;` and tab that divides the header into most cells. A row that is
no CSV costs that row only: a quotation mark that is never closed does not swallow the rows after it.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.report import Reason, Rejection

DELIMITERS = (",", ";", "\t")
LONGEST_ROW = 50
"""Lines that a quoted cell with line breaks may run over before its quotation mark counts as never closed."""


@dataclass(frozen=True)
class Row:
    """The cells of a row by column, without white space at their ends."""

    line: int
    """In the file; the header is 1."""
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A CSV file."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    malformed: tuple[Rejection, ...]
    """Rows that are no CSV or do not fit the header."""


def read_table(path: Path, name: str) -> Table:
    """The CSV file at `path`; `name` is what people are told.

    Raises BadData when it is not UTF-8, has no header, or a column twice.
    """
    lines = _lines(path, name)
    if not lines or not lines[0].strip():
        raise BadData("InvalidDataset", f"{name} does not begin with a header line")
    delimiter = max(DELIMITERS, key=lambda candidate: len(_cells(lines[0], candidate)))
    columns = tuple(column.strip() for column in _cells(lines[0], delimiter))
    if twice := [column for column in columns if column and columns.count(column) > 1]:
        raise BadData("InvalidDataset", f"{name} has the column {twice[0]!r} twice; rename or delete one of them")
    rows, malformed = [], []
    for line, cells in _rows(lines, delimiter):
        problem = cells if isinstance(cells, str) else _misfit(cells, columns)
        if problem is not None:
            malformed.append(Rejection(file=name, row=line, reason=Reason.MALFORMED_ROW, message=problem))
        else:
            rows.append(Row(line, {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}))
    return Table(name, columns, tuple(rows), tuple(malformed))


def _lines(path: Path, name: str) -> list[str]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData("InvalidDataset", f"{name} is not UTF-8 (line {line}); save it as CSV UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """(line number, cells) of every row below the header that is not blank, or (line number, what is wrong with it)."""
    index = 1
    while index < len(lines):
        line = index + 1
        try:
            cells, used = _first_row(lines[index : index + LONGEST_ROW], delimiter)
        except csv.Error as error:
            index += 1
            yield line, f"is no CSV ({error}); put the cell in double quotes and write quotes inside of it twice"
            continue
        index += used
        if any(cell.strip() for cell in cells):
            yield line, cells


def _misfit(cells: Sequence[str], columns: Sequence[str]) -> str | None:
    if len(cells) < len(columns):
        return f"has {len(cells)} cells, the header has {len(columns)}"
    if any(cell.strip() for cell in cells[len(columns) :]):
        return f"has {len(cells)} cells, the header has {len(columns)}; put a transcript with the delimiter in it in double quotes"
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return _first_row([line], delimiter)[0]
    except csv.Error:
        return []


def _first_row(lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    """The cells of the row that begins with the first line, and how many lines it takes; csv.Error when it is none."""
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    cells = next(reader)
    return cells, reader.line_num
