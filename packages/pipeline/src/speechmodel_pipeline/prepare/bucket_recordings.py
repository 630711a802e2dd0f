"""The recordings of `dataset.source.s3` in a folder of the workspace."""

import logging
from functools import cached_property
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_stagekit.errors import TryAgain

from speechmodel_pipeline.progress import Steps
from speechmodel_pipeline.s3.download import ListedObject, download, list_objects, listing_digest
from speechmodel_pipeline.s3.errors import storage_errors, where
from speechmodel_pipeline.s3.objects import Bucket

log = logging.getLogger(__name__)

FIELD = "dataset.source.s3"


class BucketRecordings:
    """The objects of a dataset, as the bucket lists them when they are first asked for.

    Every method raises TryAgain (DownloadFailed) with the message of S3, and BadData (InvalidDataset)
    for an object that cannot be a file.
    """

    def __init__(self, location: S3Location) -> None:
        self._location = location

    @cached_property
    def digest(self) -> str:
        """The sha256 over key, size and ETag of every object."""
        return listing_digest(self._listed)

    def download(self, folder: Path) -> None:
        """Make `folder` hold exactly the objects. Files that are whole are kept."""
        listed = self._listed
        steps = Steps(sum(each.size for each in listed), "bytes")
        with storage_errors(Reason.DOWNLOAD_FAILED, self._location, FIELD):
            fetched = download(self._bucket, listed, folder, steps.advance)
        log.info("%d of %d objects downloaded from %s", fetched, len(listed), where(self._location))

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket.connect(self._location)

    @cached_property
    def _listed(self) -> tuple[ListedObject, ...]:
        with storage_errors(Reason.DOWNLOAD_FAILED, self._location, FIELD):
            listed = list_objects(self._bucket, self._location.prefix)
        if not listed:
            below = f" below {self._location.prefix}/" if self._location.prefix else ""
            raise TryAgain(
                Reason.DOWNLOAD_FAILED,
                f"{where(self._location)} has no object{below}; upload the recordings or correct {FIELD}.prefix",
            )
        return listed
