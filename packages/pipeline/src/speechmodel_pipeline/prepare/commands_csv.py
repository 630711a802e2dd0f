"""The format `Commands`: recordings in `original/<language>/`, and `commands.csv` beside it.

    id,es
    ok-espejo,Ok espejo

The columns are in any order, and others are ignored. The column of the language has the name of its
tag (es-CL, es_CL) or else of the tag's language (es), and so has the folder below original/.

An id with the ending of an audio file (`7.wav`) means that one file. Which files belong to another
id is decided by the layout of the whole folder (layout.py). Hidden files are ignored, and files
that no row names are reported.
"""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.layout import assign, near_misses, nfc
from speechmodel_pipeline.prepare.recordings import Listing, Recording, missing, printable
from speechmodel_pipeline.prepare.report import Rejection, RejectionReason
from speechmodel_pipeline.prepare.table import Row, Table, read_table

TABLE = "commands.csv"
RECORDINGS = "original"
READ = {
    ".wav",
    ".wave",
    ".flac",
    ".ogg",
    ".oga",
    ".opus",
    ".mp3",
    ".aif",
    ".aiff",
    ".aifc",
    ".au",
    ".snd",
    ".caf",
    ".w64",
    ".rf64",
}
"""Endings of files that libsndfile reads."""
AUDIO = READ | {".m4a", ".mp4", ".aac", ".wma", ".amr", ".3gp", ".webm"}
"""Also endings of recordings that are rejected by name instead of overlooked."""


def read_commands(source: Path, language: str, name_pattern: str = "") -> Listing:
    """Return the dataset in `source`.

    `name_pattern` is `dataset.recordings.namePattern`, or empty to find the layout. Raises BadData
    when the dataset lacks `commands.csv`, a column or the folder of recordings, or when the layout
    of the recordings is ambiguous.
    """
    if not (source / TABLE).is_file():
        raise missing(TABLE, source)
    table = read_table(source / TABLE, TABLE)
    id_column, text_column = _column(table, ["id"]), _column(table, _tags(language))
    folder = _folder(source, language)
    rows, rejected = _first_of_each_id(table.rows, id_column, text_column)
    files = {nfc(path.relative_to(folder).as_posix()): path for path in sorted(_audio_files(folder))}
    assignment = assign(list(files), rows.keys(), name_pattern)
    owned: dict[str, list[str]] = {id_: [] for id_ in rows}
    for name, reading in assignment.readings.items():
        owned[reading.id].append(name)
    unnamed = [name for name in files if name not in assignment.readings]
    nearly = near_misses((id_ for id_ in rows if not owned[id_]), unnamed)
    recordings = []
    for id_, row in rows.items():
        if not owned[id_]:
            rejected.append(_no_recording(row, id_, row.cells[text_column], printable(folder, source), nearly.get(id_)))
        recordings += [
            Recording(TABLE, row.line, id_, files[name], printable(files[name], source), row.cells[text_column], None)
            for name in sorted(owned[id_])
        ]
    return Listing(
        rows=len(table.rows) + len(table.malformed),
        recordings=tuple(recordings),
        rejected=tuple(sorted((*table.malformed, *rejected), key=lambda rejection: rejection.row)),
        unnamed_files=tuple(printable(files[name], source) for name in unnamed),
        layout=assignment.layout.pattern,
    )


def _tags(language: str) -> list[str]:
    """Return the tag and, less exact, its language: es-CL, es."""
    return list(dict.fromkeys((language, language.split("-")[0])))


def _column(table: Table, names: Iterable[str]) -> str:
    by_key = {_key(column): column for column in table.columns}
    wanted = list(names)
    for name in wanted:
        if column := by_key.get(_key(name)):
            return column
    header = ", ".join(column or "(empty)" for column in table.columns)
    raise BadData(
        Reason.INVALID_DATASET, f"{table.name} has no column {' or '.join(wanted)}; its first line names: {header}"
    )


def _folder(source: Path, language: str) -> Path:
    original = source / RECORDINGS
    if not original.is_dir():
        raise missing(f"the folder {RECORDINGS}/{language}", source)
    by_key = {_key(path.name): path for path in sorted(original.iterdir()) if path.is_dir()}
    for tag in _tags(language):
        if folder := by_key.get(_key(tag)):
            return folder
    raise missing(f"the folder {RECORDINGS}/{' or '.join(_tags(language))}", original)


def _key(name: str) -> str:
    return name.strip().casefold().replace("_", "-")


def _first_of_each_id(rows: Iterable[Row], id_column: str, text_column: str) -> tuple[dict[str, Row], list[Rejection]]:
    first: dict[str, Row] = {}
    rejected = []
    for row in rows:
        name = nfc(row.cells[id_column])
        if not name:
            problem, reason = "has no id; give the file name of the recording", RejectionReason.MALFORMED_ROW
        elif name in first:
            problem, reason = (
                f"the id {name} is already in row {first[name].line}; give each id once",
                RejectionReason.DUPLICATE_ROW,
            )
        else:
            first[name] = row
            continue
        transcript = row.cells[text_column]
        rejected.append(
            Rejection(file=TABLE, row=row.line, id=name, transcript=transcript, reason=reason, message=problem)
        )
    return first, rejected


def _audio_files(folder: Path) -> Iterator[Path]:
    for path in folder.rglob("*"):
        inside = path.relative_to(folder)
        if path.suffix.lower() in AUDIO and path.is_file() and not any(part.startswith(".") for part in inside.parts):
            yield path


def _no_recording(row: Row, id_: str, transcript: str, folder: str, nearly: str | None) -> Rejection:
    exact = PurePosixPath(id_).suffix.lower() in AUDIO
    looked_for: Sequence[str] = [id_] if exact else [f"{id_}.wav", f"{id_}_*.wav", f"{id_}-*.wav", f"{id_}/"]
    message = f"no recording of {id_}: looked in {folder} for {', '.join(looked_for)} (flac, ogg and mp3 too)"
    if exact:
        message = f"the recording {folder}/{id_} is missing; copy it there or correct the id"
    if nearly:
        message += f"; did you mean {nearly}? Make the id and the file name equal"
    return Rejection(
        file=TABLE, row=row.line, id=id_, transcript=transcript, reason=RejectionReason.NO_RECORDING, message=message
    )
