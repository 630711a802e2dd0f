"""A published version -> a folder, verified.

Correct files are not fetched again, and an interrupted download of the model continues where it
was. version.json is written last, so a folder with it is complete.
"""

import hashlib
import logging
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from speechmodel_api.published import VersionManifest
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_api.workspace import ACOUSTIC, GRAMMAR, MODEL, QUANTISED, SCORER, SELFTEST, VERSION
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import TryAgain

from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, split_uri

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)


def download_version(target: S3Location, uri: str, sha256: str, folder: Path) -> VersionManifest:
    """Download the version whose version.json is at `uri` and has this digest, and return its description.

    Raises TryAgain (DownloadFailed) with the message of S3.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = Bucket.connect(target).client
    with storage_errors(Reason.DOWNLOAD_FAILED, target):
        raw = _read_version(client, uri, sha256)
        manifest = _parse(uri, raw)
        _fetch(client, manifest.model_uri, folder / MODEL, manifest.model_sha256, manifest.model_bytes)
        _fetch(client, manifest.selftest_uri, folder / SELFTEST, manifest.selftest_sha256, None)
        if (scores := manifest.grammar or manifest.rejection) is not None:
            _fetch(client, scores.acoustic_uri, folder / ACOUSTIC, scores.acoustic_sha256, scores.acoustic_bytes)
        if (native := manifest.native) is not None:
            _fetch(client, native.quantised_uri, folder / QUANTISED, native.quantised_sha256, native.quantised_bytes)
        if (scorer := manifest.scorer) is not None:
            _fetch(client, scorer.scorer_uri, folder / SCORER, scorer.scorer_sha256, scorer.scorer_bytes)
        if (grammar := manifest.grammar) is not None:
            _fetch(client, grammar.grammar_uri, folder / GRAMMAR, grammar.grammar_sha256, grammar.grammar_bytes)
    replace_file(folder / VERSION, raw)
    return manifest


def _read_version(client: "S3Client", uri: str, sha256: str) -> bytes:
    name, key = split_uri(uri)
    raw = Bucket(client, name).read(key)
    if (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise TryAgain(Reason.DOWNLOAD_FAILED, f"{uri} has the sha256 {found}, not {sha256}; publish the model again")
    return raw


def _parse(uri: str, raw: bytes) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(raw)
    except ValidationError as error:
        raise TryAgain(
            Reason.DOWNLOAD_FAILED, f"{uri} is not a valid version manifest; publish the model again: {error}"
        ) from error


def _fetch(client: "S3Client", uri: str, path: Path, sha256: str, size: int | None) -> None:
    name, key = split_uri(uri)
    fetched = Bucket(client, name).fetch(key, path, sha256, size)
    log.info("%s %s", uri, "fetched and verified" if fetched else "unchanged and verified")
