"""The format `Kaldi`: a data folder of a Kaldi recipe.

    wav.scp     ana-1 wavs/ana-1.wav
    text        ana-1 hola espejo
    utt2spk     ana-1 ana                optional

Paths are relative to the folder of wav.scp, or to that of the dataset. Folders train, dev and test, or
one of them, may each have such files; they are the parts. Commands and archives in wav.scp are refused,
because a dataset must not run programs, and so is a file `segments`, which cuts long recordings.
"""

import re
from collections.abc import Iterator
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.named_files import NamedFiles
from speechmodel_pipeline.prepare.recordings import PARTS, Listing, is_file, missing, path_below, printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, Row, Table, read_pairs
from speechmodel_pipeline.prepare_report import SpeakerSource
from speechmodel_pipeline.text.rejections import RejectionReason

RECORDINGS, TEXT, SPEAKERS, SEGMENTS = "wav.scp", "text", "utt2spk", "segments"
_ARCHIVE = re.compile(r".+:\d+(\[.*\])?")


def read_kaldi(source: Path) -> Listing:
    """Return the dataset in `source`.

    Raises BadData when it lacks `wav.scp` or `text`, and for commands, archives and segments.
    """
    folders = list(_folders(source))
    if not folders:
        raise missing(RECORDINGS, source)
    files = NamedFiles(source)
    for folder, part in folders:
        _add(files, folder, part, source)
    return files.listing(speakers_from=SpeakerSource.COLUMN)


def looks_like_kaldi(source: Path) -> bool:
    """Return True when `source` or a folder of a part has wav.scp."""
    return next(_folders(source), None) is not None


def _folders(source: Path) -> Iterator[tuple[Path, Part | None]]:
    """Yield the folders with wav.scp, and their parts."""
    if (source / RECORDINGS).is_file():
        yield source, None
        return
    for folder in sorted(source.iterdir()) if source.is_dir() else ():
        if (part := PARTS.get(folder.name.casefold())) and (folder / RECORDINGS).is_file():
            yield folder, part


def _add(files: NamedFiles, folder: Path, part: Part | None, source: Path) -> None:
    if (folder / SEGMENTS).exists():
        raise BadData(
            Reason.INVALID_DATASET,
            f"{printable(folder / SEGMENTS, source)} cuts recordings into utterances, which is not supported; write a file for "
            "each utterance, as with utils/data/extract_wav_segments_data_dir.sh of Kaldi, and remove the file segments",
        )
    if not (folder / TEXT).is_file():
        raise missing(TEXT, folder)
    recordings = _recordings(folder, source)
    speakers: dict[str, str] = {}
    if (folder / SPEAKERS).is_file():
        for row in read_pairs(folder / SPEAKERS, SPEAKERS).rows:
            speakers.setdefault(row.cells[KEY], row.cells[VALUE])
    text = read_pairs(folder / TEXT, printable(folder / TEXT, source))
    files.count(text)
    first: dict[str, int] = {}
    for row in text.rows:
        id_, transcript = row.cells[KEY], row.cells[VALUE]
        if (earlier := first.setdefault(id_, row.line)) != row.line:
            problem = f"{id_} is already in row {earlier}; give each utterance once"
            files.reject(text, row, id_, problem, transcript, RejectionReason.DUPLICATE_ROW)
        elif id_ not in recordings:
            files.reject(text, row, id_, f"{RECORDINGS} has no row for {id_}; add one or remove this row", transcript)
        else:
            name = recordings[id_]
            beside = is_file(path_below(folder, name))
            files.add(
                text,
                row,
                name,
                transcript,
                folder=folder if beside else source,
                id_=id_,
                part=part,
                speaker=speakers.get(id_),
            )


def _recordings(folder: Path, source: Path) -> dict[str, str]:
    """Return the path of each recording in wav.scp by its id. Raises BadData for what is no path."""
    table = read_pairs(folder / RECORDINGS, printable(folder / RECORDINGS, source))
    paths: dict[str, str] = {}
    for row in table.rows:
        id_, path = row.cells[KEY], row.cells[VALUE]
        if path.endswith("|") or path.startswith("|"):
            raise _refused(table, row, "is a command, and prepare runs no commands of a dataset")
        if _ARCHIVE.fullmatch(path):
            raise _refused(table, row, "is a place in an archive, which is not read")
        if id_ in paths:
            raise BadData(Reason.INVALID_DATASET, f"{table.name} row {row.line}: {id_} has a row already; remove one")
        paths[id_] = path
    return paths


def _refused(table: Table, row: Row, problem: str) -> BadData:
    return BadData(
        Reason.INVALID_DATASET,
        f"{table.name} row {row.line}: the entry of {row.cells[KEY]} {problem}; write the audio to files, as with "
        "`wav-copy` of Kaldi, and name the files in wav.scp",
    )
