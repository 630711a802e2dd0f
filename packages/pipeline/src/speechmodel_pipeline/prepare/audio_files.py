"""The recordings in a folder, by the endings of their names."""

import errno
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from speechmodel_runtime.headerless import HEADERLESS

AUDIO = frozenset(
    {
        ".wav", ".wave", ".wav49", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
        ".w64", ".rf64", ".m4a", ".m4b", ".mp4", ".mov", ".aac", ".wma", ".amr", ".3gp", ".3g2", ".webm", ".weba", ".mka",
        ".mkv", ".ac3", ".mp2", ".mpga", ".spx", ".wv", ".sph", ".voc", ".avi", ".flv",
        *HEADERLESS,
    }
)  # fmt: skip
"""Endings of files that the runtime reads (readers.py)."""
BROKEN = 0
"""Mode of a link to nothing."""


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in `folder` and the folders below it, sorted by path.

    Symbolic links are followed, except to a folder that contains the link; one to nothing is returned
    whatever its name, so that it is reported. Hidden files and folders are ignored. Raises OSError for a folder that cannot be read.
    """
    return sorted(_files(folder, ()))


def _files(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    identity = _identity(folder)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if not entry.name.startswith(".")]
    for entry in shown:
        mode = _mode(entry)
        if stat.S_ISDIR(mode):
            yield from _files(folder / entry.name, (*above, identity))
        elif mode == BROKEN or (stat.S_ISREG(mode) and Path(entry.name).suffix.lower() in AUDIO):
            yield folder / entry.name


def _mode(entry: os.DirEntry[str]) -> int:
    """Return the mode of what `entry` is or links to, or BROKEN for a link to nothing or to itself."""
    try:
        return entry.stat().st_mode
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP):
            return BROKEN
        raise


def _identity(folder: Path) -> tuple[int, int]:
    status = folder.stat()
    return status.st_dev, status.st_ino
