"""The format `LibriSpeech`: a folder for each chapter that a speaker reads, with its transcripts.

    train-clean-100/19/198/19-198.trans.txt     19-198-0000 NORTHANGER ABBEY
    train-clean-100/19/198/19-198-0000.flac

A transcript is in the line of its recording, which is beside the file and in any audio format. The
speaker is the beginning of the file's name. The parts are those of the folders above whose names
begin with train, dev or test; without several of them, the split divides the clips.
"""

from collections.abc import Iterator
from pathlib import Path

from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.dataset import Part

from speechmodel_pipeline.prepare.named_files import ANY_ENDING, NamedFiles
from speechmodel_pipeline.prepare.recordings import Listing, missing, part_of, printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, read_pairs
from speechmodel_pipeline.prepare_report import SpeakerSource

TRANSCRIPTS = ".trans.txt"


def read_librispeech(source: Path) -> Listing:
    """Return the dataset in `source`. Raises BadData when no chapter has transcripts."""
    tables = sorted(_tables(source)) if source.is_dir() else []
    if not tables:
        raise missing(f"<speaker>/<chapter>/<speaker>-<chapter>{TRANSCRIPTS}", source)
    files = NamedFiles(source)
    first: dict[str, str] = {}
    for path in tables:
        table = read_pairs(path, printable(path, source))
        files.count(table)
        speaker = path.name.removesuffix(TRANSCRIPTS).rpartition("-")[0]
        part = _part(path.relative_to(source))
        for row in table.rows:
            id_, place = row.cells[KEY], f"{table.name} row {row.line}"
            if (earlier := first.setdefault(id_, place)) != place:
                problem = f"{id_} is already in {earlier}; give each recording once"
                files.reject(table, row, id_, problem, row.cells[VALUE], RejectionReason.DUPLICATE_ROW)
                continue
            files.add(
                table,
                row,
                id_,
                row.cells[VALUE],
                folder=path.parent,
                endings=(".flac", *ANY_ENDING),
                part=part,
                speaker=speaker,
            )
    return files.listing(folders=(source,), speakers_from=SpeakerSource.LAYOUT)


def looks_like_librispeech(source: Path) -> bool:
    """Return True when a chapter in `source` has transcripts."""
    return next(_tables(source), None) is not None


def _tables(source: Path) -> Iterator[Path]:
    """Yield the transcripts of every chapter, of all speakers or of all subsets. Hidden files, as macOS writes
    beside others, are ignored.
    """
    for above in ("*/*", "*/*/*", "*/*/*/*"):
        yield from (path for path in source.glob(f"{above}/*{TRANSCRIPTS}") if not path.name.startswith("."))


def _part(path: Path) -> Part | None:
    """Return the part that a folder above names, such as dev-clean."""
    return next((part for folder in path.parents if (part := part_of(folder.name))), None)
