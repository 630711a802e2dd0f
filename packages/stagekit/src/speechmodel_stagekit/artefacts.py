"""Finished folders: written under a temporary name, fsynced, renamed, and recognised by their
manifest.
"""

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
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import Manifest, ManifestFile

from speechmodel_stagekit.durable import sync
from speechmodel_stagekit.errors import ArtefactMissing

log = logging.getLogger(__name__)

MANIFEST = "manifest.json"
_TEMPORARY, _LOCK = ".partial", "lock"
Output = TypeVar("Output", bound=Document)


def file_digest(path: Path) -> str:
    """Return the sha256 of a file in hexadecimal, in constant memory."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def once(
    folder: Path,
    output_type: type[Output],
    make: Callable[[Path], Output],
    is_current: Callable[[Output], bool] = lambda _: True,
) -> Output:
    """Return the recorded output of a complete `folder`, or fill it by `make(temporary folder)` and
    return that output. A folder whose output is not current is replaced.

    A second run of a stage is cheap and safe this way. An incomplete or damaged folder is replaced.
    The temporary folder is beside `folder` and is removed in every case; one that a killed process
    left is removed when the next folder is made there.
    """
    if recorded := recorded_output(folder, output_type):
        if is_current(recorded):
            log.info("%s is complete: nothing to do", folder)
            return recorded
        log.info("%s is made again, because its source has changed", folder)
    with _replacing(folder) as partial:
        output = make(partial)
        seal(partial, output)
    return output


def recorded_output(folder: Path, output_type: type[Output]) -> Output | None:
    """Return the output in the manifest of `folder`, or None unless every file has its recorded
    size and digest.
    """
    try:
        manifest = Manifest[output_type].model_validate_json((folder / MANIFEST).read_bytes())  # type: ignore[valid-type] # pydantic takes the runtime type
    except FileNotFoundError:
        return None
    except ValidationError as error:
        log.warning("%s is damaged and is made again: %s", folder / MANIFEST, error)
        return None
    for name, entry in manifest.files.items():
        path = folder / name
        if not path.is_file() or path.stat().st_size != entry.size_bytes or file_digest(path) != entry.sha256:
            log.warning("%s is damaged or missing; %s is made again", path, folder)
            return None
    output: Output = manifest.output
    return output


def require_file(path: Path, sha256: str | None = None) -> Path:
    """Return `path`, the file of an earlier stage.

    Raises ArtefactMissing when it is gone or has another digest.
    """
    if not path.is_file():
        raise ArtefactMissing(Reason.ARTEFACT_MISSING, f"{path} is missing; the stage that makes it runs again")
    if sha256 is not None and file_digest(path) != sha256:
        raise ArtefactMissing(
            Reason.ARTEFACT_DAMAGED, f"{path} does not have the sha256 {sha256}; the stage that makes it runs again"
        )
    return path


def seal(folder: Path, output: Document) -> None:
    """Write the manifest of everything in `folder`, and fsync every file."""
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
    """Give a new folder, which replaces `folder` when the context ends without an error."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    _sweep(folder.parent)
    with _temporary_folder(folder) as temporary:
        new = temporary / "new"
        new.mkdir()  # with the mode of the umask: mkdtemp's own is closed to other users
        yield new
        if folder.exists():
            folder.rename(temporary / "old")
        new.rename(folder)
        sync(folder.parent)


@contextmanager
def _temporary_folder(folder: Path) -> Iterator[Path]:
    """Give a folder beside `folder`, locked while this process lives.

    A PID in the name would not do: it is the same in every pod. The folder is renamed while the
    lock is held, so the lock is flock itself and not a lock that belongs to a path.
    """
    unlocked = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    with (unlocked / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        temporary = unlocked.rename(f"{unlocked}{_TEMPORARY}")  # _sweep sees it only from here on
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def _sweep(parent: Path) -> None:
    """Remove temporary folders whose process has ended, which frees their lock."""
    for temporary in parent.glob(f".*{_TEMPORARY}"):
        try:
            with (temporary / _LOCK).open("r+") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except (BlockingIOError, PermissionError):
            continue  # its process is alive, or belongs to another user
        except FileNotFoundError:
            pass  # its removal was interrupted, or is in progress
        log.info("%s was left by a killed process and is removed", temporary)
        shutil.rmtree(temporary, ignore_errors=True)
