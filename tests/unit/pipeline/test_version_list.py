"""The list of versions and whose takes are in them, when some of their manifests cannot be read."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_pipeline.s3 import version_list
from speechmodel_pipeline.s3.objects import Bucket

NEWEST = datetime(2026, 1, 3, tzinfo=UTC)


def bucket_of(contents: dict[str, bytes | None]) -> Bucket:
    """Return a bucket with these objects, each a day older than the one before. None is hidden."""
    listed = [{"Key": key, "LastModified": NEWEST - timedelta(days=age)} for age, key in enumerate(contents)]
    pages = SimpleNamespace(paginate=lambda **_: [{"Contents": listed}])
    client = SimpleNamespace(get_paginator=lambda _: pages)
    return cast(
        Bucket,
        SimpleNamespace(client=client, name="models", read_if_there=contents.get, uri=lambda key: f"s3://models/{key}"),
    )


@pytest.mark.parametrize("content", [None, b"", b"{}", b"\xff"])
def test_a_version_whose_manifest_cannot_be_read_is_listed_without_its_speakers(
    content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    bucket = bucket_of({"home/espejo/uid/3f9a/0123abcd/version.json": content})
    (record,) = version_list._listed(bucket, "home/espejo/uid/").versions
    assert (record.version, record.published_at, record.take_speakers) == ("0123abcd", NEWEST, None)
    assert "s3://models/home/espejo/uid/3f9a/0123abcd/version.json cannot be read" in caplog.text


def test_objects_that_are_no_versions_are_not_listed() -> None:
    bucket = bucket_of({"home/espejo/uid/notes/version.json": b"{}", "home/espejo/uid/version.json": None})
    assert version_list._listed(bucket, "home/espejo/uid/").versions == ()
