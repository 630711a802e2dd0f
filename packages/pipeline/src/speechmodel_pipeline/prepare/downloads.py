"""The buckets of a dataset, those of its recordings and of other speech, as folders of the workspace."""

import hashlib
from functools import cached_property
from pathlib import Path, PurePosixPath

from speechmodel_api.credentials import NEGATIVES
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.prepare import PrepareInput
from speechmodel_api.takes import MISHEARD

from speechmodel_pipeline.prepare.audio_files import is_recording
from speechmodel_pipeline.prepare.other_speech import SOURCE
from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.folder import BucketFolder


class Downloads:
    """The buckets that `task` names, as they list their objects when they are first asked for. There may be none."""

    def __init__(self, task: PrepareInput) -> None:
        source, other = task.bucket, task.other_speech_bucket
        unusable = Reason.INVALID_DATASET
        self._buckets: list[tuple[BucketFolder, Path]] = []
        if source is not None:
            without = tuple(f"{folder}/" for folder in (MISHEARD, *_below(source, other)))
            bucket = BucketFolder(
                source,
                "dataset.source.s3",
                "recordings",
                unusable,
                wanted=lambda name: not name.startswith(without),
            )
            self._buckets.append((bucket, Path(task.source)))
        if other is not None and task.other_speech is not None:
            content = "recordings of other speech"
            bucket = BucketFolder(other, f"{SOURCE}.s3", content, unusable, wanted=is_recording, env_prefix=NEGATIVES)
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
        if not self._buckets:
            return
        # lists every bucket, so that a wrong key of one does not cost the download of another
        steps = Steps(sum(bucket.size_bytes for bucket, _ in self._buckets), "bytes")
        for bucket, folder in self._buckets:
            bucket.download(folder, steps.advance)


def _below(source: S3Location, other: S3Location | None) -> tuple[PurePosixPath, ...]:
    """Return the prefix of other speech below that of the dataset, if it is in the same bucket and below it."""
    prefix, above = PurePosixPath(other.prefix if other else ""), PurePosixPath(source.prefix)
    same = other is not None and (other.bucket, other.endpoint) == (source.bucket, source.endpoint)
    return (prefix.relative_to(above),) if same and prefix.is_relative_to(above) else ()
