"""Tables as people, spreadsheets and other toolkits write them.

UTF-8 with or without BOM, or UTF-16 with BOM. The delimiter is the one of `,`, `;`, `|` and tab that a line `sep=;` before
the header names, or else the one that divides most rows into as many cells as the header has. A row
that is not valid CSV costs that row only: an unclosed quotation mark does not include the rows after
it. Names of columns are compared without case, and `_` counts as `-`. Blank lines are ignored.

Tables of other toolkits follow the same rules, as far as they have columns with names: JSON Lines,
tables without a header (LJSpeech), and lines of a key, white space or a separator, and a value (Kaldi, LibriSpeech, lists
of prompts).
"""

import codecs
import csv
import json
import re
import unicodedata
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice, repeat
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare_report import Rejection

DELIMITERS = (",", ";", "\t", "|")
LOOKED_AT = 50
"""Rows by which the delimiter is chosen."""
_SEPARATOR = re.compile(r'"?sep=([,;|\t])"?\s*', re.IGNORECASE)
_BLANK = "".join(DELIMITERS) + ' "'
"""Characters of rows without content."""
WORKBOOKS = (b"PK\x03\x04", b"\xd0\xcf\x11\xe0")
"""Beginnings of workbooks, new and old. The first is that of every zip archive."""
LONGEST_ROW = 50
"""Largest number of lines in a quoted cell. A longer cell counts as not closed."""
KEY, VALUE = "key", "value"
"""Columns of a table that read_pairs returns."""


@dataclass(frozen=True)
class Row:
    """The cells of a row by column, stripped of white space."""

    line: int
    """Line in the file, from 1."""
    cells: Mapping[str, str]


@dataclass(frozen=True)
class Table:
    """A table."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    malformed: tuple[Rejection, ...]
    """Rows that cannot be read or do not fit the header."""

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


def read_table(path: Path, name: str, literal: str = "") -> Table:
    """Return the CSV file at `path`, which errors call `name`.

    Quotation marks are ordinary characters if the delimiter is one of `literal`: some toolkits write
    them so. Raises BadData when it is neither UTF-8 nor UTF-16, or its header is missing, cannot be read or has a column
    twice.
    """
    lines = _lines(path, name)
    named, first = _header_place(lines)
    if first == len(lines):
        raise BadData(
            Reason.INVALID_DATASET, f"{name} does not begin with a header line; add one with the names of the columns"
        )
    delimiter = named or max(DELIMITERS, key=lambda candidate: _fit(lines[first:], candidate, literal))
    columns = tuple(column.strip() for column in _header(lines[first], name, first + 1, delimiter, literal))
    keys = [_key(column) for column in columns]
    if twice := [column for column in columns if column and keys.count(_key(column)) > 1]:
        raise BadData(Reason.INVALID_DATASET, f"{name} has the column {twice[0]!r} twice; rename or delete one of them")
    rows = _rows(lines, first + 1, delimiter, literal)
    return _table(name, columns, rows, fewest=len(columns), quotes=delimiter not in literal)


def read_headerless(path: Path, name: str, columns: tuple[str, ...], fewest: int, delimiter: str) -> Table:
    """Return the file at `path`, whose rows have at least the first `fewest` of `columns` and no header.

    Quotation marks are ordinary characters. Raises BadData when it is neither UTF-8 nor UTF-16.
    """
    rows = _rows(_lines(path, name), 0, delimiter, delimiter)
    return _table(name, columns, rows, fewest=fewest, quotes=False)


def lacks_header(path: Path, name: str, delimiter: str, columns: Collection[str]) -> bool:
    """Return True for a table whose first row has several cells and none of `columns`, below no line `sep=`.

    Raises BadData when it is neither UTF-8 nor UTF-16.
    """
    lines = _lines(path, name)
    named, first = _header_place(lines)
    if named or first == len(lines):
        return False
    cells = [_key(cell.strip().strip('"')) for cell in lines[first].split(delimiter)]
    return len(cells) > 1 and not {_key(column) for column in columns}.intersection(cells)


def read_json_lines(path: Path, name: str) -> Table:
    """Return the file at `path`, which has a JSON object in each line. Every field is a column, and
    absent and null ones are empty.

    Raises BadData when it is neither UTF-8 nor UTF-16, or no line is an object.
    """
    objects: list[tuple[int, dict[str, str]]] = []
    malformed = []
    for line, text in enumerate(_lines(path, name), 1):
        if not text.strip():
            continue
        try:
            read = json.loads(text)
            json.dumps(read, ensure_ascii=False).encode()  # half of a surrogate pair is no text
        except (ValueError, RecursionError) as error:
            malformed.append(_malformed(name, line, f"is not valid JSON ({error}); write one object in each line"))
            continue
        if isinstance(read, dict):
            objects.append((line, {field: _as_text(value) for field, value in read.items()}))
        else:
            malformed.append(_malformed(name, line, "is not a JSON object; write one object in each line"))
    if malformed and not objects:
        raise BadData(Reason.INVALID_DATASET, f"{name} row {malformed[0].row} {malformed[0].message}")
    columns = tuple(dict.fromkeys(field for _, fields in objects for field in fields))
    rows = tuple(Row(line, {column: fields.get(column, "") for column in columns}) for line, fields in objects)
    return Table(name, columns, rows, tuple(malformed))


def read_pairs(path: Path, name: str) -> Table:
    """Return the file at `path`, which has a key, white space and a value in each line, as the columns
    KEY and VALUE. A value may be empty.

    Raises BadData when it is neither UTF-8 nor UTF-16.
    """
    pairs = ((line, text.split(maxsplit=1)) for line, text in enumerate(_lines(path, name), 1))
    rows = (Row(line, {KEY: pair[0], VALUE: pair[1].strip() if len(pair) > 1 else ""}) for line, pair in pairs if pair)
    return Table(name, (KEY, VALUE), tuple(rows), ())


def read_separated(path: Path, name: str, separator: str, comments: tuple[str, ...]) -> Table:
    """Return the file at `path`, which has a key, the separator and a value in each line, as the columns KEY and VALUE.

    Only the first separator of a line counts. Lines that begin with one of `comments` are left out. Raises BadData when it is
    neither UTF-8 nor UTF-16.
    """
    rows, malformed = [], []
    shown = "tab" if separator == "\t" else f"'{separator}'"
    for line, text in enumerate(_lines(path, name), 1):
        if not text.strip() or text.startswith(comments):
            continue
        key, found, value = text.partition(separator)
        if found:
            rows.append(Row(line, {KEY: key.strip(), VALUE: value.strip()}))
        else:
            advice = f"write the name of the recording, {shown} and the text in one line"
            malformed.append(_malformed(name, line, f"has no {shown}; {advice}"))
    return Table(name, (KEY, VALUE), tuple(rows), tuple(malformed))


def _table(
    name: str, columns: tuple[str, ...], read: Iterator[tuple[int, list[str] | str]], *, fewest: int, quotes: bool
) -> Table:
    rows, malformed = [], []
    for line, cells in read:
        problem = cells if isinstance(cells, str) else _misfit(cells, columns, fewest, quotes=quotes)
        if problem is not None:
            malformed.append(_malformed(name, line, problem))
        else:
            filled = chain((cell.strip() for cell in cells), repeat(""))
            rows.append(Row(line, dict(zip(columns, filled, strict=False))))
    return Table(name, columns, tuple(rows), tuple(malformed))


def _malformed(name: str, line: int, problem: str) -> Rejection:
    return Rejection(file=name, row=line, reason=RejectionReason.MALFORMED_ROW, message=problem)


def _as_text(value: object) -> str:
    if value is None:
        return ""
    return value.strip() if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _header_place(lines: Sequence[str]) -> tuple[str | None, int]:
    """Return the delimiter that a line `sep=` before the header names, and the index of the header, which is the number of
    lines if there is none.
    """
    filled = [index for index, line in enumerate(lines) if line.strip(_BLANK)]
    named = _SEPARATOR.fullmatch(lines[filled[0]]) if filled else None
    below = filled[1:] if named else filled
    return named[1] if named else None, below[0] if below else len(lines)


def _lines(path: Path, name: str) -> list[str]:
    raw = path.read_bytes()
    kind = "CSV UTF-8" if path.suffix == ".csv" else "UTF-8"
    if raw.startswith(WORKBOOKS):
        raise BadData(Reason.INVALID_DATASET, f"{name} is a workbook of a spreadsheet, not text; save it as {kind}")
    wide = raw.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    try:
        if b"\0" in raw[:2] or raw.startswith(codecs.BOM_UTF32_LE):  # UTF-16 without BOM, or UTF-32
            raise UnicodeDecodeError("utf-8", raw, 0, 2, "a zero byte")
        text = raw.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise BadData(Reason.INVALID_DATASET, f"{name} is not UTF-8 (line {line}); save it as {kind}") from error
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def _fit(lines: Sequence[str], delimiter: str, literal: str) -> tuple[int, int]:
    """Return how well `delimiter` divides the table: the rows with as many cells as the header, if it
    has several, and the cells of the header.
    """
    header = len(_cells(lines[0], delimiter, literal))
    rows = islice(_rows(lines, 1, delimiter, literal), LOOKED_AT)
    fitting = sum(len(cells) == header for _, cells in rows if isinstance(cells, list))
    return (fitting if header > 1 else 0), header


def _rows(lines: Sequence[str], index: int, delimiter: str, literal: str) -> Iterator[tuple[int, list[str] | str]]:
    """Yield (line number, cells) of every row from `index` on that is not blank, or (line number, its
    problem).
    """
    while index < len(lines):
        line = index + 1
        try:
            cells, used = _first_row(lines[index : index + LONGEST_ROW], delimiter, literal)
        except csv.Error as error:
            index += 1
            yield line, f"is not valid CSV ({error}): quote the cell and double any quotes inside it"
            continue
        index += used
        if any(cell.strip() for cell in cells):
            yield line, cells


def _misfit(cells: Sequence[str], columns: Sequence[str], fewest: int, *, quotes: bool) -> str | None:
    wanted = f"the header has {fewest}" if fewest == len(columns) else f"a row has {fewest} to {len(columns)}"
    if len(cells) < fewest:
        has = "1 cell" if len(cells) == 1 else f"{len(cells)} cells"
        return f"has {has}, {wanted}: add the missing ones, or correct the delimiter"
    if any(cell.strip() for cell in cells[len(columns) :]):
        return f"has {len(cells)} cells, {wanted}: {'quote' if quotes else 'correct'} a transcript with the delimiter in it"
    return None


def _key(column: str) -> str:
    return unicodedata.normalize("NFC", column).strip().casefold().replace("_", "-")


def _header(line: str, name: str, number: int, delimiter: str, literal: str) -> list[str]:
    try:
        return _first_row([line], delimiter, literal)[0]
    except csv.Error as error:
        problem = (
            f"the header of {name} (line {number}) is not valid CSV ({error}); quote the whole name of a column or none of "
            "it, and double any quotes inside"
        )
        raise BadData(Reason.INVALID_DATASET, problem) from error


def _cells(line: str, delimiter: str, literal: str) -> list[str]:
    try:
        return _first_row([line], delimiter, literal)[0]
    except csv.Error:
        return []


def _first_row(lines: Sequence[str], delimiter: str, literal: str) -> tuple[list[str], int]:
    """Return the cells of the row that begins with the first line, and its number of lines.

    Raises csv.Error.
    """
    reader = csv.reader(
        (line + "\n" for line in lines),
        delimiter=delimiter,
        quoting=csv.QUOTE_NONE if delimiter in literal else csv.QUOTE_MINIMAL,
        skipinitialspace=True,
        strict=True,
    )
    cells = next(reader)
    return cells, reader.line_num
