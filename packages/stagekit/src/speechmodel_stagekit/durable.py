"""Files and folders that are complete or absent, also after a power cut."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` in one step, text as UTF-8: a reader sees the old file or the new
    one.

    The content is on the disk before it takes the place of the old file. Raises OSError, and then
    leaves `path` as it was.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        partial.write_bytes(content.encode() if isinstance(content, str) else content)
        sync(partial)
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    sync(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the files directly in `folder`, and their names, durable."""
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Make the content of a file, or the names in a folder, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
