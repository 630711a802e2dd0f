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
        try:
            manifest = VersionManifest.model_validate_json(content or b"")
        except ValidationError:
            log.warning("%s is not a valid version manifest, so it is not listed", bucket.uri(key))
            continue
        speakers = manifest.card.take_speakers if manifest.card else None
        records.append(VersionRecord(version=manifest.version, published_at=published_at, take_speakers=speakers))
    return VersionList(versions=tuple(records))
