"""fetch: a published version -> a local folder, verified. It runs before a server starts, so it imports boto3, which takes half
a second, only if it needs S3.
"""

import logging
import time
from pathlib import Path

from speechmodel_api.base import Document
from speechmodel_api.published import VersionManifest
from speechmodel_api.stages.contract import Digest, Key
from speechmodel_api.stages.publish import FetchInput
from speechmodel_stagekit.errors import TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.model_cache import ModelCache
from speechmodel_pipeline.version_folder import version_from_cache

log = logging.getLogger(__name__)

PAUSES = (1, 2, 4, 8)
"""Seconds between attempts, beyond those of boto3. Then the kubelet restarts the container."""


class FetchOutput(Document):
    """The version in the folder; version.json has the rest."""

    version: Key
    model_sha256: Digest


def fetch(task: FetchInput) -> FetchOutput:
    """Fetch the version into its folder.

    Raises TryAgain (DownloadFailed) with the message of S3 after the last attempt, and BadData
    (SignatureMissing, SignatureInvalid) at once.
    """
    for pause in PAUSES:
        try:
            return _output(task)
        except TryAgain as failure:
            log.warning("%s; trying again in %d s", failure, pause)
            time.sleep(pause)
    return _output(task)


def _output(task: FetchInput) -> FetchOutput:
    folder = Path(task.folder)
    manifest = _version(task, folder)
    if task.list_versions:
        from speechmodel_pipeline.s3.version_list import save_versions

        save_versions(task.target, task.version_uri, folder)
    return FetchOutput(version=manifest.version, model_sha256=manifest.model_sha256)


def _version(task: FetchInput, folder: Path) -> VersionManifest:
    """Return the description of the version, whose files are then in the folder. A signature is always read from S3."""
    cache = ModelCache(Path(task.cache)) if task.cache else None
    if cache and not task.public_keys:
        folder.mkdir(parents=True, exist_ok=True)
        if manifest := version_from_cache(cache, task.version_sha256, folder):
            return manifest
    from speechmodel_pipeline.s3.versions import download_version

    return download_version(task.target, task.version_uri, task.version_sha256, folder, task.public_keys, cache)


if __name__ == "__main__":
    run_stage(FetchInput, fetch)
