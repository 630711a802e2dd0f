"""fetch: a published version -> a local folder, verified. It runs before a server starts.

Correct files are not fetched again, and an interrupted download of the model continues where it
was. version.json is written last, so a folder with it is complete.
"""

import hashlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.reasons import Reason
from speechmodel_api.stages import Digest, FetchInput, Key, VersionManifest
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, SCORER, SELFTEST, VERSION
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, split_uri

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)

PAUSES = (1, 2, 4, 8)
"""Seconds between attempts, beyond those of boto3. Then the kubelet restarts the container."""


class FetchOutput(Document):
    """The version in the folder; version.json has the rest."""

    version: Key
    model_sha256: Digest


def fetch(task: FetchInput) -> FetchOutput:
    """Fetch the version into its folder.

    Raises TryAgain (DownloadFailed) with the message of S3 after the last attempt.
    """
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
    with storage_errors(Reason.DOWNLOAD_FAILED, task.target):
        raw = _read_version(client, task)
        manifest = _parse(task, raw)
        _fetch(client, manifest.model_uri, folder / MODEL, manifest.model_sha256, manifest.model_bytes)
        _fetch(client, manifest.selftest_uri, folder / SELFTEST, manifest.selftest_sha256, None)
        if (scores := manifest.grammar or manifest.rejection) is not None:
            _fetch(client, scores.acoustic_uri, folder / ACOUSTIC, scores.acoustic_sha256, scores.acoustic_bytes)
        if (scorer := manifest.scorer) is not None:
            _fetch(client, scorer.scorer_uri, folder / SCORER, scorer.scorer_sha256, scorer.scorer_bytes)
        if (grammar := manifest.grammar) is not None:
            _fetch(client, grammar.grammar_uri, folder / GRAMMAR, grammar.grammar_sha256, grammar.grammar_bytes)
    replace_file(folder / VERSION, raw)
    return FetchOutput(version=manifest.version, model_sha256=manifest.model_sha256)


def _read_version(client: "S3Client", task: FetchInput) -> bytes:
    name, key = split_uri(task.version_uri)
    raw = Bucket(client, name).read(key)
    if (found := hashlib.sha256(raw).hexdigest()) != task.version_sha256:
        problem = f"{task.version_uri} has the sha256 {found}, not {task.version_sha256}"
        raise TryAgain(Reason.DOWNLOAD_FAILED, f"{problem}; publish the model again")
    return raw


def _parse(task: FetchInput, raw: bytes) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(raw)
    except ValidationError as error:
        raise TryAgain(
            Reason.DOWNLOAD_FAILED,
            f"{task.version_uri} is not a valid version manifest; publish the model again: {error}",
        ) from error


def _fetch(client: "S3Client", uri: str, path: Path, sha256: str, size: int | None) -> None:
    name, key = split_uri(uri)
    fetched = Bucket(client, name).fetch(key, path, sha256, size)
    log.info("%s %s", uri, "fetched and verified" if fetched else "unchanged and verified")


if __name__ == "__main__":
    run_stage(FetchInput, fetch)
