"""Finished folders: written under a temporary name, fsynced, renamed, and recognised by their manifest."""

import fcntl
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages import Manifest, ManifestFile

from speechmodel_stagekit.durable import sync
from speechmodel_stagekit.errors import ArtefactMissing

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
CHUNK = 1 << 20
_TEMPORARY, _LOCK = ".partial", "lock"
Output = TypeVar("Output", bound=Document)


def file_digest(path: Path) -> str:
    """sha256 of a file in hexadecimal, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def once(folder: Path, output_type: type[Output], make: Callable[[Path], Output]) -> Output:
    """The recorded output of a complete `folder`, or that of `make(temporary folder)`, which then becomes `folder`.

    A stage's rerun is cheap and safe this way. An incomplete or damaged folder is replaced. The temporary folder lies below the
    parent of `folder` and goes whatever happens; that of a process that was killed goes when the next folder is made there.
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
        sync(path)
        files[path.relative_to(folder).as_posix()] = ManifestFile(
            size_bytes=path.stat().st_size, sha256=file_digest(path)
        )
    manifest: Manifest[Document] = Manifest(files=files, output=output)
    path = folder / MANIFEST
    path.write_text(manifest.model_dump_json(by_alias=True, indent=1, serialize_as_any=True), encoding="utf-8")
    sync(path)
    sync(folder)


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A new folder, which takes the place of `folder` when the context ends well."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    with _temporary_folder(folder) as temporary:
        new = temporary / "new"
        new.mkdir()  # with the mode that the umask gives: mkdtemp's own would keep everybody else out
        yield new
        if folder.exists():
            folder.rename(temporary / "old")
        new.rename(folder)
        sync(folder.parent)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """A folder beside `folder`, locked as long as this process lives: the PID says nothing, it is 1 in every pod."""
    unlocked = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    with (unlocked / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        temporary = unlocked.rename(f"{unlocked}{_TEMPORARY}")  # only from here on _sweep sees it
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove temporary folders whose process is gone, so that their lock is free."""
    for temporary in parent.glob(f".*{_TEMPORARY}"):
        try:
            with (temporary / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            continue  # somebody is at work in it, or it is another user's
        except FileNotFoundError:
            pass  # its removal was cut short, or goes on at this moment
        log.info("%s was left by a process that was killed: removed", temporary)
        shutil.rmtree(temporary, ignore_errors=True)
