"""The server's init container continues a download that was interrupted."""

import hashlib
from io import BytesIO
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from botocore.exceptions import ClientError
from botocore.response import StreamingBody
from speechmodel_pipeline.s3 import objects
from speechmodel_pipeline.s3.objects import Bucket

if TYPE_CHECKING:
    from types_boto3_s3 import S3Client

CONTENT = b"a model" * 1000


class Store:
    """S3 with one object, as far as ranges go."""

    def __init__(self) -> None:
        self.sent = 0

    def get_object(self, *, Bucket: str, Key: str, Range: str = "bytes=0-") -> dict[str, StreamingBody]:  # noqa: N803 - S3's names
        start = int(Range.removeprefix("bytes=").removesuffix("-"))
        if start >= len(CONTENT):
            raise ClientError({"Error": {"Code": "InvalidRange", "Message": "not satisfiable"}}, "GetObject")
        rest = CONTENT[start:]
        self.sent += len(rest)
        return {"Body": StreamingBody(BytesIO(rest), len(rest))}


@pytest.mark.parametrize(
    ("partial", "asked_for"),
    [
        (b"", len(CONTENT)),
        (CONTENT[:3000], len(CONTENT) - 3000),
        (CONTENT, 0),
        (CONTENT + b"more", len(CONTENT)),  # of an object that was longer: a range past the end is refused for ever
    ],
)
def test_only_what_a_partial_download_lacks_is_asked_for(partial: bytes, asked_for: int, tmp_path: Path) -> None:
    path, store = tmp_path / "model", Store()
    (tmp_path / ".model.partial").write_bytes(partial)
    digest = hashlib.sha256(CONTENT).hexdigest()
    bucket = Bucket(cast("S3Client", store), "models")
    assert bucket.fetch("key", path, digest, len(CONTENT))
    assert path.read_bytes() == CONTENT
    assert store.sent == asked_for


def test_an_object_that_should_be_small_is_not_read_to_its_end(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    body = BytesIO(CONTENT)
    client = SimpleNamespace(get_object=lambda **_: {"Body": body})
    monkeypatch.setattr(body, "close", lambda: None)
    monkeypatch.setattr(objects, "SMALL", 100)
    assert Bucket(cast("S3Client", client), "models").read("home/version.json") == CONTENT[:100]
    assert body.tell() == 101
    assert "s3://models/home/version.json has more than 100 bytes" in caplog.text
