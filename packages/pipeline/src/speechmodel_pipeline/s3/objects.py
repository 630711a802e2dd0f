"""Objects with a sha256: sent, found again, read back and fetched, never held in memory whole."""

import hashlib
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import boto3
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from speechmodel_api.spec import S3Location
from speechmodel_stagekit.artefacts import file_digest
from speechmodel_stagekit.errors import TryAgain

from speechmodel_pipeline.s3.errors import error_code

Client: TypeAlias = Any
"""boto3 makes its clients' types at run time."""
Advance: TypeAlias = Callable[[int], None]
"""Called with the bytes that were sent or read since the last call, from several threads."""

CHUNK = 1 << 20
TRANSFER = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)
CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 4},
    # every request is signed over its sha256, and what counts is read back: the newer checksums would only keep older services out
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
SHA256 = "sha256"
"""Name of the objects' metadata entry."""
_NO_SUCH_KEY = frozenset({"NoSuchKey", "404", "NotFound"})
_HIDDEN = frozenset({"403", "AccessDenied"})
"""What AWS answers for an absent key to those who may not list."""
_RACED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})


def split_uri(uri: str) -> tuple[str, str]:
    """Bucket and key of `s3://<bucket>/<key>`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@dataclass(frozen=True)
class Bucket:
    """A bucket; its methods raise what boto3 raises (see storage_errors) and TryAgain for content that is not what it should be."""

    client: Client
    name: str

    @classmethod
    def connect(cls, location: S3Location) -> "Bucket":
        """With the credentials that boto3 finds, first of all AWS_* in the environment. Nothing is sent yet."""
        style = "path" if location.endpoint else "auto"  # own services seldom have a name per bucket
        client = boto3.session.Session().client(  # boto3's shared session would remember credentials
            "s3",
            endpoint_url=location.endpoint,
            region_name=location.region,
            config=CONFIG.merge(Config(s3={"addressing_style": style})),
        )
        return cls(client, location.bucket)

    def uri(self, key: str) -> str:
        """`s3://<bucket>/<key>`."""
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> bytes:
        """A small object."""
        raw: bytes = self.client.get_object(Bucket=self.name, Key=key)["Body"].read()
        return raw

    def read_if_there(self, key: str) -> bytes | None:
        """A small object; None when there is none, or S3 hides from those who may not list whether there is one."""
        try:
            return self.read(key)
        except ClientError as error:
            if error_code(error) in _NO_SUCH_KEY | _HIDDEN:
                return None
            raise

    def ensure(self, key: str, path: Path, sha256: str, advance: Advance = lambda _: None) -> bool:
        """Send the file unless the object is there already; then read it back. True when it was sent.

        `advance` hears of every byte twice: sent (or found), and read back.
        """
        size = path.stat().st_size
        present = self._claims_to_be(key, sha256, size)
        if present:
            advance(size)
            if self.digest(key, advance) == sha256:
                return False
        self.client.upload_file(
            str(path), self.name, key, ExtraArgs={"Metadata": {SHA256: sha256}}, Config=TRANSFER, Callback=advance
        )
        self.require(key, sha256, advance)
        return True

    def put_once(self, key: str, content: bytes) -> bool:
        """Write a small object unless there is one; False when there is, also when it came in between."""
        return self._put(key, content, IfNoneMatch="*")

    def put(self, key: str, content: bytes) -> None:
        """Write a small object, over whatever is there."""
        self._put(key, content)

    def require(self, key: str, sha256: str, advance: Advance = lambda _: None) -> None:
        """Read the object back; TryAgain when it is not what it should be."""
        if (found := self.digest(key, advance)) != sha256:
            raise TryAgain(
                "VerificationFailed",
                f"{self.uri(key)} reads back with the sha256 {found}, not {sha256}; it is sent again",
            )

    def is_whole(self, key: str, sha256: str | None = None) -> bool:
        """Whether the object is there and reads back with `sha256`, or with what its own metadata says."""
        try:
            wanted = sha256 or self.client.head_object(Bucket=self.name, Key=key)["Metadata"].get(SHA256)
            return self.digest(key) == wanted
        except ClientError as error:
            if error_code(error) in _NO_SUCH_KEY | _HIDDEN:
                return False
            raise

    def digest(self, key: str, advance: Advance = lambda _: None) -> str:
        """sha256 of the object as S3 gives it now."""
        digest = hashlib.sha256()
        for chunk in self._chunks(key, 0):
            digest.update(chunk)
            advance(len(chunk))
        return digest.hexdigest()

    def fetch(self, key: str, path: Path, sha256: str, size: int | None = None) -> bool:
        """The object as the file `path`, which appears when it is complete. True when it was not there yet.

        With its `size` an interrupted download goes on where it was, unless it has more bytes than the object. Raises TryAgain when
        what came is not what it should be.
        """
        if path.is_file() and file_digest(path) == sha256:
            return False
        partial = path.with_name(f".{path.name}.partial")
        done = partial.stat().st_size if size is not None and partial.is_file() else 0
        if size is not None and done > size:
            done = 0  # another object's; S3 refuses a range past the end
        with partial.open("ab" if done else "wb") as file:
            if done != size:
                for chunk in self._chunks(key, done):
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if (found := file_digest(partial)) != sha256:
            partial.unlink()
            raise TryAgain(
                "DownloadFailed", f"{self.uri(key)} came with the sha256 {found}, not {sha256}; it is fetched again"
            )
        partial.replace(path)
        return True

    def _claims_to_be(self, key: str, sha256: str, size: int) -> bool:
        try:
            head = self.client.head_object(Bucket=self.name, Key=key)
        except ClientError as error:
            if error_code(error) in _NO_SUCH_KEY | _HIDDEN:
                return False
            raise
        return bool(head["Metadata"].get(SHA256) == sha256 and head["ContentLength"] == size)

    def _put(self, key: str, content: bytes, **condition: str) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        try:
            self.client.put_object(
                Bucket=self.name,
                Key=key,
                Body=content,
                ContentType="application/json",
                Metadata={SHA256: sha256},
                **condition,
            )
        except ClientError as error:
            if condition and error_code(error) in _RACED:
                return False
            if condition and error_code(error) == "NotImplemented":  # a service that has no conditional writes
                return self._put(key, content)
            raise
        self.require(key, sha256)
        return True

    def _chunks(self, key: str, start: int) -> Iterator[bytes]:
        byte_range = {"Range": f"bytes={start}-"} if start else {}
        body = self.client.get_object(Bucket=self.name, Key=key, **byte_range)["Body"]
        try:
            yield from body.iter_chunks(CHUNK)
        finally:
            body.close()
