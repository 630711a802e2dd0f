"""The format `AudioFolder`: recordings beside one table, as Hugging Face and LJSpeech have it, or beside lists of
transcripts (transcript_lists.py).

    metadata.csv        file_name,transcription            metadata.csv     LJ001-0001|As given|as spoken
    metadata.jsonl      {"file_name": ..., "text": ...}    wavs/LJ001-0001.wav
    clips/a.wav

The first has a header with `file_name` and one of `transcription`, `text`, `sentence` and
`transcript`, and optionally `speaker` (or `speaker_id`) and `split`. Folders train, validation and test
are the parts, with a table in each or one for all. LJSpeech has no header, and the last of its two or
three cells is the transcript; quotation marks are ordinary characters in it. A third cell that names the
speaker, as some write it, is refused: it would be the transcript.
"""

import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_decoding.text.rejections import RejectionReason
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.named_files import ANY_ENDING, NamedFiles
from speechmodel_pipeline.prepare.recordings import PARTS, Listing, is_file, missing, path_below, printable
from speechmodel_pipeline.prepare.speakers import SPEAKER_COLUMNS
from speechmodel_pipeline.prepare.table import Table, lacks_header, read_headerless, read_json_lines, read_table
from speechmodel_pipeline.prepare.transcript_lists import (
    ID,
    NORMALISED,
    TEXT,
    WAVS,
    read_list,
    transcript_lists,
)
from speechmodel_pipeline.prepare_report import SpeakerSource

CSV, JSON_LINES = "metadata.csv", "metadata.jsonl"
FILE_NAME = "file_name"
TEXT_COLUMNS = ("transcription", "text", "sentence", "transcript")
DATA = "data"


def read_audio_folder(source: Path) -> Listing:
    """Return the dataset in `source`. Raises BadData when it lacks a table or a column, or has two
    tables for one folder. Lists count only where there is no table.
    """
    folders = list(_folders(source))
    files = NamedFiles(source)
    if not folders:
        return _of_lists(files, source)
    for folder, part in folders:
        if (folder / CSV).is_file() and (folder / JSON_LINES).is_file():
            both = f"{printable(folder / CSV, source)} and {printable(folder / JSON_LINES, source)}"
            raise BadData(Reason.INVALID_DATASET, f"{both} describe the same folder; remove one of them")
        path = folder / (CSV if (folder / CSV).is_file() else JSON_LINES)
        name = printable(path, source)
        if path.name == JSON_LINES:
            _add_hugging_face(files, read_json_lines(path, name), folder, part)
        elif lacks_header(path, name, "|", (FILE_NAME, *TEXT_COLUMNS)):
            _add_ljspeech(files, read_headerless(path, name, (ID, TEXT, NORMALISED), 2, "|"), folder, part)
        else:
            _add_hugging_face(files, read_table(path, name), folder, part)
    return files.listing(folders=[folder for folder, _ in folders], speakers_from=SpeakerSource.COLUMN)


def looks_like_audio_folder(source: Path) -> bool:
    """Return True when `source` or a folder of a part has a table, or `source` a list of transcripts."""
    return next(_folders(source), None) is not None or bool(transcript_lists(source))


def _of_lists(files: NamedFiles, source: Path) -> Listing:
    lists = transcript_lists(source)
    if not lists:
        raise missing(
            f"{CSV} or {JSON_LINES}, or a file *.txt or *.tsv with lines such as 'welcome: Good morning',", source
        )
    for path, separator in lists.items():
        table = read_list(path, separator, source)
        if table.rows and table.rows[0].line == 1 and table.rows[0].cells[ID].casefold() == FILE_NAME:
            named = read_table(path, table.name, separator)
            _add_hugging_face(files, named, source, None, endings=ANY_ENDING)
        else:
            _add_ljspeech(files, table, source, None)
    return files.listing(folders=(source,), speakers_from=SpeakerSource.COLUMN)


def _folders(source: Path) -> Iterator[tuple[Path, Part | None]]:
    """Yield the folders with a table, and their parts."""
    if _has_table(source):
        yield source, None
        return
    for above in (source, source / DATA):
        for folder in sorted(above.iterdir()) if above.is_dir() else ():
            if (part := PARTS.get(folder.name.casefold())) and _has_table(folder):
                yield folder, part


def _has_table(folder: Path) -> bool:
    return (folder / CSV).is_file() or (folder / JSON_LINES).is_file()


def _add_hugging_face(
    files: NamedFiles, table: Table, folder: Path, part: Part | None, endings: tuple[str, ...] = ("",)
) -> None:
    files.count(table)
    try:
        file_name, text = table.column(FILE_NAME), table.column(*TEXT_COLUMNS)
    except BadData as error:
        advice = "rename the columns, or, if this is a table of LJSpeech (no header, cells separated by |), remove the first line"
        if table.name.endswith(JSON_LINES):
            advice = "rename the fields in all lines"
        raise BadData(error.reason, f"{error}; {advice}") from error
    speaker, split = table.find(*SPEAKER_COLUMNS), table.find("split")
    for row in table.rows:
        name, transcript, given = row.cells[file_name], row.cells[text], row.cells[split] if split else ""
        if given and given.casefold() not in PARTS:
            problem = f"the split {given!r} is unknown; use train, dev or test, or leave the cell empty"
            files.reject(table, row, name, problem, transcript, RejectionReason.MALFORMED_ROW)
            continue
        files.add(
            table,
            row,
            name,
            transcript,
            folder=folder,
            endings=endings,
            part=PARTS.get(given.casefold()) or part or _part(name),
            speaker=row.cells[speaker] if speaker else None,
        )


def _part(name: str) -> Part | None:
    """Return the part whose folder the path begins with, which may be in the folder data."""
    folder = name.replace("\\", "/").removeprefix("./").removeprefix(f"{DATA}/").partition("/")[0]
    return PARTS.get(folder.casefold())


def _add_ljspeech(files: NamedFiles, table: Table, folder: Path, part: Part | None) -> None:
    _require_spoken(table)
    files.count(table)
    recordings = folder / WAVS if (folder / WAVS).is_dir() else folder
    for row in table.rows:
        name, transcript = row.cells[ID], row.cells[NORMALISED] or row.cells[TEXT]
        beside = bool(name) and is_file(path_below(folder, name))  # wavs/LJ001-0001.wav
        where = folder if beside else recordings
        files.add(table, row, name, transcript, folder=where, endings=(".wav", *ANY_ENDING), part=part)


def _require_spoken(table: Table) -> None:
    """Raise BadData when the third cells are not what is spoken of the second: most share no word with it, and they
    are spread over the texts as the names of speakers are.
    """
    pairs = [(row, _words(row.cells[TEXT]), _words(row.cells[NORMALISED])) for row in table.rows]
    pairs = [(row, text, spoken) for row, text, spoken in pairs if text and spoken]
    other = [row for row, text, spoken in pairs if text.isdisjoint(spoken)]
    if not other or 2 * len(other) <= len(pairs) or not _are_spread_as_speakers(table):
        return
    first = other[0]
    raise BadData(
        Reason.INVALID_DATASET,
        f"{table.name} row {first.line}: the third cell {first.cells[NORMALISED]!r} should be the text {first.cells[TEXT]!r} as it is "
        "spoken, and shares no word with it; remove the third column, or, if one of the columns is the speaker, add the header "
        "file_name|text|speaker or file_name|speaker|text and write paths such as wavs/1.wav",
    )


def _are_spread_as_speakers(table: Table) -> bool:
    """Return True when there are few third cells for many texts, or most of the texts that occur several times have
    several. Homophones share a third cell too, but are few.
    """
    thirds: defaultdict[str, list[str]] = defaultdict(list)
    for row in table.rows:
        if third := row.cells[NORMALISED]:
            thirds[row.cells[TEXT]].append(third)
    few = 2 * len({third for each in thirds.values() for third in each}) < len(thirds)
    repeated = [each for each in thirds.values() if len(each) > 1]
    return few or 2 * sum(len(set(each)) > 1 for each in repeated) > len(repeated)


def _words(text: str) -> set[str]:
    """Return the words of a text without its numbers."""
    return {word for word in re.findall(r"\w+", text.casefold()) if not word[0].isdigit()}
