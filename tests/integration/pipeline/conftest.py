"""Fixtures: the small model that the runtime knows by heart, its clips, and a real S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from support.places import FIXTURES
from support.seaweed import Seaweed

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
