"""The format `CommonVoice`: a language of Mozilla's Common Voice, as it is unpacked.

    train.tsv  dev.tsv  test.tsv     the official parts, or else
    validated.tsv                    every clip that listeners confirmed
    clips/common_voice_es_1.mp3

The columns are `path` (a file in clips/, or one that was converted from it), `sentence`, and optionally
`client_id`, the speaker. The official parts win when train.tsv has rows; otherwise validated.tsv is
divided by the split. All of it may be in a folder with the tag of the language, which may be in a folder
of the release (cv-corpus-17.0-2024-03-15), as it is in Mozilla's archive. Quotation marks in the tables
are ordinary characters.
"""

import logging
from pathlib import Path

from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.named_files import NamedFiles
from speechmodel_pipeline.prepare.recordings import Listing, missing, of_language, printable
from speechmodel_pipeline.prepare.speakers import SPEAKER_COLUMNS
from speechmodel_pipeline.prepare.table import Table, read_table
from speechmodel_pipeline.prepare_report import SpeakerSource

log = logging.getLogger(__name__)

VALIDATED = "validated.tsv"
OFFICIAL = {Part.TRAIN: "train.tsv", Part.DEV: "dev.tsv", Part.TEST: "test.tsv"}
CLIPS = "clips"
RELEASES = "cv-corpus-*"


def read_common_voice(source: Path, language: str) -> Listing:
    """Return the dataset in `source`. Raises BadData when it lacks the tables, a column or clips/."""
    root = _root(source, language)
    tables = _tables(root, source)
    if not (root / CLIPS).is_dir():
        raise missing(f"the folder {CLIPS}", root)
    files = NamedFiles(source)
    for part, table in tables.items():
        path, sentence, speaker = table.column("path"), table.column("sentence"), table.find(*SPEAKER_COLUMNS)
        files.count(table)
        for row in table.rows:
            files.add(
                table,
                row,
                row.cells[path].removeprefix(f"{CLIPS}/"),
                row.cells[sentence],
                folder=root / CLIPS,
                endings=("", ".mp3"),
                converted=True,
                part=part,
                speaker=row.cells[speaker] if speaker else None,
            )
    return files.listing(speakers_from=SpeakerSource.COLUMN)


def _tables(root: Path, source: Path) -> dict[Part | None, Table]:
    """Return the tables of the official parts if that of training has rows, or else the one that is divided."""
    official = {part: name for part, name in OFFICIAL.items() if (root / name).is_file()}
    trained, validated = official.pop(Part.TRAIN, None), (root / VALIDATED).is_file()
    if trained is None and not validated:
        raise missing(f"{VALIDATED} or {OFFICIAL[Part.TRAIN]}", source)
    # without any byte, it is no table; that is an error only if nothing else can be read
    if trained and ((root / trained).stat().st_size or not validated):
        table = _read(root, trained, source)
        if table.rows or table.malformed or not validated:
            return {Part.TRAIN: table, **{part: _read(root, name, source) for part, name in official.items()}}
    if trained:
        log.info("%s has no rows, so %s is read and divided", trained, VALIDATED)
    return {None: _read(root, VALIDATED, source)}


def _read(root: Path, name: str, source: Path) -> Table:
    return read_table(root / name, printable(root / name, source), literal="\t")


def looks_like_common_voice(source: Path, language: str) -> bool:
    """Return True when `source` has one of the tables."""
    return any((_root(source, language) / name).is_file() for name in (VALIDATED, *OFFICIAL.values()))


def _root(source: Path, language: str) -> Path:
    """Return the folder with the tables: `source`, or the language's folder in it or in that of one release."""
    releases = [folder for folder in source.glob(RELEASES) if folder.is_dir()]
    folders = [source]
    for above in (source, *releases) if len(releases) < 2 else (source,):
        names = [folder.name for folder in above.iterdir() if folder.is_dir()] if above.is_dir() else []
        folders += [above / name for name in (of_language(names, language),) if name]
    tables = (VALIDATED, OFFICIAL[Part.TRAIN])
    return next((folder for folder in folders if any((folder / name).is_file() for name in tables)), source)
