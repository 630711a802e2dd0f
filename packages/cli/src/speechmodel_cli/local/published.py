"""Published versions on this machine, fetched by the same program as in a server's pod, verified, and kept."""

import asyncio
import hashlib
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from speechmodel_api.published import VersionManifest
from speechmodel_api.schema import S3Target
from speechmodel_api.stages.publish import FetchInput
from speechmodel_api.status import ModelStatus
from speechmodel_api.workspace import VERSION, VERSIONS

from speechmodel_cli.local.child import Child
from speechmodel_cli.local.errors import FetchFailed
from speechmodel_cli.local.object_store import ObjectStore
from speechmodel_cli.local.programs import FETCH, command, environment, reported_error
from speechmodel_cli.local.state import ModelState


async def fetched(
    state: ModelState, model: ModelStatus, store: ObjectStore, s3: S3Target, *, list_versions: bool = False
) -> Path:
    """Return the folder of a version, fetched unless it is complete. Raises FetchFailed or another LocalError.

    With `list_versions`, for a server that keeps takes, the folder has the list of published versions too.
    fetch verifies the signature of a signed version each time, because the trusted keys may have changed.
    """
    folder, record = state.published / model.version, state.known_record()
    public_keys = record.public_keys if record and model.signed_by else ()
    unlisted = list_versions and not (folder / VERSIONS).exists()
    if public_keys or unlisted or not await asyncio.to_thread(is_complete, folder, model):
        await _fetch(folder, model, store, s3, public_keys, list_versions=list_versions)
        if not await asyncio.to_thread(is_complete, folder, model):
            raise FetchFailed(
                f"{folder} does not contain version {model.version} after it was fetched; remove it and try again"
            )
    return folder


def is_complete(folder: Path, model: ModelStatus) -> bool:
    """Return True when every file of the version has the digest that was published."""
    try:
        raw = (folder / VERSION).read_bytes()
        manifest = VersionManifest.model_validate_json(raw)
        return hashlib.sha256(raw).hexdigest() == model.version_sha256 and all(
            _digest(folder / file.name) == file.sha256 for file in manifest.files
        )
    except (FileNotFoundError, ValidationError):
        return False


def read_manifest(folder: Path) -> VersionManifest:
    """Return the description of a fetched version."""
    return VersionManifest.model_validate_json((folder / VERSION).read_bytes())


async def _fetch(
    folder: Path,
    model: ModelStatus,
    store: ObjectStore,
    s3: S3Target,
    public_keys: tuple[str, ...],
    *,
    list_versions: bool,
) -> None:
    target = store.target(s3)
    document = FetchInput(
        target=target.location,
        version_uri=model.version_uri,
        version_sha256=model.version_sha256,
        public_keys=public_keys or None,
        list_versions=list_versions or None,
        folder=PurePosixPath(folder),
    )
    program = command(FETCH)
    access = await store.open()
    result, log = folder.parent / f"{model.version}.result.json", folder.parent / f"{model.version}.log"
    await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    child = await Child.start(program, environment=environment(document, result, access), folder=folder, log=log)
    try:
        code = await child.wait()
    except asyncio.CancelledError:
        child.kill()
        await child.wait()
        raise
    if code != 0:
        error = reported_error(result)
        reason = error.message if error else "fetch reported no error"
        raise FetchFailed(f"{model.version_uri} could not be fetched: {reason}; the log is {log}")


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
