"""A real S3 for tests: SeaweedFS on the loopback interface, with its own data folder, free ports and two users."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

HOST = "127.0.0.1"
GRPC = 10_000
"""SeaweedFS listens for gRPC at each port plus this."""
START_SECONDS = 60


@dataclass(frozen=True)
class Key:
    """An access key."""

    id: str
    secret: str

    @property
    def environment(self) -> dict[str, str]:
        """As the stages get it."""
        return {"AWS_ACCESS_KEY_ID": self.id, "AWS_SECRET_ACCESS_KEY": self.secret}


WRITER = Key("writer", "writer-secret")
READER = Key("reader", "reader-secret")


class Seaweed:
    """`weed mini` as a context manager; `endpoint` is its S3 address."""

    def __init__(self, folder: Path, *buckets: str) -> None:
        self._folder = folder
        self._buckets = buckets
        self._port, *self._others = _free_ports(5)
        self.endpoint = f"http://{HOST}:{self._port}"

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, exist_ok=True)
        (self._folder / "s3.json").write_text(
            json.dumps({"identities": [_identity(WRITER, "Admin"), _identity(READER, "Read", "List")]})
        )
        self._log = (self._folder / "weed.log").open("wb")
        self._process = subprocess.Popen(
            self._command(), stdout=self._log, stderr=subprocess.STDOUT, start_new_session=True
        )
        try:
            self._wait()
            for bucket in self._buckets:
                self.client().create_bucket(Bucket=bucket)
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End it; nothing happens when it is gone."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(10)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._log.close()

    def client(self, key: Key = WRITER) -> Any:
        """A plain boto3 client."""
        config = Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2)
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            region_name="us-east-1",
            aws_access_key_id=key.id,
            aws_secret_access_key=key.secret,
            config=config,
        )

    def keys(self, bucket: str) -> set[str]:
        """Every key in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}

    def _command(self) -> list[str]:
        master, volume, filer, admin = self._others
        weed = Path(sys.executable).with_name("weed")
        return [
            str(weed), "mini", f"-dir={self._folder}", f"-ip={HOST}", f"-ip.bind={HOST}", f"-s3.port={self._port}",
            f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", f"-admin.port={admin}", "-admin.ui=false",
            "-webdav=false", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.autoCreateBucket=false",
            f"-s3.config={self._folder / 's3.json'}", f"-s3.localSocket={self._folder / 's3.sock'}",
        ]  # fmt: skip

    def _wait(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while True:
            with suppress(BotoCoreError, ClientError):
                self.client().list_buckets()
                return
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"SeaweedFS did not start:\n{(self._folder / 'weed.log').read_text()[-3000:]}")
            time.sleep(0.2)


def _identity(key: Key, *actions: str) -> dict[str, Any]:
    return {"name": key.id, "credentials": [{"accessKey": key.id, "secretKey": key.secret}], "actions": list(actions)}


def _free_ports(count: int) -> list[int]:
    """Ports that are free now, and so are those 10,000 above."""
    found: list[int] = []
    offset = os.getpid() * 7 % 10_000
    for candidate in (20_000 + (offset + step) % 10_000 for step in range(10_000)):
        if _free(candidate) and _free(candidate + GRPC):
            found.append(candidate)
            if len(found) == count:
                return found
    raise RuntimeError("no free ports")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) != 0
