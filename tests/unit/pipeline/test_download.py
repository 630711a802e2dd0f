"""Downloads from a service that gives odd keys or damaged objects."""

import base64
import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import quote

import pytest
from botocore.exceptions import FlexibleChecksumError
from speechmodel_api.credentials import NEGATIVES
from speechmodel_api.schema import S3Location
from speechmodel_pipeline.s3.download import ATTEMPTS, download, list_objects
from speechmodel_pipeline.s3.objects import Bucket
from speechmodel_stagekit.errors import BadData

CONTENT = b"recorded"


class Service:
    """An S3 service with these keys. The first `damaged` answers have other bytes than were uploaded."""

    def __init__(self, keys: tuple[str, ...], damaged: int = 0) -> None:
        self.keys, self.damaged, self.reads = keys, damaged, 0

    def listing(self) -> bytes:
        entries = "".join(
            f'<Contents><Key>{quote(key)}</Key><Size>{len(CONTENT)}</Size><ETag>"e"</ETag></Contents>'
            for key in self.keys
        )
        return f"<ListBucketResult><EncodingType>url</EncodingType>{entries}</ListBucketResult>".encode()

    def content(self) -> bytes:
        self.reads += 1
        return CONTENT if self.reads > self.damaged else CONTENT.upper()


@contextmanager
def serving(service: Service) -> Iterator[Bucket]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = service.listing() if "list-type" in self.path else service.content()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("ETag", '"e"')
            if "list-type" not in self.path and self.headers["x-amz-checksum-mode"] == "ENABLED":
                checksum = base64.b64encode(hashlib.sha256(CONTENT).digest()).decode()
                self.send_header("x-amz-checksum-sha256", checksum)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name in the base class
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield Bucket.connect(S3Location(bucket="voices", endpoint=f"http://127.0.0.1:{server.server_port}"))
        server.shutdown()


@pytest.fixture(autouse=True)
def _credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "reader")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")


@pytest.mark.parametrize(
    ("keys", "problem"),
    [
        (("../secret",), r"s3://voices/../secret cannot be the path of a file; rename or remove the object"),
        (("a//b.wav",), "s3://voices/a//b.wav cannot be the path of a file"),
        (("./b.wav",), "cannot be the path of a file"),
        (("/etc/passwd",), "cannot be the path of a file"),
        (("a/" + "ñ" * 128 + ".wav",), "cannot be the path of a file"),
        (("a", "a/b.wav"), "s3://voices/a/b.wav is below a, which is an object and not a folder; rename one of them"),
    ],
)
def test_keys_that_are_no_paths_are_refused(keys: tuple[str, ...], problem: str) -> None:
    with serving(Service(keys)) as bucket, pytest.raises(BadData, match=problem) as raised:
        list_objects(bucket, "")
    assert raised.value.reason == "InvalidDataset"


def test_markers_of_folders_are_no_files(tmp_path: Path) -> None:
    with serving(Service(("v/", "v/original/", "v/original/niña 1.wav"))) as bucket:
        listed = list_objects(bucket, "v")
        assert [each.name for each in listed] == ["original/niña 1.wav"]
        assert download(bucket, listed, tmp_path / "0", lambda _: None) == 1
    assert (tmp_path / "0/original/niña 1.wav").read_bytes() == CONTENT


@pytest.mark.parametrize("character", ["\u2028", "\x85"])
def test_a_key_with_a_line_break_is_downloaded_once(character: str, tmp_path: Path) -> None:
    with serving(Service((f"a{character}b.wav",))) as bucket:
        listed = list_objects(bucket, "")
        assert [download(bucket, listed, tmp_path / "0", lambda _: None) for _ in range(2)] == [1, 0]


def test_an_object_that_arrives_damaged_is_read_again(tmp_path: Path) -> None:
    with serving(service := Service(("a.wav",), damaged=1)) as bucket:
        download(bucket, list_objects(bucket, ""), tmp_path / "0", lambda _: None)
    assert (service.reads, (tmp_path / "0/a.wav").read_bytes()) == (2, CONTENT)


def test_an_object_that_always_arrives_damaged_is_not_used(tmp_path: Path) -> None:
    with serving(service := Service(("a.wav",), damaged=100)) as bucket, pytest.raises(FlexibleChecksumError):
        download(bucket, list_objects(bucket, ""), tmp_path / "0", lambda _: None)
    assert service.reads == ATTEMPTS
    assert not (tmp_path / "0/a.wav").exists()


@pytest.mark.parametrize(
    ("env_prefix", "endpoint"), [("", "http://minio:9000"), (NEGATIVES, "https://s3.eu-west-1.amazonaws.com")]
)
def test_the_endpoint_of_the_environment_goes_with_its_keys(
    env_prefix: str, endpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://of-other-services:9")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://minio:9000")
    client = Bucket.connect(S3Location(bucket="radio", region="eu-west-1"), env_prefix).client
    assert client.meta.endpoint_url == endpoint
