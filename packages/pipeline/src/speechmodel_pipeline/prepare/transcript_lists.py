"""Lists of transcripts in text files: the prompts of telephone systems, and sentences that one person reads.

    core-sounds-es.txt      ; Prompts in Spanish         transcript.txt    a/1.wav|Año 5.|año cinco|3.92
                            vm-goodbye: Adiós.           line_index.tsv    1<tab>Hola
                            digits/1: uno
    vm-goodbye.gsm
    digits/1.wav

A line is the name of a recording, with or without its ending, then a colon, a bar or a tab, and the text. Between bars or tabs,
as in CSS10 and lists for synthesizers, there may be the text as it is spoken, which wins, and cells that are only numbers, such
as seconds, which are ignored. Quotation marks are ordinary characters. Lines that begin with `;` or `#` are comments. Every file
`*.txt` or `*.tsv` of a folder in which at least one line names a recording is a list, so licences and notes beside it are none.
"""

import codecs
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath

from speechmodel_pipeline.prepare.audio_files import AUDIO, audio_files
from speechmodel_pipeline.prepare.layout import nfc
from speechmodel_pipeline.prepare.recordings import printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, Row, Table, read_separated

ID, TEXT, NORMALISED = "id", "text", "normalised"
"""Columns of a list, and of the table of LJSpeech. The last is the text as it is spoken, or empty."""
WAVS = "wavs"
"""Folder that names may leave out."""
BAR = "|"
SEPARATORS = (":", BAR, "\t")
COMMENTS = (";", "#")
_NUMBER = re.compile(r"\d+([.,]\d+)?")


def transcript_lists(folder: Path) -> Mapping[Path, str]:
    """Return the lists in `folder` by path, each with the separator by which most of its lines name a recording.

    A folder that does not exist has none: each format has its own error for that.
    """
    if not folder.is_dir():
        return {}
    texts = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in (".txt", ".tsv") and path.is_file() and not path.name.startswith(".")
    )
    known = _names_of(folder) if texts else frozenset()
    return {path: separator for path in texts if (separator := _separator(path, known))}


def read_list(path: Path, separator: str, source: Path) -> Table:
    """Return a list as a table with the columns ID, TEXT and NORMALISED. Raises BadData when it is neither UTF-8 nor UTF-16."""
    table = read_separated(path, printable(path, source), separator, COMMENTS)
    return replace(table, columns=(ID, TEXT, NORMALISED), rows=tuple(_row(row, separator) for row in table.rows))


def _row(row: Row, separator: str) -> Row:
    value, spoken = row.cells[VALUE], ""
    if separator != ":" and separator in value:
        texts = [cell for each in value.split(separator) if not _NUMBER.fullmatch(cell := each.strip())]
        value = texts[0] if texts else ""
        spoken = BAR.join(texts[1:])  # of several, a person has to choose: a bar is refused
    return Row(row.line, {ID: row.cells[KEY], TEXT: value, NORMALISED: spoken})


def _separator(path: Path, known: frozenset[str]) -> str | None:
    """Return the separator of a list, or None for another text."""
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    naming = Counter[str]()
    with path.open(encoding="utf-16" if wide else "utf-8-sig", errors="replace") as lines:
        for line in lines:  # the text for a scorer, which may be beside the recordings, is longer than the memory
            naming.update(separator for separator in SEPARATORS if _names_one(line, separator, known))
    best = max(SEPARATORS, key=lambda separator: naming[separator])
    return best if naming[best] else None


def _names_one(line: str, separator: str, known: frozenset[str]) -> bool:
    name, found, _ = line.partition(separator)
    return bool(found) and not line.startswith(COMMENTS) and _stem(name.strip()) in known


def _names_of(folder: Path) -> frozenset[str]:
    names = [_stem(path.relative_to(folder).as_posix()) for path in audio_files(folder)]
    return frozenset((*names, *(name.removeprefix(f"{WAVS}/") for name in names)))


def _stem(name: str) -> str:
    """Return a name without the ending of an audio file."""
    path = PurePosixPath(nfc(name.replace("\\", "/")))
    return str(path.with_suffix("") if path.suffix.lower() in AUDIO else path)
