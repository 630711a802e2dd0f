"""Folders to work in."""

from pathlib import Path

import pytest
from support.workplace import Workplace


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Where nothing ran yet."""
    return Workplace.make(tmp_path)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """A model that was trained and published by one call, and what the call said. Tests work on copies."""
    place = Workplace.make(tmp_path_factory.mktemp("finished"))
    done = place.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout


@pytest.fixture
def finished(first_run: tuple[Workplace, str], tmp_path: Path) -> Workplace:
    """A copy of the published model."""
    return first_run[0].copy(tmp_path)
