"""Fixtures that every kind of test may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from kubecluster import cluster, toolchain
from kubecluster.errors import ClusterError
from kubecluster.layout import Layout
from support.kube import Kubectl
from support.spaces import install
from support.target import Target, foreign, own

# No deadlines, since machines are busy. In CI nobody looks at a new counterexample, so it tries the same examples every time.
hypothesis.settings.register_profile("project", deadline=None, derandomize="CI" in os.environ)
hypothesis.settings.register_profile("unit", hypothesis.settings.get_profile("project"), max_examples=20)
hypothesis.settings.load_profile("project")

TESTS = Path(__file__).parent
LEFT_OUT = pytest.StashKey[tuple[int, str]]()


@pytest.fixture(scope="session")
def tensorflow_device() -> None:
    """Set TensorFlow up as the trainer does. It takes its settings only once in a process, so every test that
    calls it needs this fixture.
    """
    from speechmodel_training.device import prepare_device

    prepare_device()


@pytest.fixture(scope="session")
def target() -> Iterator[Target]:
    """Give a real cluster: the one that the environment names, or one brought up for the tests."""
    if named := foreign():
        yield named
        return
    with own() as brought_up:
        yield brought_up


@pytest.fixture(scope="session")
def operator(target: Target) -> Kubectl:
    """Install the operator with helm, as a user would, and return kubectl on its namespace."""
    return install(target)


@pytest.hookimpl(tryfirst=True)  # before pytest-xdist reads the groups
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Give tests that share something costly to one process of pytest-xdist, and leave out the tests that need a
    cluster where none can run; the summary reports it in red.
    """
    for item in items:
        if TESTS / "e2e" in item.path.parents:
            item.add_marker(pytest.mark.cluster)
        if group := _group(item):
            item.add_marker(pytest.mark.xdist_group(group))
    mine = [item for item in items if item.get_closest_marker("cluster")]
    if mine and (why := _no_cluster()):
        config.stash[LEFT_OUT] = (len(mine), why)
        config.hook.pytest_deselected(items=mine)
        left_out = set(mine)
        items[:] = [item for item in items if item not in left_out]


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Tell the process that prints the summary what this one left out."""
    if hasattr(session.config, "workeroutput"):
        session.config.workeroutput["left_out"] = session.config.stash.get(LEFT_OUT, None)


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """Take what a process of pytest-xdist left out: every one collects the same tests."""
    if left_out := getattr(node, "workeroutput", {}).get("left_out"):
        node.config.stash[LEFT_OUT] = tuple(left_out)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Report the tests that were left out."""
    if left_out := config.stash.get(LEFT_OUT, None):
        count, why = left_out
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        terminalreporter.line(f"{count} tests need a real cluster, and none can run here: {why}", red=True)


def _group(item: pytest.Item) -> str | None:
    """Return the name of the tests that share a cluster, a trained model or a server with this one."""
    if item.get_closest_marker("cluster"):
        return "cluster"
    if TESTS / "integration" not in item.path.parents:
        return None
    return "cli" if item.path.parent.name == "cli" else item.path.stem


def _no_cluster() -> str | None:
    """Return the reason why no cluster can run here, or None."""
    try:
        if foreign() is None:
            cluster.require(Layout.default())
            toolchain.require_go()
    except (ClusterError, RuntimeError) as error:
        return str(error)
    return None
