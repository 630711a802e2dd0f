"""Objects with a sha256: sent, verified by reading them back, and fetched.

They are never whole in memory.
"""

import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from mimetypes import guess_type
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import boto3
import botocore.session
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError
from speechmodel_api.credentials import S3_KEYS
from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location
from speechmodel_stagekit.artefacts import file_digest
from speechmodel_stagekit.errors import TryAgain

from speechmodel_pipeline.s3.errors import error_code

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client
    from types_boto3_s3.type_defs import GetObjectRequestTypeDef, PutObjectRequestTypeDef

log = logging.getLogger(__name__)

Advance: TypeAlias = Callable[[int], None]
"""A callback with the number of bytes sent or read since the last call. Several threads call it."""

CHUNK = 1 << 20
"""Bytes read at once."""
TRANSFER = TransferConfig(multipart_threshold=16 << 20, multipart_chunksize=16 << 20, max_concurrency=4)
CONFIG = Config(
    connect_timeout=5,
    read_timeout=60,
    retries={"mode": "standard", "total_max_attempts": 4},
    # every request is signed over its sha256 and every object is read back, and older services
    # reject the newer checksums
    request_checksum_calculation="when_required",
    response_checksum_validation="when_required",
)
SMALL = 16 << 20
"""Largest number of bytes of an object that is read into memory. version.json has a part of a SpeechModel, which has 1.5 MB at most, and
figures. A longer object is damaged: its beginning has another digest or is not valid JSON.
"""
SHA256 = "sha256"
"""Name of the metadata entry with the digest."""
_NO_SUCH_KEY = frozenset({"NoSuchKey", "404", "NotFound"})
_HIDDEN = frozenset({"403", "AccessDenied"})
"""Codes of AWS for an absent key when the access key may not list."""
_RACED = frozenset({"PreconditionFailed", "412", "ConditionalRequestConflict", "409"})
"""Codes for a conditional write of an object that exists."""


def split_uri(uri: str) -> tuple[str, str]:
    """Return bucket and key of `s3://<bucket>/<key>`."""
    bucket, _, key = uri.removeprefix("s3://").partition("/")
    return bucket, key


@dataclass(frozen=True)
class Bucket:
    """A bucket.

    Its methods raise the errors of boto3 (see storage_errors), and TryAgain for an object with
    another digest.
    """

    client: "S3Client"
    name: str

    @classmethod
    def connect(cls, location: S3Location, env_prefix: str = "") -> "Bucket":
        """Return the bucket, with the credentials that boto3 finds. With `env_prefix`, AWS_ACCESS_KEY_ID,
        AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN are not used, which belong to another bucket, but the variables with
        this prefix before the same names.

        The endpoint is that of the spec. Without one it is that of AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL, unless there is
        an `env_prefix`, and otherwise that of AWS. Nothing is sent yet.
        """
        session = botocore.session.get_session()  # boto3's shared session caches credentials
        if env_prefix:
            session.set_config_variable("ignore_configured_endpoint_urls", True)
            session.get_component("credential_provider").remove("env")
        # without a value, boto3 looks further
        key_id, secret, token = (
            os.environ.get(f"{env_prefix}{name}") or None if env_prefix else None for name in S3_KEYS
        )
        # services other than AWS seldom have a host name per bucket
        style: Literal["path", "auto"] = "path" if location.endpoint else "auto"
        client = boto3.session.Session(botocore_session=session).client(
            "s3",
            aws_access_key_id=key_id,
            aws_secret_access_key=secret,
            aws_session_token=token,
            endpoint_url=location.endpoint,
            region_name=location.region,
            config=CONFIG.merge(Config(s3={"addressing_style": style})),
        )
        return cls(client, location.bucket)

    def uri(self, key: str) -> str:
        """Return `s3://<bucket>/<key>`."""
        return f"s3://{self.name}/{key}"

    def read(self, key: str) -> bytes:
        """Return the content of a small object, which was written by publish: at most SMALL bytes of it."""
        body = self.client.get_object(Bucket=self.name, Key=key)["Body"]
        try:
            content = body.read(SMALL + 1)
        finally:
            body.close()
        if len(content) > SMALL:
            log.warning("%s has more than %d bytes, and the rest is not read: it is damaged", self.uri(key), SMALL)
        return content[:SMALL]

    def read_if_there(self, key: str) -> bytes | None:
        """Return the content of a small object, or None when it is absent or hidden from an access
        key that may not list.
        """
        try:
            return self.read(key)
        except ClientError as error:
            if error_code(error) in _NO_SUCH_KEY | _HIDDEN:
                return None
            raise

    def ensure(self, key: str, path: Path, sha256: str, advance: Advance = lambda _: None) -> bool:
        """Send the file unless the object is whole, and read it back. Return True when it was sent.

        `advance` counts every byte twice: when it is sent (or found), and when it is read back.
        """
        size = path.stat().st_size
        present = self._claims_to_be(key, sha256, size)
        if present:
            advance(size)
            if self.digest(key, advance) == sha256:
                return False
        self.client.upload_file(
            str(path),
            self.name,
            key,
            ExtraArgs={
                "Metadata": {SHA256: sha256},
                "ContentType": guess_type(path.name)[0] or "application/octet-stream",
            },
            Config=TRANSFER,
            Callback=advance,
        )
        self.require(key, sha256, advance)
        return True

    def put_once(self, key: str, content: bytes) -> bool:
        """Write a small object unless it exists.

        Return False when it exists, even if it was written during the call.
        """
        return self._put(key, content, once=True)

    def put(self, key: str, content: bytes) -> None:
        """Write or replace a small object."""
        self._put(key, content)

    def require(self, key: str, sha256: str, advance: Advance = lambda _: None) -> None:
        """Read the object back. Raises TryAgain when it has another digest."""
        if (found := self.digest(key, advance)) != sha256:
            raise TryAgain(
                Reason.VERIFICATION_FAILED,
                f"{self.uri(key)} reads back with the sha256 {found}, not {sha256}; it is sent again",
            )

    def is_whole(self, key: str, sha256: str | None = None) -> bool:
        """Return True when the object reads back with `sha256`, or with the digest in its own
        metadata.
        """
        try:
            wanted = sha256 or self.client.head_object(Bucket=self.name, Key=key)["Metadata"].get(SHA256)
            return self.digest(key) == wanted
        except ClientError as error:
            if error_code(error) in _NO_SUCH_KEY | _HIDDEN:
                return False
            raise

    def digest(self, key: str, advance: Advance = lambda _: None) -> str:
        """Return the sha256 of the object as S3 gives it now."""
        digest = hashlib.sha256()
        for chunk in self._chunks(key, 0):
            digest.update(chunk)
            advance(len(chunk))
        return digest.hexdigest()

    def fetch(
        self, key: str, path: Path, sha256: str, size: int | None = None, damaged: Reason = Reason.DOWNLOAD_FAILED
    ) -> bool:
        """Fetch the object to `path`, which appears when it is complete. Return False when it was
        there already.

        With its `size` an interrupted download continues where it was, unless it has more bytes
        than the object. Raises TryAgain with the reason `damaged` when the object has another digest.
        """
        if path.is_file() and file_digest(path) == sha256:
            return False
        partial = path.with_name(f".{path.name}.partial")
        done = partial.stat().st_size if size is not None and partial.is_file() else 0
        if size is not None and done > size:
            done = 0  # of another object, since S3 rejects a range past the end
        with partial.open("ab" if done else "wb") as file:
            if done != size:
                for chunk in self._chunks(key, done):
                    file.write(chunk)
            file.flush()
            os.fsync(file.fileno())
        if (found := file_digest(partial)) != sha256:
            partial.unlink()
            raise TryAgain(
                damaged,
                f"{self.uri(key)} was downloaded with the sha256 {found}, not {sha256}; it is fetched again",
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
        return head["Metadata"].get(SHA256) == sha256 and head["ContentLength"] == size

    def _put(self, key: str, content: bytes, *, once: bool = False) -> bool:
        sha256 = hashlib.sha256(content).hexdigest()
        request: PutObjectRequestTypeDef = {
            "Bucket": self.name,
            "Key": key,
            "Body": content,
            "ContentType": "application/json",
            "Metadata": {SHA256: sha256},
        }
        if once:
            request["IfNoneMatch"] = "*"
        try:
            self.client.put_object(**request)
        except ClientError as error:
            if once and error_code(error) in _RACED:
                return False
            if once and error_code(error) == "NotImplemented":  # a service without conditional writes
                return self._put(key, content)
            raise
        self.require(key, sha256)
        return True

    def _chunks(self, key: str, start: int) -> Iterator[bytes]:
        request: GetObjectRequestTypeDef = {"Bucket": self.name, "Key": key}
        if start:
            request["Range"] = f"bytes={start}-"
        body = self.client.get_object(**request)["Body"]
        try:
            yield from body.iter_chunks(CHUNK)
        finally:
            body.close()
