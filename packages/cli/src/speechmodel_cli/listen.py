"""`speechmodel run --listen DIR`: compare the words of recordings that training never saw with their transcriptions.

A version always transcribes a recording in the same way, so transcriptions are kept beside the version and a second call costs nothing.
"""

import csv
import hashlib
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_stagekit.durable import replace_file

from speechmodel_cli.errors import CommandError
from speechmodel_cli.summary import Comparison
from speechmodel_cli.transcriptions import transcribe_here

FILE_COLUMNS = ("file", "wav_filename")
TEXT_COLUMNS = ("transcript", "text")


class Heard(Document):
    """The transcription of a recording, without the rest of the answer."""

    text: str
    confidence: float | None = None
    """Probability from 0 to 1. None in free text, and when nothing was recognised."""


class KnownTranscriptions(Document):
    """The transcriptions that a version has made already."""

    heard: dict[str, Heard] = {}
    """Transcriptions by the sha256 of the recording's file."""


def listen(version_folder: Path, recordings: Path) -> list[Comparison]:
    """Return a comparison for every row of the folder's table. Raises CommandError."""
    rows = read_table(recordings)
    known_file = version_folder.with_name(f"{version_folder.name}.heard.json")
    errors: dict[Path, str] = {}
    heard = dict(_known(known_file).heard)
    digests = {file: _digest(file) for file, _ in rows}
    new = [file for file, digest in digests.items() if digest not in heard]
    if new:
        for one in transcribe_here(version_folder, new):
            if one.answer is not None:
                heard[digests[one.file]] = Heard(text=one.answer.text, confidence=one.answer.confidence)
            else:
                errors[one.file] = one.error or ""
        replace_file(known_file, KnownTranscriptions(heard=heard).model_dump_json(indent=1))
    return [_comparison(words, errors.get(file), heard.get(digests[file])) for file, words in rows]


def _comparison(words: str, error: str | None, heard: Heard | None) -> Comparison:
    if error is not None or heard is None:
        return Comparison(reference=words, hypothesis=error or "")
    return Comparison(reference=words, hypothesis=heard.text, confidence=heard.confidence)


def read_table(recordings: Path) -> list[tuple[Path, str]]:
    """Return the recording and the words of each row of the one .csv in the folder. Raises CommandError."""
    tables = sorted(recordings.glob("*.csv"))
    if len(tables) != 1:
        found = ", ".join(path.name for path in tables) or "none"
        raise CommandError(
            f"{recordings} must contain one .csv with the file and the words of each recording; found: {found}"
        )
    (table,) = tables
    with table.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file)
        file_column = _column(table, reader.fieldnames, FILE_COLUMNS)
        text_column = _column(table, reader.fieldnames, TEXT_COLUMNS)
        return [(recordings / row[file_column], row[text_column] or "") for row in reader if row[file_column]]


def _known(file: Path) -> KnownTranscriptions:
    try:
        return KnownTranscriptions.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return KnownTranscriptions()


def _digest(file: Path) -> str:
    """Return the sha256 of a file; the empty string, which no file has, for one that cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""


def _column(table: Path, columns: object, wanted: tuple[str, ...]) -> str:
    known = columns if isinstance(columns, list) else []
    for name in wanted:
        if name in known:
            return name
    raise CommandError(f"{table} has no column {' or '.join(wanted)}; its columns are {', '.join(known) or 'none'}")
