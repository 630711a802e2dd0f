"""`speechmodel run --listen DIR`: recordings that training never saw, spoken against heard.

What a version heard in a recording never changes, so it is kept beside the version: calling again costs nothing.
"""

import csv
import hashlib
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_stagekit.durable import replace_file

from speechmodel_cli.errors import CommandError
from speechmodel_cli.summary import Spoken

FILE_COLUMNS = ("file", "wav_filename")
TEXT_COLUMNS = ("transcript", "text")


class Memory(Document):
    """What a version heard."""

    texts: dict[str, str] = {}
    """By the sha256 of the recording's file."""


def listen(version_folder: Path, recordings: Path) -> list[Spoken]:
    """Spoken and heard for every row of the folder's table. Raises CommandError."""
    rows = read_table(recordings)
    memory_file = version_folder.with_name(f"{version_folder.name}.heard.json")
    texts = dict(_remembered(memory_file).texts)
    digests = {file: _digest(file) for file, _ in rows}
    errors: dict[Path, str] = {}
    new = [file for file, digest in digests.items() if digest not in texts]
    if new:
        from speechmodel_cli.hearing import hear  # numpy and the runtime: only for what is new

        for heard in hear(version_folder, new):
            if heard.error is not None:
                errors[heard.file] = heard.error
            else:
                texts[digests[heard.file]] = heard.text
        replace_file(memory_file, Memory(texts=texts).model_dump_json(indent=1))
    return [Spoken(words, errors.get(file) or texts[digests[file]]) for file, words in rows]


def read_table(recordings: Path) -> list[tuple[Path, str]]:
    """Recording and words of each row of the one .csv in the folder."""
    tables = sorted(recordings.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise CommandError(
            f"{recordings} must hold one .csv that names file and words of each recording; found: {found}"
        )
    (table,) = tables
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        file_column = _column(table, reader.fieldnames, FILE_COLUMNS)
        text_column = _column(table, reader.fieldnames, TEXT_COLUMNS)
        return [(recordings / row[file_column], row[text_column] or "") for row in reader if row[file_column]]


def _remembered(file: Path) -> Memory:
    try:
        return Memory.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return Memory()


def _digest(file: Path) -> str:
    """Empty for a file that is not there, which no digest is."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _column(table: Path, columns: object, wanted: tuple[str, ...]) -> str:
    known = columns if isinstance(columns, list) else []
    for name in wanted:
        if name in known:
            return name
    raise CommandError(f"{table}: no column {' or '.join(wanted)}; its columns are {', '.join(known) or 'none'}")
