"""The published versions of a SpeechModel, and whose takes they were made with."""

import logging
from concurrent.futures import ThreadPoolExecutor
from operator import itemgetter
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import ValidationError
from speechmodel_api.published import VersionList, VersionManifest, VersionRecord
from speechmodel_api.schema import S3Location
from speechmodel_api.workspace import VERSION, VERSIONS
from speechmodel_stagekit.durable import replace_file

from speechmodel_pipeline.s3.objects import Bucket, split_uri

log = logging.getLogger(__name__)

MOST = 200
"""Versions that are listed, the newest ones. Each costs a request before a server starts."""
AT_ONCE = 16


def save_versions(target: S3Location, version_uri: str, folder: Path) -> None:
    """Write versions.json into the folder of the version at `version_uri`.

    A list that cannot be read keeps no server from starting: an older file is removed, and the log says why.
    """
    base = split_uri(version_uri)[1].rsplit("/", 3)[0]
    path = folder / VERSIONS
    try:
        found = _listed(Bucket.connect(target), f"{base}/")
    except (ClientError, BotoCoreError) as error:
        log.warning("the versions below %s/ cannot be listed: %s; allow this access key to list them", base, error)
        path.unlink(missing_ok=True)
        return
    replace_file(path, found.model_dump_json(by_alias=True))


def _listed(bucket: Bucket, prefix: str) -> VersionList:
    pages = bucket.client.get_paginator("list_objects_v2").paginate(Bucket=bucket.name, Prefix=prefix)
    objects = [
        (entry["LastModified"], entry["Key"])
        for page in pages
        for entry in page.get("Contents", ())
        if entry["Key"].endswith(f"/{VERSION}")
    ]
    newest = sorted(objects, key=itemgetter(0), reverse=True)[:MOST]
    with ThreadPoolExecutor(AT_ONCE) as threads:
        contents = list(threads.map(bucket.read_if_there, [key for _, key in newest]))
    records = []
    for (published_at, key), content in zip(newest, contents, strict=True):
        speakers = _take_speakers(bucket.uri(key), content)
        try:
            records.append(VersionRecord(version=key.split("/")[-2], published_at=published_at, take_speakers=speakers))
        except ValidationError:
            log.warning("%s is not in the folder of a version, so it is not listed", bucket.uri(key))
    return VersionList(versions=tuple(records))


def _take_speakers(uri: str, content: bytes | None) -> tuple[str, ...] | None:
    """Return the speakers that a manifest records. None if it records none, or is hidden or damaged."""
    try:
        card = VersionManifest.model_validate_json(content or b"").card
    except ValidationError:
        log.warning("%s cannot be read, so it is not known whose takes are in that version", uri)
        return None
    return card.take_speakers if card else None
