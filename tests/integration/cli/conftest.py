"""Folders to work in."""

from pathlib import Path

import pytest
from support.workplace import Workplace


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    """Return a workplace where nothing ran yet."""
    return Workplace.make(tmp_path)


@pytest.fixture(scope="session")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Workplace, str]:
    """Return a model that one call trained and published, and the output of that call. Tests work on copies."""
    place = Workplace.make(tmp_path_factory.mktemp("finished"))
    done = place.run()
    assert done.returncode == 0, done.stdout + done.stderr
    return place, done.stdout


@pytest.fixture
def finished(first_run: tuple[Workplace, str], tmp_path: Path) -> Workplace:
    """Return a copy of the published model."""
    return first_run[0].copy(tmp_path)
