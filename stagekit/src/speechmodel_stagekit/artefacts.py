"""Finished folders: written under a temporary name, fsynced, renamed, and recognised by their manifest."""

import hashlib
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages import Manifest, ManifestFile

from speechmodel_stagekit.errors import ArtefactMissing

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CHUNK = 1 << 20
Output = TypeVar("Output", bound=Document)


def file_digest(path: Path) -> str:
    """sha256 of a file in hexadecimal, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def once(folder: Path, output_type: type[Output], make: Callable[[Path], Output]) -> Output:
    """The recorded output of a complete `folder`, or that of `make(temporary folder)`, which then becomes `folder`.

    A stage's rerun is cheap and safe this way. An incomplete or damaged folder is replaced.
    """
    if recorded := recorded_output(folder, output_type):
        log.info("%s is complete: nothing to do", folder)
        return recorded
    with _replacing(folder) as partial:
        output = make(partial)
        seal(partial, output)
    return output


def recorded_output(folder: Path, output_type: type[Output]) -> Output | None:
    """The output in the manifest of `folder` if every file in it is there with the right size and digest."""
    try:
        manifest = Manifest[output_type].model_validate_json((folder / MANIFEST).read_bytes())  # type: ignore[valid-type] # pydantic takes the runtime type
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged and will be made again: %s", folder / MANIFEST, error)
        return None
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.size_bytes or file_digest(path) != entry.sha256:
            log.warning("%s is damaged or missing; %s will be made again", path, folder)
            return None
    output: Output = manifest.output
    return output


def require_file(path: Path, sha256: str | None = None) -> Path:
    """`path`, which an earlier stage made; ArtefactMissing when it is gone or has another digest."""
    if not path.is_file():
        raise ArtefactMissing("ArtefactMissing", f"{path} is missing; the stage that makes it runs again")
    if sha256 is not None and file_digest(path) != sha256:
        raise ArtefactMissing(
            "ArtefactDamaged", f"{path} does not have the sha256 {sha256}; the stage that makes it runs again"
        )
    return path


def seal(folder: Path, output: Document) -> None:
    """Write the manifest of everything in `folder` and fsync it all."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file() and p.name != MANIFEST):
        _sync(path)
        files[path.relative_to(folder).as_posix()] = ManifestFile(
            size_bytes=path.stat().st_size, sha256=file_digest(path)
        )
    manifest: Manifest[Document] = Manifest(files=files, output=output)
    path = folder / MANIFEST
    path.write_text(manifest.model_dump_json(by_alias=True, indent=1, serialize_as_any=True), encoding="utf-8")
    _sync(path)
    _sync(folder)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    folder.parent.mkdir(parents=True, exist_ok=True)
    partial = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    try:
        yield partial
        old = folder.with_name(f".{folder.name}.{os.getpid()}.old")
        if folder.exists():
            folder.rename(old)
        partial.rename(folder)
        _sync(folder.parent)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
