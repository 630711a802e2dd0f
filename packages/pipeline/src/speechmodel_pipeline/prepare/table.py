"""CSV files as people and spreadsheets write them.

UTF-8 with or without BOM. The delimiter is the one of `,`, `;`, `|` and tab that a line `sep=;` before
the header names, or else the one that divides most rows into as many cells as the header has. A row
that is not valid CSV costs that row only: an unclosed quotation mark does not include the rows after
it. Names of columns are compared without case, and `_` counts as `-`.
"""

import csv
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.report import Rejection, RejectionReason

DELIMITERS = (",", ";", "\t", "|")
LOOKED_AT = 50
"""Rows by which the delimiter is chosen."""
_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\s*', re.IGNORECASE)
LONGEST_ROW = 50
"""Largest number of lines in a quoted cell. A longer cell counts as not closed."""


@dataclass(frozen=True)
class Row:
    """The cells of a row by column, stripped of white space."""

    line: int
    """Line in the file, from 1."""
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A CSV file."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    malformed: tuple[Rejection, ...]
    """Rows that are not valid CSV or do not fit the header."""

    def find(self, *names: str) -> str | None:
        """Return the column with the first of `names` that there is."""
        by_key = {_key(column): column for column in reversed(self.columns)}
        return next((by_key[_key(name)] for name in names if _key(name) in by_key), None)

    def column(self, *names: str) -> str:
        """Return the column with the first of `names` that there is. Raises BadData without any."""
        if (found := self.find(*names)) is not None:
            return found
        header = ", ".join(column or "(empty)" for column in self.columns)
        raise BadData(
            Reason.INVALID_DATASET, f"{self.name} has no column {' or '.join(names)}; its header has: {header}"
        )


def read_table(path: Path, name: str) -> Table:
    """Return the CSV file at `path`, which errors call `name`.

    Raises BadData when it is not UTF-8, has no header, or has a column twice.
    """
    lines = _lines(path, name)
    named = _SEPARATOR.fullmatch(lines[0])
    first = 1 if named else 0
    if len(lines) <= first or not lines[first].strip():
        raise BadData(
            Reason.INVALID_DATASET, f"{name} does not begin with a header line; add one with the names of the columns"
        )
    delimiter = named[1] if named else max(DELIMITERS, key=lambda candidate: _fit(lines, candidate))
    columns = tuple(column.strip() for column in _cells(lines[first], delimiter))
    keys = [_key(column) for column in columns]
    if twice := [column for column in columns if column and keys.count(_key(column)) > 1]:
        raise BadData(Reason.INVALID_DATASET, f"{name} has the column {twice[0]!r} twice; rename or delete one of them")
    rows, malformed = [], []
    for line, cells in _rows(lines, first + 1, delimiter):
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


def _fit(lines: Sequence[str], delimiter: str) -> tuple[int, int]:
    """Return how well `delimiter` divides the table: the rows with as many cells as the header, if it
    has several, and the cells of the header.
    """
    header = len(_cells(lines[0], delimiter))
    rows = islice(_rows(lines, 1, delimiter), LOOKED_AT)
    fitting = sum(len(cells) == header for _, cells in rows if isinstance(cells, list))
    return (fitting if header > 1 else 0), header


def _rows(lines: Sequence[str], index: int, delimiter: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line number, cells) of every row from `index` on that is not blank, or (line number, its
    problem).
    """
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
        has = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        return f"has {has}, the header has {len(columns)}: add the missing ones, or correct the delimiter"
    if any(cell.strip() for cell in cells[len(columns) :]):
        return f"has {len(cells)} cells, the header has {len(columns)}: quote a transcript with the delimiter in it"
    return None


def _key(column: str) -> str:
    return unicodedata.normalize("NFC", column).strip().casefold().replace("_", "-")


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
