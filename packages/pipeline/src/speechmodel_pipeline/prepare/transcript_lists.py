"""Lists of transcripts in text files, as the sounds of telephone systems have them.

    core-sounds-es.txt      ; Prompts in Spanish
                            vm-goodbye: Adiós.
                            digits/1: uno
    vm-goodbye.gsm
    digits/1.wav

A line is the name of a recording, with or without its ending, then a colon, a bar or a tab, and the text.
Quotation marks are ordinary characters. Lines that begin with `;` or `#` are comments. Every file `*.txt` of a folder in which at
least one line names a recording is a list, so licences and notes beside it are none.
"""

from pathlib import Path, PurePosixPath

from speechmodel_decoding.text.rejections import RejectionReason

from speechmodel_pipeline.prepare.audio_files import AUDIO, audio_files
from speechmodel_pipeline.prepare.layout import nfc
from speechmodel_pipeline.prepare.named_files import ANY_ENDING, NamedFiles
from speechmodel_pipeline.prepare.recordings import printable
from speechmodel_pipeline.prepare.table import KEY, VALUE, read_separated

SEPARATORS = (":", "|", "\t")
COMMENTS = (";", "#")


def transcript_lists(folder: Path) -> dict[Path, str]:
    """Return the lists in `folder` by path, each with the separator by which most of its lines name a recording."""
    texts = sorted(path for path in folder.glob("*.txt") if path.is_file() and not path.name.startswith("."))
    known = _names_of(folder) if texts else frozenset()
    return {path: separator for path in texts if (separator := _separator(path, known))}


def add_transcript_list(files: NamedFiles, path: Path, separator: str, source: Path, first: dict[str, str]) -> None:
    """Add the rows of a list. `first` has the rows in which names were already, in this list and in others.

    Raises BadData when the list is neither UTF-8 nor UTF-16.
    """
    table = read_separated(path, printable(path, source), separator, COMMENTS)
    files.count(table)
    for row in table.rows:
        name, place = row.cells[KEY], f"{table.name} row {row.line}"
        if name and (earlier := first.setdefault(nfc(name), place)) != place:
            problem = f"{name} is already in {earlier}; give each recording once"
            files.reject(table, row, name, problem, row.cells[VALUE], RejectionReason.DUPLICATE_ROW)
            continue
        files.add(table, row, name, row.cells[VALUE], folder=path.parent, endings=ANY_ENDING)


def _separator(path: Path, known: frozenset[str]) -> str | None:
    """Return the separator of a list, or None for another text."""
    lines = path.read_bytes().decode("utf-8", "replace").splitlines()
    naming = {separator: sum(_names_one(line, separator, known) for line in lines) for separator in SEPARATORS}
    best = max(SEPARATORS, key=lambda separator: naming[separator])
    return best if naming[best] else None


def _names_one(line: str, separator: str, known: frozenset[str]) -> bool:
    name, found, _ = line.partition(separator)
    return bool(found) and not line.startswith(COMMENTS) and _stem(name.strip()) in known


def _names_of(folder: Path) -> frozenset[str]:
    return frozenset(_stem(path.relative_to(folder).as_posix()) for path in audio_files(folder))


def _stem(name: str) -> str:
    """Return a name without the ending of an audio file."""
    path = PurePosixPath(nfc(name.replace("\\", "/")))
    return str(path.with_suffix("") if path.suffix.lower() in AUDIO else path)
