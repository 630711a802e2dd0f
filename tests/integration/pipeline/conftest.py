"""Fixtures: the small model that the runtime knows by heart, its clips, and a real S3."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from .seaweed import Seaweed

BUCKET = "models"


@pytest.fixture(scope="session")
def deepspeech() -> Path:
    """tests/fixtures/deepspeech."""
    return Path(__file__).parents[2] / "fixtures" / "deepspeech"


@pytest.fixture(scope="session")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seaweed]:
    """SeaweedFS with the bucket `models`."""
    with Seaweed(tmp_path_factory.mktemp("seaweed"), BUCKET) as server:
        yield server
