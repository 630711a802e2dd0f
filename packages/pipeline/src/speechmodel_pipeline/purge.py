"""purge: removes every object version below `<base>/`, and unfinished uploads; nothing else in the bucket is touched."""

import itertools
import logging
from collections.abc import Iterator

from botocore.exceptions import ClientError
from speechmodel_api.stages import PurgeInput, PurgeOutput
from speechmodel_stagekit.errors import BadInput, TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.s3.errors import error_code, storage_errors
from speechmodel_pipeline.s3.objects import Bucket

log = logging.getLogger(__name__)

SEGMENTS = 3
"""A model's base ends in `<namespace>/<name>/<uid>`: whatever is shorter would take other models with it."""
BATCH = 1000
"""Keys per request: S3's limit."""


def purge(task: PurgeInput) -> PurgeOutput:
    """How many object versions were removed; 0 when there were none, or no such bucket.

    Raises BadInput for a base that is not one model's, TryAgain("PurgeFailed") with S3's own words when it refuses.
    """
    segments = task.base.split("/")
    if len(segments) < SEGMENTS or any(segment in ("", ".", "..") for segment in segments):
        raise BadInput("BadInput", f"base {task.base!r} is not <prefix>/<namespace>/<name>/<uid>: nothing was removed")
    bucket, prefix = Bucket.connect(task.target), f"{task.base}/"
    with storage_errors("PurgeFailed", task.target):
        try:
            return PurgeOutput(objects=_purge(bucket, prefix))
        except ClientError as error:
            if error_code(error) == "NoSuchBucket":
                log.info("there is no bucket %s: nothing to remove", bucket.name)
                return PurgeOutput(objects=0)
            raise


def _purge(bucket: Bucket, prefix: str) -> int:
    _abort_uploads(bucket, prefix)
    removed, versions = 0, _versions(bucket, prefix)
    while batch := list(itertools.islice(versions, BATCH)):
        answer = bucket.client.delete_objects(Bucket=bucket.name, Delete={"Objects": batch, "Quiet": True})
        if refused := answer.get("Errors"):
            first = refused[0]
            raise TryAgain(
                "PurgeFailed",
                f"{bucket.uri(first['Key'])}: {first['Code']}: {first['Message']}; {len(refused)} objects are left",
            )
        removed += len(batch)
    if left := next(_versions(bucket, prefix), None):
        raise TryAgain("PurgeFailed", f"{bucket.uri(left['Key'])} is still there; somebody writes below {prefix}")
    log.info("%d object versions removed below %s", removed, bucket.uri(prefix))
    return removed


def _versions(bucket: Bucket, prefix: str) -> Iterator[dict[str, str]]:
    """Key and VersionId of every object version and delete marker below `prefix`."""
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=prefix)
    for page in pages:
        for entry in itertools.chain(page.get("Versions", ()), page.get("DeleteMarkers", ())):
            yield {"Key": entry["Key"], "VersionId": entry["VersionId"]}


def _abort_uploads(bucket: Bucket, prefix: str) -> None:
    pages = bucket.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=prefix)
    for upload in itertools.chain.from_iterable(page.get("Uploads", ()) for page in pages):
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
        log.info("unfinished upload of %s aborted", bucket.uri(upload["Key"]))


if __name__ == "__main__":
    run_stage(PurgeInput, purge)
