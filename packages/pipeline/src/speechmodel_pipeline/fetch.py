"""fetch: a published version -> a local folder, verified. It runs before a server starts."""

import logging
import time
from pathlib import Path

from speechmodel_api.base import Document
from speechmodel_api.stages import Digest, FetchInput, Key
from speechmodel_stagekit.errors import TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.s3.version_list import save_versions
from speechmodel_pipeline.s3.versions import download_version

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
    manifest = download_version(task.target, task.version_uri, task.version_sha256, folder, task.public_keys)
    if task.list_versions:
        save_versions(task.target, task.version_uri, folder)
    return FetchOutput(version=manifest.version, model_sha256=manifest.model_sha256)


if __name__ == "__main__":
    run_stage(FetchInput, fetch)
