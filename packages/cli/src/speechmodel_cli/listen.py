"""`speechmodel run --listen DIR`: compare the words of recordings that training never saw with their transcriptions.

The same version and engine always transcribe a recording in the same way. So transcriptions are kept beside the
version, and a second call decodes nothing.
"""

import hashlib
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.dataset_spec import Dataset
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import MODEL
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import BadData

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.published import read_manifest
from speechmodel_cli.summary import Comparison
from speechmodel_cli.transcriptions import transcribe_here

FILE_COLUMNS = ("file", "wav_filename", "path", "filename", "file_name", "recording", "audio", "wav")
TEXT_COLUMNS = ("words", "text", "transcript", "transcription", "sentence")
SHOWN_ROWS = 5


@dataclass(frozen=True)
class Spoken:
    """A recording and the words that are spoken in it."""

    file: Path
    words: str


class Heard(Document):
    """The transcription of a recording, without the rest of the answer."""

    text: str
    confidence: float | None = None
    """Probability from 0 to 1. None in free text, and when nothing was recognised."""


class KnownTranscriptions(Document):
    """The transcriptions that a version has made already."""

    engine: Engine = Engine.AUTO
    """serving.settings.engine at that time."""
    heard: dict[str, Heard] = {}
    """Transcriptions by the sha256 of the recording's file."""


def listen(version_folder: Path, spoken: Sequence[Spoken], dataset: Dataset, engine: Engine) -> list[Comparison]:
    """Return a comparison for every recording. Its words are normalised as those of `dataset`. It is transcribed as by a
    server with `engine`.
    """
    from speechmodel_runtime import read_graph

    known_file = version_folder.with_name(f"{version_folder.name}.heard.json")
    errors: dict[Path, str] = {}
    heard = _known(known_file, engine)
    digests = {one.file: _digest(one.file) for one in spoken}
    new = [file for file, digest in digests.items() if digest not in heard]
    if new:
        for one in transcribe_here(version_folder, new, engine):
            if one.answer is not None:
                heard[digests[one.file]] = Heard(text=one.answer.text, confidence=one.answer.confidence)
            else:
                errors[one.file] = one.error or ""
        replace_file(known_file, KnownTranscriptions(engine=engine, heard=heard).model_dump_json(indent=1))
    language = read_manifest(version_folder).language
    alphabet = frozenset(label.decode(errors="replace") for label in read_graph(version_folder / MODEL).labels)
    return [
        _comparison(
            _normalised(one.words, language, alphabet, dataset), errors.get(one.file), heard.get(digests[one.file])
        )
        for one in spoken
    ]


def _comparison(words: str, error: str | None, heard: Heard | None) -> Comparison:
    if error is not None or heard is None:
        return Comparison(reference=words, hypothesis=error or "")
    return Comparison(reference=words, hypothesis=heard.text, confidence=heard.confidence)


def read_spoken(folder: Path) -> list[Spoken]:
    """Return the recording and the words of each row of the one .csv or .tsv in the folder.

    Raises CommandError for a row that cannot be read, and when there is not one such file.
    """
    from speechmodel_pipeline.prepare.recordings import path_below
    from speechmodel_pipeline.prepare.table import read_table

    try:
        files = sorted(
            path
            for path in folder.iterdir()
            if path.suffix.lower() in (".csv", ".tsv") and not path.name.startswith(".")
        )
    except OSError as error:
        raise CommandError(
            f"{folder} cannot be read as a folder of recordings ({error.strerror}); correct --listen"
        ) from error
    if len(files) != 1:
        found = ", ".join(path.name for path in files) or "none"
        raise CommandError(
            f"{folder} must contain one .csv or .tsv with the file and the words of each recording; found: {found}"
        )
    (file,) = files
    try:
        table = read_table(file, str(file))
        columns = table.column(*FILE_COLUMNS), table.column(*TEXT_COLUMNS)
    except OSError as error:
        raise CommandError(f"{file} cannot be read ({error.strerror}); make it readable") from error
    except BadData as error:
        raise CommandError(str(error)) from error
    bad = [(left.row, left.message) for left in table.malformed]
    bad += [
        (row.line, "has no file name; give the path of the recording")
        for row in table.rows
        if not row.cells[columns[0]]
    ]
    if bad:
        rows = [f"row {line} {problem}" for line, problem in sorted(bad)]
        more = f"; and {len(rows) - SHOWN_ROWS} more" if len(rows) > SHOWN_ROWS else ""
        raise CommandError(f"{file}: {'; '.join(rows[:SHOWN_ROWS])}{more}")
    cells = [tuple(row.cells[column] for column in columns) for row in table.rows]
    return [Spoken(path_below(folder, name), words) for name, words in cells]


def _normalised(words: str, language: str, alphabet: Set[str], dataset: Dataset) -> str:
    """Return the words as they are trained, or as they are given when no rule can read them."""
    from speechmodel_decoding.text.normalise import TranscriptUnusable
    from speechmodel_decoding.text.settings import TextSettings, normalise_for

    for known in (alphabet, frozenset[str]()):
        try:
            settings = TextSettings(language, known, dataset.annotations, dataset.numbers)
            return normalise_for(settings, words).text
        except TranscriptUnusable:
            continue
    return words


def _known(file: Path, engine: Engine) -> dict[str, Heard]:
    """Return the transcriptions by this engine."""
    try:
        known = KnownTranscriptions.model_validate_json(file.read_bytes())
    except (FileNotFoundError, ValidationError):
        return {}
    return dict(known.heard) if known.engine is engine else {}


def _digest(file: Path) -> str:
    """Return the sha256 of a file; the empty string, which no file has, for one that cannot be read."""
    try:
        return hashlib.sha256(file.read_bytes()).hexdigest()
    except OSError:
        return ""
