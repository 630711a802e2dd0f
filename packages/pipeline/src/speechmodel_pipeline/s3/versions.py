"""A published version -> a folder, verified.

Correct files are not fetched again, and an interrupted download of the model continues where it
was. version.json is written last, so a folder with it is complete.
"""

import hashlib
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import ValidationError
from speechmodel_api.published import PublishedFile, VersionManifest
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_api.workspace import SIGNATURE
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import BadData, TryAgain
from speechmodel_stagekit.verified import VerifiedFile

from speechmodel_pipeline.model_cache import ModelCache
from speechmodel_pipeline.s3.errors import storage_errors
from speechmodel_pipeline.s3.objects import Bucket, split_uri
from speechmodel_pipeline.signing import signature_uri, signed_digests, verify
from speechmodel_pipeline.version_folder import complete, link

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

log = logging.getLogger(__name__)


def download_version(
    target: S3Location,
    uri: str,
    sha256: str,
    folder: Path,
    public_keys: Sequence[str] | None = None,
    cache: ModelCache | None = None,
) -> VersionManifest:
    """Download the version whose version.json is at `uri` and has this digest, and return its description.

    One of `public_keys` must verify its signature, which is read before the files; None verifies none.
    Raises TryAgain (DownloadFailed) with the message of S3, BadData (SignatureMissing,
    SignatureInvalid), and BadConfiguration (SigningKeyUnusable).

    With a cache, the files are downloaded to it, and the folder has links. A file that it cannot keep is downloaded to the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)
    client = Bucket.connect(target).client
    with storage_errors(Reason.DOWNLOAD_FAILED, target):
        raw = _read_version(client, uri, sha256)
        manifest = _parse(uri, raw)
        if public_keys is not None:
            signature = _read_signature(client, signature_uri(uri))
            verify(signature_uri(uri), signature, signed_digests(raw, manifest), public_keys)
            replace_file(folder / SIGNATURE, signature)
        verified = {file.name: _fetch(client, file, folder / file.name, cache) for file in manifest.files}
        if cache is not None:
            cache.obtain(sha256, len(raw), lambda path: replace_file(path, raw))
    complete(folder, raw, verified)
    return manifest


def _read_version(client: "S3Client", uri: str, sha256: str) -> bytes:
    name, key = split_uri(uri)
    raw = Bucket(client, name).read(key)
    if (found := hashlib.sha256(raw).hexdigest()) != sha256:
        raise TryAgain(Reason.DOWNLOAD_FAILED, f"{uri} has the sha256 {found}, not {sha256}; publish the model again")
    return raw


def _read_signature(client: "S3Client", uri: str) -> bytes:
    name, key = split_uri(uri)
    signature = Bucket(client, name).read_if_there(key)
    if signature is None:
        raise BadData(
            Reason.SIGNATURE_MISSING,
            f"{uri} is not there, although the version was signed; find out who removed it, or publish the version again",
        )
    return signature


def _parse(uri: str, raw: bytes) -> VersionManifest:
    try:
        return VersionManifest.model_validate_json(raw)
    except ValidationError as error:
        raise TryAgain(
            Reason.DOWNLOAD_FAILED, f"{uri} is not a valid version manifest; publish the model again: {error}"
        ) from error


def _fetch(client: "S3Client", file: PublishedFile, path: Path, cache: ModelCache | None) -> VerifiedFile:
    """Download a file, or link to that of the cache. Return what it is now that its digest was compared."""
    name, key = split_uri(file.uri)
    bucket = Bucket(client, name)

    def download(to: Path) -> None:
        fetched = bucket.fetch(key, to, file.sha256, file.size)
        log.info("%s %s", file.uri, "fetched and verified" if fetched else "unchanged and verified")

    if cache is not None and (shared := cache.obtain(file.sha256, file.size, download)):
        link(path, shared)
    else:
        download(path)
    return VerifiedFile.of(path.stat(), file.sha256)
