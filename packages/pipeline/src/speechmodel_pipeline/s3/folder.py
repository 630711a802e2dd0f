"""A bucket of the spec as a folder of the workspace."""

import logging
from collections.abc import Callable
from functools import cached_property
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_stagekit.errors import TryAgain

from speechmodel_pipeline.s3.download import ListedObject, download, list_objects, listing_digest
from speechmodel_pipeline.s3.errors import storage_errors, where
from speechmodel_pipeline.s3.objects import Advance, Bucket

log = logging.getLogger(__name__)


class BucketFolder:
    """The objects below a prefix, as the bucket lists them when they are first asked for.

    `field` of the spec names the bucket, and `content` is the word for what is in it. Objects whose key below the prefix is
    not `wanted` are left out. `env_prefix` is the prefix of the variables with the credentials. Every method raises TryAgain
    (DownloadFailed) with the message of S3, and BadData with the reason `unusable` for an object that cannot be a file.
    """

    def __init__(
        self,
        location: S3Location,
        field: str,
        content: str,
        unusable: Reason,
        *,
        wanted: Callable[[str], bool] = lambda _: True,
        env_prefix: str = "",
    ) -> None:
        self._location = location
        self._field = field
        self._content = content
        self._unusable = unusable
        self._wanted = wanted
        self._env_prefix = env_prefix

    @cached_property
    def listed(self) -> tuple[ListedObject, ...]:
        """The objects, of which there is at least one."""
        with storage_errors(Reason.DOWNLOAD_FAILED, self._location, self._field):
            listed = list_objects(self._bucket, self._location.prefix, self._unusable, self._wanted)
        if not listed:
            below = f" below {self._location.prefix}/" if self._location.prefix else ""
            raise TryAgain(
                Reason.DOWNLOAD_FAILED,
                f"{where(self._location)} has no {self._content}{below}; upload the {self._content} or correct {self._field}.prefix",
            )
        return listed

    @cached_property
    def digest(self) -> str:
        """The sha256 over key, size and ETag of every object."""
        return listing_digest(self.listed)

    @property
    def size_bytes(self) -> int:
        """The size of all objects together."""
        return sum(each.size for each in self.listed)

    def download(self, folder: Path, advance: Advance) -> None:
        """Make `folder` hold exactly the objects. Files that are whole are kept, and `advance` counts their bytes too."""
        with storage_errors(Reason.DOWNLOAD_FAILED, self._location, self._field):
            fetched = download(self._bucket, self.listed, folder, advance)
        log.info("%d of %d objects downloaded from %s", fetched, len(self.listed), where(self._location))

    @cached_property
    def _bucket(self) -> Bucket:
        return Bucket.connect(self._location, self._env_prefix)
