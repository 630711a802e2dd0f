"""Fixtures: the small model that the runtime knows by heart, its clips, and a real S3."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.places import FIXTURES
from support.seaweed import READER, Seaweed

BUCKET = "models"


@pytest.fixture(scope="session")
def deepspeech() -> Path:
    """Return the folder tests/fixtures/deepspeech."""
    return FIXTURES


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """SeaweedFS with the bucket `models`."""
    with Seaweed(tmp_path_factory.mktemp("seaweed"), BUCKET) as server:
        yield server


@pytest.fixture
def as_the_reader(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the environment have the keys of a user who may list and read, and no others."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name, value in READER.environment.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def prefix(s3: Seaweed, request: pytest.FixtureRequest) -> Iterator[str]:
    """A prefix of the test's own. Its objects are removed afterwards."""
    name = f"sources/{request.node.originalname[:60]}"
    yield name
    for key in s3.keys(BUCKET):
        if key.startswith(f"{name}/"):
            s3.client().delete_object(Bucket=BUCKET, Key=key)
