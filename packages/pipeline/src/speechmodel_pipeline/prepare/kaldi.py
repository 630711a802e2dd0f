"""The format `Kaldi`: a data folder of a Kaldi recipe.

    wav.scp     ana-1 wavs/ana-1.wav
    text        ana-1 hola espejo
    utt2spk     ana-1 ana                optional, or spk2utt: ana ana-1
    segments    ana-1 call 0.50 2.75     optional: the utterance, its recording in wav.scp, start and end in seconds

Paths are relative to the folder of wav.scp, or to that of the dataset. Folders train, dev and test, or
one of them, may each have such files; they are the parts. They may be in the folder data. If no folder has
the name of a part, folders whose names begin with it (train_clean) are the part; if one has, they are not
read (train_sp beside train). Commands and archives in wav.scp are refused, because a dataset must not run
programs. Recordings in wav.scp and utterances in segments without a text are reported.
"""

import re
from collections.abc import Collection
from dataclasses import replace
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.kaldi_segments import SEGMENTS, Segment, Segments, WrongSegment
from speechmodel_pipeline.prepare.named_files import NamedFiles
from speechmodel_pipeline.prepare.recordings import PARTS, Listing, is_file, missing, part_of, path_below, printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, Row, Table, read_pairs
from speechmodel_pipeline.prepare_report import SpeakerSource

RECORDINGS, TEXT = "wav.scp", "text"
SPEAKERS, UTTERANCES = "utt2spk", "spk2utt"
DATA = "data"
_ARCHIVE = re.compile(r".+:\d+(\[.*\])?")


def read_kaldi(source: Path) -> Listing:
    """Return the dataset in `source`.

    Raises BadData when it lacks `wav.scp` or `text`, and for commands and archives.
    """
    folders, ignored = _folders(source)
    if not folders:
        raise missing(RECORDINGS, source)
    files = NamedFiles(source)
    for folder, part in folders:
        _add(files, folder, part, source)
    listing = files.listing(speakers_from=SpeakerSource.COLUMN)
    return replace(listing, ignored_folders=tuple(printable(folder, source) for folder in ignored))


def looks_like_kaldi(source: Path) -> bool:
    """Return True when `source` or a folder of a part has wav.scp."""
    return bool(_folders(source)[0])


def _folders(source: Path) -> tuple[list[tuple[Path, Part | None]], list[Path]]:
    """Return the folders with wav.scp and their parts, and the folders that are ignored."""
    if (source / RECORDINGS).is_file():
        return [(source, None)], []
    above = [folder for folder in (source, source / DATA) if folder.is_dir()]
    folders = sorted(folder for each in above for folder in each.iterdir() if (folder / RECORDINGS).is_file())
    parts: list[tuple[Path, Part | None]] = [(folder, part) for folder in folders if (part := part_of(folder.name))]
    named = {PARTS.get(folder.name.casefold()) for folder in folders}
    read = [(folder, part) for folder, part in parts if folder.name.casefold() in PARTS or part not in named]
    return read, [folder for folder, part in parts if (folder, part) not in read]


def _add(files: NamedFiles, folder: Path, part: Part | None, source: Path) -> None:
    if not (folder / TEXT).is_file():
        raise missing(TEXT, folder)
    recordings = _recordings(folder, source)
    segments = Segments(folder, source, recordings) if (folder / SEGMENTS).is_file() else None
    for wrong in segments.repeated if segments else ():
        files.reject(wrong.table, wrong.row, wrong.id, wrong.problem, reason=wrong.reason)
    speakers = _speakers(folder)
    text = read_pairs(folder / TEXT, printable(folder / TEXT, source))
    files.count(text)
    first: dict[str, int] = {}
    spoken = set(segments.recordings) if segments else set()
    for row in text.rows:
        id_, transcript = row.cells[KEY], row.cells[VALUE]
        if (earlier := first.setdefault(id_, row.line)) != row.line:
            problem = f"{id_} is already in row {earlier}; give each utterance once"
            files.reject(text, row, id_, problem, transcript, RejectionReason.DUPLICATE_ROW)
            continue
        match _find(id_, recordings, segments):
            case None:
                table = RECORDINGS if segments is None else segments.table.name
                files.reject(text, row, id_, f"{table} has no row for {id_}; add one or remove this row", transcript)
            case WrongSegment() as wrong:
                files.reject(wrong.table, wrong.row, id_, wrong.problem, transcript, wrong.reason)
            case Segment(recording, cut):
                spoken.add(recording)
                name = recordings[recording]
                files.add(
                    text,
                    row,
                    name,
                    transcript,
                    folder=_place(name, folder, source),
                    id_=id_,
                    part=part,
                    speaker=speakers.get(id_),
                    cut=cut,
                )
    for segment in segments.without(first) if segments else ():
        name = recordings[segment.recording]
        files.leave(_place(name, folder, source), name, segment.cut)
    for name in (name for id_, name in recordings.items() if id_ not in spoken):
        files.leave(_place(name, folder, source), name)


def _find(id_: str, recordings: Collection[str], segments: Segments | None) -> Segment | WrongSegment | None:
    """Return the utterance `id_`, which is a whole recording without `segments`, or None when no row has it."""
    if segments is not None:
        return segments.find(id_)
    return Segment(id_, None) if id_ in recordings else None


def _place(name: str, folder: Path, source: Path) -> Path:
    """Return the folder that a path of wav.scp is relative to."""
    return folder if is_file(path_below(folder, name)) else source


def _speakers(folder: Path) -> dict[str, str]:
    """Return the speaker of each utterance."""
    speakers: dict[str, str] = {}
    if (folder / SPEAKERS).is_file():
        for row in read_pairs(folder / SPEAKERS, SPEAKERS).rows:
            speakers.setdefault(row.cells[KEY], row.cells[VALUE])
    elif (folder / UTTERANCES).is_file():
        for row in read_pairs(folder / UTTERANCES, UTTERANCES).rows:
            speakers |= dict.fromkeys(row.cells[VALUE].split(), row.cells[KEY])
    return speakers


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
