"""CSV files as people and spreadsheets write them.

UTF-8 with or without BOM. The delimiter is the one of `,`, `;` and tab that divides the header into
most cells. A row that is not valid CSV costs that row only: an unclosed quotation mark does not
include the rows after it.
"""

import csv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.report import Rejection, RejectionReason

DELIMITERS = (",", ";", "\t")
LONGEST_ROW = 50
"""Largest number of lines in a quoted cell. A longer cell counts as not closed."""


@dataclass(frozen=True)
class Row:
    """The cells of a row by column, stripped of white space."""

    line: int
    """Line in the file; the header is 1."""
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A CSV file."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    malformed: tuple[Rejection, ...]
    """Rows that are not valid CSV or do not fit the header."""


def read_table(path: Path, name: str) -> Table:
    """Return the CSV file at `path`, which errors call `name`.

    Raises BadData when it is not UTF-8, has no header, or has a column twice.
    """
    lines = _lines(path, name)
    if not lines or not lines[0].strip():
        raise BadData(
            Reason.INVALID_DATASET, f"{name} does not begin with a header line; add one with the names of the columns"
        )
    delimiter = max(DELIMITERS, key=lambda candidate: len(_cells(lines[0], candidate)))
    columns = tuple(column.strip() for column in _cells(lines[0], delimiter))
    if twice := [column for column in columns if column and columns.count(column) > 1]:
        raise BadData(Reason.INVALID_DATASET, f"{name} has the column {twice[0]!r} twice; rename or delete one of them")
    rows, malformed = [], []
    for line, cells in _rows(lines, delimiter):
        problem = cells if isinstance(cells, str) else _misfit(cells, columns)
        if problem is not None:
            malformed.append(Rejection(file=name, row=line, reason=RejectionReason.MALFORMED_ROW, message=problem))
        else:
            rows.append(Row(line, {column: cell.strip() for column, cell in zip(columns, cells, strict=False)}))
    return Table(name, columns, tuple(rows), tuple(malformed))


def _lines(path: Path, name: str) -> list[str]:
    raw = path.read_bytes()
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(Reason.INVALID_DATASET, f"{name} is not UTF-8 (line {line}); save it as CSV UTF-8") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _rows(lines: Sequence[str], delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line number, cells) of every row below the header that is not blank, or (line number,
    its problem).
    """
    index = 1
    while index < len(lines):
        line = index + 1
        try:
            cells, used = _first_row(lines[index : index + LONGEST_ROW], delimiter)
        except csv.Error as error:
            index += 1
            yield line, f"is not valid CSV ({error}): quote the cell and double any quotes inside it"
            continue
        index += used
        if any(cell.strip() for cell in cells):
            yield line, cells


def _misfit(cells: Sequence[str], columns: Sequence[str]) -> str | None:
    if len(cells) < len(columns):
        return f"has {len(cells)} cells, the header has {len(columns)}"
    if any(cell.strip() for cell in cells[len(columns) :]):
        return f"has {len(cells)} cells, the header has {len(columns)}: quote a transcript with the delimiter in it"
    return None


def _cells(line: str, delimiter: str) -> list[str]:
    try:
        return _first_row([line], delimiter)[0]
    except csv.Error:
        return []


def _first_row(lines: Sequence[str], delimiter: str) -> tuple[list[str], int]:
    """Return the cells of the row that begins with the first line, and its number of lines.

    Raises csv.Error.
    """
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True, strict=True)
    cells = next(reader)
    return cells, reader.line_num
