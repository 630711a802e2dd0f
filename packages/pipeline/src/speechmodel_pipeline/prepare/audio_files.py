"""The recordings in a folder, by the endings of their names."""

import errno
import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from speechmodel_runtime.headerless import HEADERLESS

WITH_HEADER = frozenset(
    {
        ".wav", ".wave", ".wav49", ".flac", ".ogg", ".oga", ".opus", ".spx", ".mp3", ".aif", ".aiff", ".aifc", ".au", ".snd", ".caf",
        ".w64", ".rf64", ".m4a", ".mp4", ".mov", ".aac", ".wma", ".amr", ".3gp", ".3g2", ".webm", ".weba", ".mka", ".mkv", ".ac3",
        ".wv", ".sph", ".nist", ".voc", ".mp2", ".avi", ".ts",
    }
)  # fmt: skip
AUDIO = WITH_HEADER | HEADERLESS.keys()
"""Endings of files that the runtime reads (readers.py)."""
HEADERLESS_BY_RANK = tuple(sorted(HEADERLESS, key=lambda ending: (-HEADERLESS[ending].sample_rate, ending)))
"""Endings of files without a header, that with the highest rate first."""
BROKEN = 0
"""Mode of a link to nothing."""
LOST = "lost+found"
"""Folder at the root of an ext4 volume that only root may read."""


def audio_files(folder: Path) -> list[Path]:
    """Return the recordings in `folder` and the folders below it, sorted by path.

    Symbolic links are followed, except to a folder that contains the link; one to nothing is returned whatever its
    name, so that it is reported. Hidden files and folders and lost+found are ignored. Telephone systems keep a prompt
    in several formats, so one without a header is left out beside another file of the same name. Raises OSError for a
    folder that cannot be read.
    """
    return sorted(_files(folder, ()))


def is_recording(name: str) -> bool:
    """Return True when audio_files returns a file of this path below its folder, unless it is a copy in another format."""
    return all(map(_is_shown, PurePosixPath(name).parts)) and _ending(name) in AUDIO


def _files(folder: Path, above: tuple[tuple[int, int], ...]) -> Iterator[Path]:
    identity = _identity(folder)
    if identity in above:
        return
    with os.scandir(folder) as entries:
        shown = [entry for entry in entries if _is_shown(entry.name)]
    copies = _copies(entry.name for entry in shown)
    for entry in shown:
        mode = _mode(entry)
        if stat.S_ISDIR(mode):
            yield from _files(folder / entry.name, (*above, identity))
        elif mode == BROKEN or (stat.S_ISREG(mode) and _ending(entry.name) in AUDIO and entry.name not in copies):
            yield folder / entry.name


def _copies(names: Iterable[str]) -> set[str]:
    """Return the recordings without a header beside another recording of the same name, which has a header or a
    higher rate.
    """
    by_stem = defaultdict(list)
    for name in names:
        if _ending(name) in AUDIO:
            by_stem[Path(name).stem].append(name)
    return {name for group in by_stem.values() for name in sorted(group, key=_rank)[1:] if _ending(name) in HEADERLESS}


def _rank(name: str) -> tuple[int, str]:
    """Return what sorts files with a header first, and then those with a higher rate."""
    described = HEADERLESS.get(_ending(name))
    return (-(1 << 30) if described is None else -described.sample_rate, name)


def _is_shown(name: str) -> bool:
    return not name.startswith(".") and name != LOST


def _ending(name: str) -> str:
    return Path(name).suffix.lower()


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
