"""purge: removes every object version and every unfinished upload below `<base>/`, and nothing else
in the bucket.
"""

import itertools
import logging
from collections.abc import Iterator
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.publish import PurgeInput, PurgeOutput
from speechmodel_stagekit.errors import BadInput, TryAgain
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.s3.errors import error_code, storage_errors
from speechmodel_pipeline.s3.objects import Bucket

if TYPE_CHECKING:
    from types_boto3_s3.type_defs import ObjectIdentifierTypeDef

log = logging.getLogger(__name__)

SEGMENTS = 3
"""Segments of `<namespace>/<name>/<uid>`, the end of every base. A shorter base would include other
models."""
BATCH = 1000
"""Keys per request, the limit of S3."""


def purge(task: PurgeInput) -> PurgeOutput:
    """Remove the published objects of a model and return their number, which is 0 when the bucket
    does not exist.

    Raises BadInput for a base that is not that of one model, and TryAgain (PurgeFailed) with the
    message of S3.
    """
    segments = task.base.split("/")
    if len(segments) < SEGMENTS or any(segment in ("", ".", "..") for segment in segments):
        raise BadInput(
            Reason.BAD_INPUT, f"base {task.base!r} is not <prefix>/<namespace>/<name>/<uid>: nothing was removed"
        )
    bucket, prefix = Bucket.connect(task.target), f"{task.base}/"
    with storage_errors(Reason.PURGE_FAILED, task.target):
        try:
            return PurgeOutput(objects=_purge(bucket, prefix))
        except ClientError as error:
            if error_code(error) == "NoSuchBucket":
                log.info("the bucket %s does not exist: nothing to remove", bucket.name)
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
                Reason.PURGE_FAILED,
                f"{bucket.uri(first['Key'])}: {first['Code']}: {first['Message']}; {len(refused)} objects are left; remove them by hand",
            )
        removed += len(batch)
    if left := next(_versions(bucket, prefix), None):
        raise TryAgain(
            Reason.PURGE_FAILED,
            f"{bucket.uri(left['Key'])} was written during the removal; stop the program that writes below {prefix}",
        )
    log.info("%d object versions removed below %s", removed, bucket.uri(prefix))
    return removed


def _versions(bucket: Bucket, prefix: str) -> Iterator["ObjectIdentifierTypeDef"]:
    """Yield Key and VersionId of every object version and delete marker below `prefix`."""
    pages = bucket.client.get_paginator("list_object_versions").paginate(Bucket=bucket.name, Prefix=prefix)
    for page in pages:
        for entry in itertools.chain(page.get("Versions", ()), page.get("DeleteMarkers", ())):
            yield {"Key": entry["Key"], "VersionId": entry["VersionId"]}


def _abort_uploads(bucket: Bucket, prefix: str) -> None:
    pages = bucket.client.get_paginator("list_multipart_uploads").paginate(Bucket=bucket.name, Prefix=prefix)
    for upload in itertools.chain.from_iterable(page.get("Uploads", ()) for page in pages):
        bucket.client.abort_multipart_upload(Bucket=bucket.name, Key=upload["Key"], UploadId=upload["UploadId"])
        log.info("the unfinished upload of %s was removed", bucket.uri(upload["Key"]))


if __name__ == "__main__":
    run_stage(PurgeInput, purge)
