"""The recordings of a dataset with their transcripts, as the readers of all formats list them.

No audio is read yet.
"""

import os
import re
import stat
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath, PureWindowsPath

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.dataset import Part
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare_report import Rejection, SpeakerSource

PARTS = {
    "train": Part.TRAIN,
    "dev": Part.DEV,
    "valid": Part.DEV,
    "val": Part.DEV,
    "validation": Part.DEV,
    "test": Part.TEST,
}
"""Parts by the names that tables and folders give them, case ignored."""


@dataclass(frozen=True)
class Cut:
    """The part of a file that is an utterance."""

    file: str
    """The table with the times, relative to the dataset's folder."""
    row: int
    """Line in the table, from 1."""
    start: float
    """Seconds from the beginning of the file."""
    end: float | None
    """Seconds from the beginning of the file, more than start, or None for the end of the file."""
    channel: int | None = None
    """The channel, from 0. None for all of them."""

    def __str__(self) -> str:
        channel = "" if self.channel is None else f" on channel {self.channel + 1}"
        end = "its end" if self.end is None else f"{self.end:.2f} s"
        return f"from {self.start:.2f} s to {end}{channel}"


@dataclass(frozen=True)
class Recording:
    """A recording as it was given, and its transcript."""

    file: str
    """The table, relative to the dataset's folder."""
    row: int
    """Line in the table, from 1."""
    id: str
    """Its id in the row."""
    path: Path
    name: str
    """Its name in reports: the path, relative to the dataset's folder if it is inside, and the times of a cut."""
    transcript: str
    """As given."""
    part: Part | None
    """The part that the dataset chooses, or None, which leaves it to the split."""
    speaker: str | None = None
    """The speaker, as far as the dataset tells."""
    cut: Cut | None = None
    """The part of the file, or None for all of it."""


@dataclass(frozen=True)
class Listing:
    """The content of a dataset's tables."""

    rows: int
    """Number of rows, without blank ones."""
    recordings: tuple[Recording, ...]
    """In the order of the rows."""
    rejected: tuple[Rejection, ...] = ()
    unnamed_files: tuple[str, ...] = ()
    """Recordings that no row names."""
    ignored_folders: tuple[str, ...] = ()
    """Folders that are not read, because another folder has the name of their part."""
    speakers_from: SpeakerSource | None = None
    """The place that names the speakers, if any does."""
    layout: str | None = None
    """The pattern by which file names were read, if they were."""


def part_of(folder: str) -> Part | None:
    """Return the part that the name of a folder begins with, such as dev-clean or train_other."""
    return PARTS.get(folder.replace("_", "-").partition("-")[0].casefold())


def of_language(names: Iterable[str], language: str) -> str | None:
    """Return the name that is the tag of the language, or its language without the region (es of es-CL), or for a
    language without a region the only one that has one (es-CL for es). Case and `_` for `-` do not count.
    """
    by_tag = {name.strip().casefold().replace("_", "-"): name for name in sorted(names)}
    tag = language.casefold()
    if given := by_tag.get(tag) or by_tag.get(tag.partition("-")[0]):
        return given
    regional = [name for each, name in by_tag.items() if re.fullmatch(rf"{re.escape(tag)}-([a-z]{{2}}|\d{{3}})", each)]
    return regional[0] if len(regional) == 1 else None


def is_file(path: Path) -> bool:
    """Return True when `path` is a file, and False also for an impossible name.

    Raises PermissionError when a folder on the way cannot be searched.
    """
    try:
        return stat.S_ISREG(path.stat().st_mode)
    except PermissionError:
        raise
    except (OSError, ValueError):
        return False


def path_below(folder: Path, name: str) -> Path:
    """Return the path of the file `name` in a table. A backslash separates folders unless it is part of a name. A file
    whose name has another Unicode form (as macOS writes it) or another case of its ending is found too, unless several
    do.

    Raises PermissionError when a folder on the way cannot be searched.
    """
    path, separated = folder / name, folder / name.replace("\\", "/")
    given = next((each for each in dict.fromkeys((path, separated)) if is_file(each)), None)
    return given or _alike(folder, separated) or separated


def _alike(folder: Path, path: Path) -> Path | None:
    """Return the file below `folder` whose name is that of `path` but for Unicode forms and the case of its ending."""
    if not path.is_relative_to(folder):
        return None
    found = folder
    for part in path.relative_to(folder).parts:
        names = _names(found, found.stat().st_mtime_ns) if part != ".." and found.is_dir() else {}
        if (name := names.get(_form(part))) is None:
            return None
        found /= name
    return found if is_file(found) else None


@lru_cache(maxsize=64)
def _names(folder: Path, changed: int) -> dict[str, str | None]:
    """Return the names in `folder`, which was changed at this time, by their form. Several of one form are None."""
    del changed
    names: dict[str, str | None] = {}
    try:
        listed = os.listdir(folder)  # noqa: PTH208 - only the names are needed
    except PermissionError:  # files in it may be read all the same
        return {}
    for name in listed:
        form = _form(name)
        names[form] = None if form in names else name
    return names


def _form(name: str) -> str:
    stem, dot, ending = unicodedata.normalize("NFC", name).rpartition(".")
    return f"{stem}{dot}{ending.casefold() if dot else ending}"


def is_inside(path: Path, folder: Path) -> bool:
    """Return True when `path` is in `folder` or a folder below it, without following links."""
    return Path(os.path.abspath(path)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100 - links stay


def is_absolute(name: str) -> bool:
    """Return True for an absolute path of any system."""
    return PurePosixPath(name).is_absolute() or PureWindowsPath(name).is_absolute()


def printable(path: Path, root: Path) -> str:
    """Return `path` as text for a report, relative to `root` if it is inside."""
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return shown.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def missing(wanted: str, folder: Path) -> BadData:
    """Return the error for a file or folder that a dataset needs.

    It names what is missing and what is present.
    """
    if not folder.is_dir():
        return BadData(
            Reason.INVALID_DATASET, f"{wanted} is missing because {folder} is not a folder; correct dataset.source"
        )
    if (folder / wanted).exists():
        return BadData(Reason.INVALID_DATASET, f"{wanted} in {folder} is a folder; replace it with the table")
    present = f"there is {_some(sorted(printable(path, folder) for path in folder.iterdir()))}"
    return BadData(Reason.INVALID_DATASET, f"{wanted} is missing; in {folder} {present}")


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    if not listed:
        return "nothing"
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
