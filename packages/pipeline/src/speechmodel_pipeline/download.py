"""download: the checkpoint of `training.initFrom.s3` -> a folder of the workspace."""

import re
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.stages.train import DownloadInput, DownloadOutput
from speechmodel_stagekit.errors import BadConfiguration
from speechmodel_stagekit.program import run_stage

from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.errors import where
from speechmodel_pipeline.s3.folder import BucketFolder

FIELD = "training.initFrom.s3"
_INDEX = re.compile(r"(((?:best|step)-[^/]+/)?model|[^/]+-\d+)\.index")
"""Index of a checkpoint of ours, alone or in the folder of a lineage, or of DeepSpeech."""


def download_checkpoint(task: DownloadInput) -> DownloadOutput:
    """Make the folder hold the objects below the prefix. Files that are whole are kept.

    Raises TryAgain (DownloadFailed) with the message of S3, and BadConfiguration (InitFromUnusable),
    before anything is downloaded, when no object is the index of a checkpoint.
    """
    source = BucketFolder(task.bucket, FIELD, "checkpoint", Reason.INIT_FROM_UNUSABLE)
    if not any(_INDEX.fullmatch(each.name) for each in source.listed):
        below = f" below {task.bucket.prefix}/" if task.bucket.prefix else ""
        raise BadConfiguration(
            Reason.INIT_FROM_UNUSABLE,
            f"{where(task.bucket)} has no checkpoint{below} (model.index, step-*/model.index or best_dev-*.index), but "
            f"objects such as {source.listed[0].name}; correct {FIELD}.prefix, or upload the checkpoint and set the "
            "annotation speechops.dev/retry to a new value",
        )
    source.download(Path(task.folder), Steps(source.size_bytes, "bytes").advance)
    return DownloadOutput(
        objects=len(source.listed),
        size_bytes=source.size_bytes,
        listing_digest=source.digest,
    )


if __name__ == "__main__":
    run_stage(DownloadInput, download_checkpoint)
