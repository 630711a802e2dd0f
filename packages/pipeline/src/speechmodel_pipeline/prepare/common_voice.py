"""The format `CommonVoice`: a language of Mozilla's Common Voice, as it is unpacked.

    train.tsv  dev.tsv  test.tsv     the official parts, or else
    validated.tsv                    every clip that listeners confirmed
    clips/common_voice_es_1.mp3

The columns are `path` (a file in clips/, or one that was converted from it), `sentence`, and optionally
`client_id`, the speaker. The official parts win when train.tsv is there; otherwise validated.tsv is
divided by the split. All of it may be in a folder with the tag of the language, which may be in a folder
of the release (cv-corpus-17.0-2024-03-15), as it is in Mozilla's archive. Quotation marks in the tables
are ordinary characters.
"""

from pathlib import Path

from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.named_files import NamedFiles
from speechmodel_pipeline.prepare.recordings import Listing, missing, printable
from speechmodel_pipeline.prepare.speakers import SPEAKER_COLUMNS
from speechmodel_pipeline.prepare.table import read_table
from speechmodel_pipeline.prepare_report import SpeakerSource

VALIDATED = "validated.tsv"
OFFICIAL = {Part.TRAIN: "train.tsv", Part.DEV: "dev.tsv", Part.TEST: "test.tsv"}
CLIPS = "clips"
RELEASES = "cv-corpus-*"


def read_common_voice(source: Path, language: str) -> Listing:
    """Return the dataset in `source`. Raises BadData when it lacks the tables, a column or clips/."""
    root = _root(source, language)
    tables: dict[Part | None, str] = {part: name for part, name in OFFICIAL.items() if (root / name).is_file()}
    if Part.TRAIN not in tables:
        if not (root / VALIDATED).is_file():
            raise missing(f"{VALIDATED} or train.tsv", source)
        tables = {None: VALIDATED}
    if not (root / CLIPS).is_dir():
        raise missing(f"the folder {CLIPS}", root)
    files = NamedFiles(source)
    for part, name in tables.items():
        table = read_table(root / name, printable(root / name, source), literal="\t")
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


def looks_like_common_voice(source: Path, language: str) -> bool:
    """Return True when `source` has one of the tables."""
    return any((_root(source, language) / name).is_file() for name in (VALIDATED, *OFFICIAL.values()))


def _root(source: Path, language: str) -> Path:
    """Return the folder with the tables: `source`, or the language's folder in it or in that of one release."""
    releases = [folder for folder in source.glob(RELEASES) if folder.is_dir()]
    folders = [source]
    for above in (source, *releases) if len(releases) < 2 else (source,):
        by_tag = {folder.name.casefold(): folder for folder in above.iterdir()} if above.is_dir() else {}
        folders += [
            by_tag[tag] for tag in (language.casefold(), language.casefold().partition("-")[0]) if tag in by_tag
        ]
    names = (VALIDATED, OFFICIAL[Part.TRAIN])
    return next((folder for folder in folders if any((folder / name).is_file() for name in names)), source)
