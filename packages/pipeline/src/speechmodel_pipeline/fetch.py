"""fetch: a published version -> a local folder, verified. Runs before a server starts.

Files that are there and right are not fetched again, an interrupted download of the model goes on where it was, and version.json
is written last: who finds it has all of it.
"""

import hashlib
import logging
import time
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages import Digest, FetchInput, Key, VersionManifest
from speechmodel_stagekit.errors import TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.files import MODEL, SELFTEST, VERSION
from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, Client, split_uri

log = logging.getLogger(__name__)

PAUSES = (1, 2, 4, 8)
"""Seconds between attempts, on top of boto3's own; after the last one the pod's restarts go on trying."""


class FetchOutput(Document):
    """What lies in the folder now; version.json has the rest."""

    version: Key
    model_sha256: Digest


def fetch(task: FetchInput) -> FetchOutput:
    """The version in `folder`; TryAgain("DownloadFailed") with S3's own words when the attempts are used up."""
    for pause in PAUSES:
        try:
            return _attempt(task)
        except TryAgain as failure:
            log.warning("%s; trying again in %d s", failure, pause)
            time.sleep(pause)
    return _attempt(task)


def _attempt(task: FetchInput) -> FetchOutput:
    folder = Path(task.folder)
    folder.mkdir(parents=True, exist_ok=True)
    client = Bucket.connect(task.target).client
    with storage_errors("DownloadFailed", task.target):
        raw = _read_version(client, task)
        manifest = _parse(task, raw)
        _fetch(client, manifest.model_uri, folder / MODEL, manifest.model_sha256, manifest.model_bytes)
        _fetch(client, manifest.selftest_uri, folder / SELFTEST, manifest.selftest_sha256, None)
    partial = folder / f".{VERSION}.partial"
    partial.write_bytes(raw)
    partial.replace(folder / VERSION)
    return FetchOutput(version=manifest.version, model_sha256=manifest.model_sha256)


def _read_version(client: Client, task: FetchInput) -> bytes:
    name, key = split_uri(task.version_uri)
    raw = Bucket(client, name).read(key)
    if (found := hashlib.sha256(raw).hexdigest()) != task.version_sha256:
        problem = f"{task.version_uri} has the sha256 {found}, not {task.version_sha256}"
        raise TryAgain("DownloadFailed", f"{problem}; publish the model again")
    return raw


def _parse(task: FetchInput, raw: bytes) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(raw)
    except ValidationError as error:
        raise TryAgain("DownloadFailed", f"{task.version_uri} is no version manifest: {error}") from error


def _fetch(client: Client, uri: str, path: Path, sha256: str, size: int | None) -> None:
    name, key = split_uri(uri)
    fetched = Bucket(client, name).fetch(key, path, sha256, size)
    log.info("%s %s", uri, "fetched and verified" if fetched else "was there, verified")


if __name__ == "__main__":
    run_stage(FetchInput, fetch)
