"""Files and folders that are there wholly or not at all, also after a power cut."""

import os
from pathlib import Path


def replace_file(path: Path, content: bytes) -> None:
    """Write `content` to `path` in one step."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    partial.write_bytes(content)
    sync(partial)
    partial.rename(path)
    sync(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the files right below `folder`, and their names, durable."""
    for path in folder.iterdir():
        sync(path)
    sync(folder)


def sync(path: Path) -> None:
    """Make a file's content, or a folder's names, durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
