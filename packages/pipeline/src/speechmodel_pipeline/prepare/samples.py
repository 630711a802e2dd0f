"""What the readers of both dataset formats give: recordings and what is said in them, not yet looked into."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.report import Rejection


class Part(StrEnum):
    """What a clip is used for."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"


@dataclass(frozen=True)
class Sample:
    """One recording and what is said in it."""

    file: str
    """The CSV file, relative to the dataset's folder."""
    row: int
    """Line in the file; the header is 1."""
    id: str
    """What the row calls it."""
    recording: Path
    name: str
    """The recording, as people are told: relative to the dataset's folder where it lies below it."""
    transcript: str
    """As written."""
    part: Part | None
    """As the dataset says; None: by hash."""


@dataclass(frozen=True)
class Listing:
    """What the CSV files say."""

    rows: int
    """Blank ones not counted."""
    samples: tuple[Sample, ...]
    """In the order of the rows."""
    rejected: tuple[Rejection, ...] = ()
    unnamed_files: tuple[str, ...] = ()


def is_file(path: Path) -> bool:
    """Whether there is such a file; False for names that no file can have, which Path.is_file() raises for."""
    return os.path.isfile(path)  # noqa: PTH113


def printable(path: Path, root: Path) -> str:
    """`path` relative to `root` where it lies below it, as text that can be written to a report."""
    shown = path.relative_to(root) if path.is_relative_to(root) else path
    return shown.as_posix().encode("utf-8", "surrogateescape").decode("utf-8", "replace")


def missing(wanted: str, folder: Path) -> BadData:
    """The error for a file or folder that a dataset must have: says what was looked for and what is there."""
    if not folder.is_dir():
        return BadData(
            "InvalidDataset", f"{wanted} is looked for in {folder}, which is no folder; correct dataset.source"
        )
    present = f"there is {_some(sorted(printable(path, folder) for path in folder.iterdir()))}"
    return BadData("InvalidDataset", f"{wanted} is missing; in {folder} {present}")


def _some(names: Iterable[str], most: int = 8) -> str:
    listed = list(names)
    if not listed:
        return "nothing"
    return ", ".join(listed[:most]) + (f" and {len(listed) - most} more" if len(listed) > most else "")
