"""verified.json: which files of a folder had which digest, so that another program need not read them again.

A file counts as unchanged while its device, inode, size and times are those of the record. The time of the last change,
ctime, cannot be set by a program, so that a file that was written after the record is read again.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import BinaryIO, Self

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages.contract import Digest
from speechmodel_api.workspace import VERIFIED

from speechmodel_stagekit.durable import replace_file


class VerifiedFile(Document):
    """A file when its digest was compared."""

    sha256: Digest
    device: int
    inode: int
    size: int
    """In bytes."""
    modified: int
    """Time of the last change of the content, in nanoseconds."""
    changed: int
    """Time of the last change of the content or of the inode, in nanoseconds."""

    @classmethod
    def of(cls, status: os.stat_result, sha256: str) -> Self:
        """Return the record of a file with this status."""
        return cls(
            sha256=sha256,
            device=status.st_dev,
            inode=status.st_ino,
            size=status.st_size,
            modified=status.st_mtime_ns,
            changed=status.st_ctime_ns,
        )


class VerifiedFiles(Document):
    """`verified.json`."""

    files: dict[str, VerifiedFile] = {}
    """By name in the folder. A link stands for the file that it leads to."""

    def knows(self, name: str, file: BinaryIO, sha256: str) -> bool:
        """Return True if the open file is unchanged since it was found to have this digest."""
        return self.files.get(name) == VerifiedFile.of(os.fstat(file.fileno()), sha256)


def record_verified(folder: Path, files: Mapping[str, VerifiedFile]) -> None:
    """Write verified.json for files, by name, each as it was when its digest was compared."""
    replace_file(folder / VERIFIED, VerifiedFiles(files=dict(files)).model_dump_json(by_alias=True))


def read_verified(folder: Path) -> VerifiedFiles:
    """Return the record of a folder; an empty one if there is none that can be read."""
    try:
        return VerifiedFiles.model_validate_json((folder / VERIFIED).read_bytes())
    except (OSError, ValidationError):
        return VerifiedFiles()
