"""The published version of a model, fetched to this machine."""

from pathlib import Path

from speechmodel_api.schema import S3Location, S3Target

from speechmodel_cli.errors import CommandError
from speechmodel_cli.local.embedded_s3 import ENDPOINT, EmbeddedStore
from speechmodel_cli.local.object_store import ManifestStore, ObjectStore
from speechmodel_cli.local.published import fetched
from speechmodel_cli.local.state import ModelState

EMBEDDED_FOLDER = ".s3"
"""Folder of the embedded server, beside the folders of the models. No model's name begins with a dot."""


def open_store(state_folder: Path, s3: S3Target, kind: str) -> ObjectStore:
    """Return the store that publish and fetch use; `kind` is `embedded` or `manifest`."""
    return EmbeddedStore(state_folder / EMBEDDED_FOLDER, s3.bucket) if kind == "embedded" else ManifestStore(s3)


async def published_folder(state: ModelState) -> Path:
    """Return the folder of the version to be served, after fetching it. Raises CommandError or a LocalError."""
    model = state.read_status().model
    if model is None:
        raise CommandError(f"{state.name} has no promoted version yet; `speechmodel status {state.name}` shows why")
    target = state.targets().get(model.version)
    if target is None:
        raise CommandError(
            f"{state.folder} does not record the bucket of version {model.version}; run `speechmodel run` again"
        )
    s3 = S3Target.model_validate(target.model_dump())
    store = open_store(state.folder.parent, s3, _kind(target))
    try:
        return await fetched(state, model, store, s3)
    finally:
        await store.close()


def _kind(target: S3Location) -> str:
    return "embedded" if target.endpoint == ENDPOINT else "manifest"
