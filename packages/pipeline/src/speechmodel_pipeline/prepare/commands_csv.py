"""The format `Commands`: recordings in `original/<language>/`, and `commands.csv` beside it.

    id,es
    ok-espejo,Ok espejo

The columns are in any order, and others are ignored. The column of the language has the name of its
tag (es-CL, es_CL) or else of the tag's language (es), and so has the folder below original/. For the language es, es-CL
is read if it is the only one. The columns `speaker` (or `client_id`) and `split` (train, dev or test) are optional, and so are their
cells. If every recording is in a folder train, dev or test, that is its part unless the column gives one.

An id with the ending of an audio file (`7.wav`, also `original/es/7.wav`) means that one file. Which
files belong to another id is decided by the layout of the whole folder (layout.py). A backslash in an id
separates folders, unless names of files have some. Hidden files are ignored, and files that no row names
are reported.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.audio_files import AUDIO, audio_files
from speechmodel_pipeline.prepare.layout import Reading, assign, near_misses, nfc
from speechmodel_pipeline.prepare.recordings import PARTS, Listing, Recording, missing, of_language, printable
from speechmodel_pipeline.prepare.speakers import SPEAKER_COLUMNS, are_times, guess_speakers
from speechmodel_pipeline.prepare.table import Row, Table, read_table
from speechmodel_pipeline.prepare_report import Rejection, SpeakerSource

TABLE = "commands.csv"
RECORDINGS = "original"


def read_commands(source: Path, language: str, name_pattern: str = "") -> Listing:
    """Return the dataset in `source`.

    `name_pattern` is `dataset.recordings.namePattern`, or empty to find the layout. Raises BadData
    when the dataset lacks `commands.csv`, a column or the folder of recordings, or when the layout
    of the recordings is ambiguous.
    """
    if not (source / TABLE).is_file():
        raise missing(TABLE, source)
    table = read_table(source / TABLE, TABLE)
    id_column, text_column = table.column("id"), _text_column(table, language)
    folder = _folder(source, language)
    speaker_column, split_column = table.find(*SPEAKER_COLUMNS), table.find("split")
    files = {_name(path.relative_to(folder)): path for path in audio_files(folder)}
    with_backslashes = any("\\" in str(path.relative_to(folder)) for path in files.values())
    ids = _Ids(id_column, f"{RECORDINGS}/{folder.name}/", separator="/" if with_backslashes else "\\")
    rows, rejected = _first_of_each_id(table.rows, ids, text_column, split_column)
    below = _below_parts(files, rows) if "/" not in name_pattern else {}
    assignment = assign(list(dict.fromkeys(below.values())) or list(files), rows.keys(), name_pattern)
    readings = {name: reading for name in files if (reading := assignment.readings.get(below.get(name, name)))}
    if not name_pattern:
        _refuse_parts_as_speakers(readings, files)
    owned: dict[str, list[str]] = {id_: [] for id_ in rows}
    for name, reading in readings.items():
        owned[reading.id].append(name)
    unnamed = [name for name in files if name not in readings]
    nearly = near_misses((id_ for id_ in rows if not owned[id_]), unnamed)
    takes = {} if name_pattern else _numbered_takes(unnamed)
    unread = unnamed[0] if unnamed and not readings else None
    speakers, speakers_from = _speakers(readings, rows, speaker_column)
    recordings = []
    for id_, row in rows.items():
        if not owned[id_]:
            where = printable(folder, source)
            text = row.cells[text_column]
            rejected.append(
                _no_recording(row, id_, text, where, nearly.get(id_), name_pattern, unread, takes.get(id_, ""))
            )
        recordings += [
            Recording(
                TABLE,
                row.line,
                id_,
                files[name],
                printable(files[name], source),
                row.cells[text_column],
                (PARTS.get(row.cells[split_column].casefold()) if split_column else None)
                or (PARTS[name.partition("/")[0].casefold()] if below else None),
                speakers.get(name),
            )
            for name in sorted(owned[id_])
        ]
    return Listing(
        rows=len(table.rows) + len(table.malformed),
        recordings=tuple(recordings),
        rejected=tuple(sorted((*table.malformed, *rejected), key=lambda rejection: rejection.row)),
        unnamed_files=tuple(printable(files[name], source) for name in unnamed),
        speakers_from=speakers_from,
        layout=assignment.layout.pattern,
    )


def _below_parts(names: Iterable[str], ids: Collection[str]) -> dict[str, str]:
    """Return, by name, each file's name below the folder of its part, or nothing unless every file is in such a folder.
    One with which an id begins is that id's own.
    """
    split = {name: name.partition("/") for name in names}
    of_ids = {id_.partition("/")[0] for id_ in ids}
    in_parts = all(rest and folder.casefold() in PARTS and folder not in of_ids for folder, _, rest in split.values())
    return {name: rest for name, (_, _, rest) in split.items()} if in_parts else {}


def _refuse_parts_as_speakers(readings: Mapping[str, Reading], names: Iterable[str]) -> None:
    """Raise BadData (InvalidDataset) when a folder that must be a part would be a speaker, because others are none, or
    because one of the files `names` is in no folder.
    """
    speakers = sorted({reading.speaker for reading in readings.values() if reading.speaker}, key=_is_part, reverse=True)
    outside = sorted(name for name in names if not _is_part(name.partition("/")[0]))
    if len(speakers) > 1 and outside and all(map(_is_part, speakers)):
        others = f" and {len(outside) - 1} more" if len(outside) > 1 else ""
        raise BadData(
            Reason.INVALID_DATASET,
            f"{outside[0]}{others}: not in a folder of a part, such as {' or '.join(sorted(speakers))}, where all others are; move it "
            "there, or delete it",
        )
    if len(speakers) > 1 and _is_part(speakers[0]):
        raise BadData(
            Reason.INVALID_DATASET,
            f"the folder {speakers[0]} is named after a part, and the folder {speakers[-1]} beside it is not: put all recordings in "
            "folders train, dev and test, or put all of them in folders of speakers and name the parts in a column split",
        )


def _is_part(folder: str) -> bool:
    return folder.casefold() in PARTS


def _text_column(table: Table, language: str) -> str:
    return of_language(table.columns, language) or table.column(*_tags(language))


def _tags(language: str) -> list[str]:
    """Return the tag and, less exact, its language: es-CL, es."""
    return list(dict.fromkeys((language, language.split("-")[0])))


def _speakers(
    readings: Mapping[str, Reading], rows: Mapping[str, Row], column: str | None
) -> tuple[dict[str, str], SpeakerSource | None]:
    """Return the speaker of each file that has one, and where the speakers were found."""
    if column:
        named = {
            name: nfc(speaker) for name, reading in readings.items() if (speaker := rows[reading.id].cells[column])
        }
        if named:
            return named, SpeakerSource.COLUMN
    in_names = {name: reading.speaker for name, reading in readings.items() if reading.speaker}
    if in_names and not are_times(set(in_names.values())):
        return in_names, SpeakerSource.LAYOUT
    guessed = guess_speakers(readings)
    return guessed, SpeakerSource.GUESSED if guessed else None


def _folder(source: Path, language: str) -> Path:
    original = source / RECORDINGS
    if not original.is_dir():
        raise missing(f"the folder {RECORDINGS}/{language}", source)
    if name := of_language((path.name for path in original.iterdir() if path.is_dir()), language):
        return original / name
    raise missing(f"the folder {RECORDINGS}/{' or '.join(_tags(language))}", original)


def _name(path: Path) -> str:
    """Return the name of a file, with bytes that are not UTF-8 as escapes."""
    return nfc(path.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace"))


@dataclass(frozen=True)
class _Ids:
    """Reads the id of a row, which may be the path of its recording in the dataset."""

    column: str
    folder: str
    separator: str

    def of(self, row: Row) -> str:
        name = nfc(row.cells[self.column]).replace(self.separator, "/")
        return name.removeprefix("./").removeprefix(self.folder)


def _first_of_each_id(
    rows: Iterable[Row], ids: _Ids, text_column: str, split_column: str | None
) -> tuple[dict[str, Row], list[Rejection]]:
    first: dict[str, Row] = {}
    rejected = []
    for row in rows:
        name = ids.of(row)
        if not name:
            problem, reason = "has no id; give the file name of the recording", RejectionReason.MALFORMED_ROW
        elif name in first:
            problem, reason = (
                f"the id {name} is already in row {first[name].line}; give each id once",
                RejectionReason.DUPLICATE_ROW,
            )
        elif split_column and (split := row.cells[split_column]) and split.casefold() not in PARTS:
            problem, reason = (
                f"the split {split!r} is unknown; use train, dev or test, or leave the cell empty",
                RejectionReason.MALFORMED_ROW,
            )
        else:
            first[name] = row
            continue
        transcript = row.cells[text_column]
        rejected.append(
            Rejection(file=TABLE, row=row.line, id=name, transcript=transcript, reason=reason, message=problem)
        )
    return first, rejected


_NUMBERED = (
    (re.compile(r"(.+) \d+"), "{id} {take}"),
    (re.compile(r"(.*\D)\d+"), "{id}{take}"),
)
"""Names that recorders and people give to several takes, and the pattern that reads them."""


def _numbered_takes(names: Iterable[str]) -> dict[str, str]:
    """Return, by id, what to do about takes with a number that no layout reads, such as `luz 1.wav`, unless there is
    one alone.
    """
    takes: dict[tuple[str, str], list[str]] = {}
    for name in names:
        stem = str(PurePosixPath(name).with_suffix(""))
        for form, pattern in _NUMBERED:
            if match := form.fullmatch(stem):
                takes.setdefault((pattern, match[1]), []).append(stem)
    advice: dict[str, str] = {}
    for _, pattern in _NUMBERED:
        for (of_pattern, id_), stems in takes.items():
            if of_pattern == pattern and len(stems) > 1:
                advice.setdefault(
                    id_,
                    f"{len(stems)} files such as {stems[0]} look like its takes; set dataset.recordings.namePattern to "
                    f"'{pattern}', which then applies to all recordings",
                )
    return advice


def _no_recording(
    row: Row,
    id_: str,
    transcript: str,
    folder: str,
    nearly: str | None,
    name_pattern: str,
    unread: str | None,
    takes: str,
) -> Rejection:
    """Return the rejection of a row. `nearly` is a file that nearly is its own, `unread` one of the files if none is
    that of any row, and `takes` what to do about numbered takes.
    """
    exact = PurePosixPath(id_).suffix.lower() in AUDIO
    looked_for: Sequence[str] = [id_] if exact else [f"{id_}.wav", f"{id_}_*.wav", f"{id_}-*.wav", f"{id_}/"]
    message = f"no recording of {id_}: looked in {folder} for {', '.join(looked_for)} (flac, ogg and mp3 too)"
    if exact:
        message = f"the recording {folder}/{id_} is missing; copy it there or correct the id"
    elif name_pattern:
        message = f"no recording of {id_}: no name in {folder} fits dataset.recordings.namePattern {name_pattern!r} with this id"
        if unread:
            read = PurePosixPath(unread).with_suffix("")
            message += (
                f"; names are read without their endings, here as {str(read) if '/' in name_pattern else read.name!r}"
            )
    if takes:
        message += f"; {takes}"
    elif nearly and not name_pattern:
        message += f"; did you mean {nearly}? Make the id and the file name equal"
    elif unread and not name_pattern:
        message += (
            f"; no name there is read as that of any row: say where the id is in names such as {unread} with "
            "dataset.recordings.namePattern, such as {speaker}_{id}_{take}"
        )
    return Rejection(
        file=TABLE, row=row.line, id=id_, transcript=transcript, reason=RejectionReason.NO_RECORDING, message=message
    )
