"""Recordings in the bucket of a dataset."""

import errno
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import cached_property
from pathlib import PurePosixPath
from secrets import token_hex
from typing import TYPE_CHECKING, Literal

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from speechmodel_api.schema import S3Location

from speechmodel_inference.sounds import CLAIMED, SoundStore, is_old

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import ObjectTypeDef

AT_ONCE = 8
"""Documents that are read at once; boto3 keeps ten connections."""
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})
_EXISTS = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
"""Codes for a conditional write of an object that exists, or deletion of one that was replaced."""


class BucketStore(SoundStore):
    """Recordings below the prefix of a dataset in a bucket, with the credentials that boto3 finds."""

    def __init__(self, location: S3Location) -> None:
        self._location, self._prefix = location, f"{location.prefix}/" if location.prefix else ""
        self._known: dict[str, bytes] = {}
        """Documents that were read before. A document never changes."""

    def add(self, name: str, wav: bytes, document: str) -> None:
        """Keep a recording. The document is written only if there is none, or none but this one."""
        with _os_errors():
            self._put(f"{name}.wav", wav, "audio/wav")
            try:
                self._put(f"{name}.json", document.encode(), "application/json", once=True)
            except (ClientError, BotoCoreError):
                with suppress(ClientError, BotoCoreError):
                    self._delete(f"{name}.json")  # it may be there if no answer came
                    self._delete(f"{name}.wav")
                raise

    def names(self, pattern: str) -> list[str]:
        """Return the names that match."""
        return list(self._listed(pattern, ".json"))

    def sizes(self, pattern: str) -> dict[str, int]:
        """Return the bytes of recordings."""
        return {name: entry["Size"] for name, entry in self._listed(pattern, ".wav").items()}

    def count_after(self, pattern: str, time: datetime) -> int:
        """Return the number of recordings that were added after a time."""
        return sum(entry["LastModified"] > time for entry in self._listed(pattern, ".json").values())

    def document(self, name: str) -> bytes | None:
        """Return the document of a recording."""
        return self._read(f"{name}.json")

    def documents(self, names: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """Yield names and documents. Only those that this server has not seen are read."""
        new = [name for name in names if name not in self._known]
        with ThreadPoolExecutor(AT_ONCE) as threads:
            for name, document in zip(new, threads.map(self.document, new), strict=True):
                if document is not None:
                    self._known[name] = document
        yield from ((name, self._known[name]) for name in names if name in self._known)

    def sound(self, name: str) -> bytes | None:
        """Return a recording as a wav file."""
        return self._read(f"{name}.wav")

    def claim(self, name: str) -> bool:
        """Reserve a recording: write a mark, which one caller alone can do."""
        with _os_errors():
            try:
                self._put(name + CLAIMED, token_hex(8).encode(), "text/plain", once=True)
            except FileExistsError:
                return False
            if self._exists(f"{name}.json"):
                return True
            self._delete(name + CLAIMED)
            return False

    def release(self, name: str) -> None:
        """End a claim."""
        with _os_errors():
            self._delete(name + CLAIMED)

    def release_old(self, pattern: str) -> None:
        """End old claims."""
        for name, mark in self._listed(pattern, CLAIMED).items():
            if is_old(mark["LastModified"].timestamp()):
                with _os_errors():
                    self._delete_unchanged(name + CLAIMED, mark["ETag"])

    def remove(self, name: str) -> bool:
        """Delete a recording. Its sound goes last: sizes() names what a server that ended in between has left."""
        with _os_errors():
            found = self._exists(f"{name}.json")
            for ending in (".json", CLAIMED, ".wav"):
                self._delete(name + ending)
        self._known.pop(name, None)
        return found

    def remove_folder(self, name: str) -> None:
        """Delete everything in a folder."""
        for recording in {**self._listed(f"{name}/*", ".json"), **self._listed(f"{name}/*", ".wav")}:
            self.remove(recording)

    def _listed(self, pattern: str, ending: str) -> dict[str, "ObjectTypeDef"]:
        """Return the entries of the objects that match, by their names without the ending, in their order."""
        below = self._prefix + pattern.partition("*")[0]
        with _os_errors():
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._location.bucket, Prefix=below)
            found = {
                entry["Key"].removeprefix(self._prefix): entry for page in pages for entry in page.get("Contents", ())
            }
        return {
            name.removesuffix(ending): found[name]
            for name in sorted(found)
            if name.endswith(ending) and PurePosixPath(name.removesuffix(ending)).match(pattern)
        }

    def _read(self, name: str) -> bytes | None:
        with _os_errors():
            try:
                return self._client.get_object(Bucket=self._location.bucket, Key=self._prefix + name)["Body"].read()
            except ClientError as error:
                if _code(error) in _GONE:
                    return None
                raise

    def _exists(self, name: str) -> bool:
        try:
            self._client.head_object(Bucket=self._location.bucket, Key=self._prefix + name)
        except ClientError as error:
            if _code(error) in _GONE:
                return False
            raise
        return True

    def _delete(self, name: str) -> None:
        self._client.delete_object(Bucket=self._location.bucket, Key=self._prefix + name)

    def _delete_unchanged(self, name: str, etag: str) -> None:
        """Delete an object unless somebody else has replaced it."""
        try:
            self._client.delete_object(Bucket=self._location.bucket, Key=self._prefix + name, IfMatch=etag)
        except ClientError as error:
            if _code(error) == "NotImplemented":
                self._delete(name)  # a service without conditional deletion
            elif _code(error) not in _GONE | _EXISTS:
                raise

    def _put(self, name: str, content: bytes, kind: str, *, once: bool = False) -> None:
        bucket, key = self._location.bucket, self._prefix + name
        if not once:
            self._client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind)
            return
        try:
            self._client.put_object(Bucket=bucket, Key=key, Body=content, ContentType=kind, IfNoneMatch="*")
        except ClientError as error:
            if _code(error) in _EXISTS:
                if self._read(name) == content:
                    return  # boto3 has repeated a write whose answer was lost
                raise FileExistsError(errno.EEXIST, f"{name} exists") from error
            if _code(error) != "NotImplemented":
                raise
            self._put(name, content, kind)  # a service without conditional writes

    @cached_property
    def _client(self) -> "S3Client":
        # services other than AWS seldom have a host name per bucket
        style: Literal["path", "auto"] = "path" if self._location.endpoint else "auto"
        return boto3.session.Session().client(
            "s3",
            endpoint_url=self._location.endpoint,
            region_name=self._location.region,
            config=Config(
                connect_timeout=5,
                read_timeout=20,
                retries={"mode": "standard", "total_max_attempts": 3},
                # older services reject the newer checksums
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
                s3={"addressing_style": style},
            ),
        )


def _code(error: ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))


@contextmanager
def _os_errors() -> Iterator[None]:
    """Turn the errors of boto3 into OSError with the message of S3."""
    try:
        yield
    except (ClientError, BotoCoreError) as error:
        raise OSError(errno.EIO, str(error)) from error
