"""Fixtures that every kind of test may ask for."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

# no time limits, since machines are busy; and where nobody is there to look at a new find, the same examples every time
hypothesis.settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.load_profile("project")

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "e2e")]

from kube import Kubectl  # noqa: E402 - after the path is set
from kubecluster import cluster, toolchain  # noqa: E402
from kubecluster.errors import ClusterError  # noqa: E402
from kubecluster.layout import Layout  # noqa: E402
from spaces import install  # noqa: E402
from target import Target, foreign, own  # noqa: E402


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """A real cluster."""
    if found := foreign():
        yield found
        return
    with own() as brought_up:
        yield brought_up


@pytest.fixture(scope="session")
def operator(target: Target) -> Kubectl:
    """The operator, installed by helm as a user would; gives kubectl on its namespace."""
    return install(target)


LEFT_OUT = pytest.StashKey[tuple[int, str]]()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where this machine cannot carry a cluster, the tests that need one are left out, and the summary says so loudly."""
    why = _no_cluster()
    mine = [item for item in items if item.get_closest_marker("cluster") or HERE / "e2e" in item.path.parents]
    if why and mine:
        config.stash[LEFT_OUT] = (len(mine), why)
        config.hook.pytest_deselected(items=mine)
        left = set(mine)
        items[:] = [item for item in items if item not in left]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if config.stash.get(LEFT_OUT, None):
        count, why = config.stash[LEFT_OUT]
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        terminalreporter.line(f"{count} tests need a real cluster, and none can run here: {why}", red=True)


def _no_cluster() -> str | None:
    """Why there is no cluster to be had."""
    try:
        if foreign() is None:
            cluster.require(Layout.default())
            toolchain.require_go()
    except (ClusterError, RuntimeError) as error:
        return str(error)
    return None
