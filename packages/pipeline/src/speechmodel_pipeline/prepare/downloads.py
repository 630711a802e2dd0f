"""The buckets of a dataset, those of its recordings and of other speech, as folders of the workspace."""

import hashlib
from functools import cached_property
from pathlib import Path

from speechmodel_api.credentials import NEGATIVES
from speechmodel_api.reasons import Reason
from speechmodel_api.stages import PrepareInput
from speechmodel_api.takes import MISHEARD
from speechmodel_stagekit.errors import BadData

from speechmodel_pipeline.prepare.other_speech import SOURCE
from speechmodel_pipeline.s3.folder import BucketFolder


class Downloads:
    """The buckets that `task` names, as they list their objects when they are first asked for. There may be none."""

    def __init__(self, task: PrepareInput) -> None:
        """Raise BadData (InvalidDataset) when both names are of one place."""
        if task.other_speech == task.source:
            advice = "name a folder, or a prefix, whose recordings contain none of the transcripts"
            raise BadData(Reason.INVALID_DATASET, f"{SOURCE} is the place of the dataset itself; {advice}")
        unusable = Reason.INVALID_DATASET
        self._buckets: list[tuple[BucketFolder, Path]] = []
        if task.bucket is not None:
            bucket = BucketFolder(task.bucket, "dataset.source.s3", "recordings", unusable, without=MISHEARD)
            self._buckets.append((bucket, Path(task.source)))
        if task.other_speech_bucket is not None and task.other_speech is not None:
            content = "recordings of other speech"
            bucket = BucketFolder(task.other_speech_bucket, f"{SOURCE}.s3", content, unusable, variables=NEGATIVES)
            self._buckets.append((bucket, Path(task.other_speech)))

    @cached_property
    def digest(self) -> str | None:
        """The sha256 over key, size and ETag of every object, or None without a bucket. Raises as BucketFolder does."""
        digests = [bucket.digest for bucket, _ in self._buckets]
        if len(digests) < 2:  # as it was when there was one bucket at most
            return digests[0] if digests else None
        return hashlib.sha256("".join(digests).encode()).hexdigest()

    def fetch(self) -> None:
        """Make each folder hold exactly the objects of its bucket. Raises as BucketFolder does."""
        for bucket, folder in self._buckets:
            bucket.download(folder)
