"""The operator, installed by helm as a user would, and a namespace with a bucket for each test."""

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest
from support import recordings
from support.kube import Kubectl
from support.places import ROOT
from support.promises import promises
from support.spaces import Space, make_space, remove_space
from support.target import Target


@pytest.fixture
def space(target: Target, operator: Kubectl, request: pytest.FixtureRequest) -> Iterator[Space]:
    """A namespace for one test."""
    made = make_space(target, "e2e")
    yield made
    if request.node.stash.get(FAILED, False):
        return  # kept for inspection; the cluster goes with the session
    remove_space(made)


@pytest.fixture(scope="session")
def small_dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few clips of the example: enough to train something, not to understand anybody."""
    return recordings.small(tmp_path_factory.mktemp("small"))


@pytest.fixture
def kept_in(request: pytest.FixtureRequest) -> Callable[[float], None]:
    """Report the seconds in which a test saw its promise of docs/promises.md kept; the summary of the run prints them."""
    test = f"{request.path.relative_to(ROOT)}::{request.node.originalname}"
    (promise,) = (row for row in promises() if row.test == test and row.promised.endswith(" s"))

    def report(seconds: float) -> None:
        request.node.user_properties.append(("promise", f"{seconds:5.1f} s of {promise.promised}: {promise.event}"))

    return report


FAILED = pytest.StashKey[bool]()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.when == "call" and report.failed:
        item.stash[FAILED] = True
    return report
