"""A real S3 server for tests: the SeaweedFS of the `speechmodel` command, with a writer and a reader."""

from pathlib import Path

import boto3
from botocore.config import Config
from speechmodel_cli.local.seaweedfs import Identity, SeaweedFS
from types_boto3_s3 import S3Client

WRITER = Identity("writer", "writer-secret")
READER = Identity("reader", "reader-secret", ("Read", "List"))


class Seaweed(SeaweedFS):
    """SeaweedFS with the given buckets, and boto3 clients for it. Use it as a context manager."""

    def __init__(self, folder: Path, *buckets: str) -> None:
        super().__init__(folder, buckets=buckets, identities=[WRITER, READER])
        self._clients: dict[Identity, S3Client] = {}

    def client(self, identity: Identity = WRITER) -> S3Client:
        """Return a boto3 client that does not retry, always the same one: to make one takes as long as some requests."""
        if identity not in self._clients:
            self._clients[identity] = boto3.client(
                "s3",
                endpoint_url=self.endpoint,
                region_name="us-east-1",
                aws_access_key_id=identity.access_key,
                aws_secret_access_key=identity.secret_key,
                config=Config(s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}, connect_timeout=2),
            )
        return self._clients[identity]

    def keys(self, bucket: str) -> set[str]:
        """Return every key in a bucket."""
        pages = self.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {entry["Key"] for page in pages for entry in page.get("Contents", ())}
