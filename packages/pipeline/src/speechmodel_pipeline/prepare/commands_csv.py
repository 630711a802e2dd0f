"""The format `Commands`: recordings in `original/<language>/`, and `commands.csv` beside it.

    id,es
    ok-espejo,Ok espejo

The columns are in any order, and others are ignored. The column of the language has the name of its
tag (es-CL, es_CL) or else of the tag's language (es), and so has the folder below original/.

The recordings of a row:

- an id with the ending of an audio file (`7.wav`) means that one file;
- any other id means `<id>.<ext>`, every `<id>_*.<ext>` and `<id>-*.<ext>`, and every file in the
  folder `<id>/`;
- a file that fits several ids belongs to the longest of them: `ok_espejo_2.wav` to `ok_espejo`,
  not to `ok`;
- names are compared after Unicode normalisation (NFC) and by case; hidden files are ignored.

Files that no row names are reported.
"""

import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath

from speechmodel_pipeline.prepare.audio_files import AUDIO, audio_files
from speechmodel_pipeline.prepare.recordings import Listing, Recording, missing, printable
from speechmodel_pipeline.prepare.report import Rejection, RejectionReason
from speechmodel_pipeline.prepare.table import Row, read_table

TABLE = "commands.csv"
RECORDINGS = "original"


def read_commands(source: Path, language: str) -> Listing:
    """Return the dataset in `source`.

    Raises BadData when it lacks `commands.csv`, a column or the folder of recordings.
    """
    if not (source / TABLE).is_file():
        raise missing(TABLE, source)
    table = read_table(source / TABLE, TABLE)
    id_column, text_column = table.column("id"), table.column(*_tags(language))
    folder = _folder(source, language)
    rows, rejected = _first_of_each_id(table.rows, id_column, text_column)
    files = audio_files(folder)
    owned = _owners({_nfc(path.relative_to(folder).as_posix()): path for path in files}, set(rows))
    recordings = []
    for name, row in rows.items():
        if not owned[name]:
            rejected.append(_no_recording(row, name, row.cells[text_column], printable(folder, source)))
        recordings += [
            Recording(TABLE, row.line, name, path, printable(path, source), row.cells[text_column], None)
            for path in owned[name]
        ]
    taken = {path for paths in owned.values() for path in paths}
    return Listing(
        rows=len(table.rows) + len(table.malformed),
        recordings=tuple(recordings),
        rejected=tuple(sorted((*table.malformed, *rejected), key=lambda rejection: rejection.row)),
        unnamed_files=tuple(printable(path, source) for path in files if path not in taken),
    )


def _tags(language: str) -> list[str]:
    """Return the tag and, less exact, its language: es-CL, es."""
    return list(dict.fromkeys((language, language.split("-")[0])))


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
        name = _nfc(row.cells[id_column])
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


def _owners(files: Mapping[str, Path], ids: set[str]) -> dict[str, list[Path]]:
    owned: dict[str, list[Path]] = {name: [] for name in ids}
    for relative, path in files.items():
        candidates = (relative, *_possible_ids(str(PurePosixPath(relative).with_suffix(""))))
        if owner := next((name for name in candidates if name in ids), None):
            owned[owner].append(path)
    return owned


def _possible_ids(stem: str) -> Iterator[str]:
    """Yield the ids that a file may have, the longest first: `a/b_1-2`, `a/b_1`, `a/b`, `a`."""
    yield stem
    for index in range(len(stem) - 1, 0, -1):
        if stem[index] in "_-/":
            yield stem[:index]


def _no_recording(row: Row, name: str, transcript: str, folder: str) -> Rejection:
    exact = PurePosixPath(name).suffix.lower() in AUDIO
    looked_for: Sequence[str] = [name] if exact else [f"{name}.wav", f"{name}_*.wav", f"{name}-*.wav", f"{name}/"]
    message = f"no recording of {name}: looked in {folder} for {', '.join(looked_for)} (flac, ogg and mp3 too)"
    if exact:
        message = f"the recording {folder}/{name} is missing; copy it there or correct the id"
    return Rejection(
        file=TABLE, row=row.line, id=name, transcript=transcript, reason=RejectionReason.NO_RECORDING, message=message
    )


def _nfc(text: str) -> str:
    return unicodedata.normalize("NFC", text)
