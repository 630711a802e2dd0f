"""Fixtures that every kind of test may use."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import speechmodel_training  # noqa: F401 - sets how TensorFlow and NumPy compute, before a test imports them
from kubecluster import cluster, toolchain
from kubecluster.errors import ClusterError
from kubecluster.layout import Layout
from support.kube import Kubectl
from support.spaces import install
from support.target import Target, foreign, own
from xdist.scheduler import LoadScopeScheduling

# No deadlines, since machines are busy. In CI nobody looks at a new counterexample, so it tries the same, fewer examples every time.
CI = "CI" in os.environ
hypothesis.settings.register_profile("project", deadline=None, derandomize=CI, max_examples=40 if CI else 100)
hypothesis.settings.register_profile("unit", hypothesis.settings.get_profile("project"), max_examples=20)
hypothesis.settings.load_profile("project")

E2E = Path(__file__).parent / "e2e"
TOGETHER = {
    "a cluster": (
        "tests/e2e/test_an_upgrade",
        "tests/e2e/test_the_whole_way",
        "tests/e2e/test_interruptions",
        "tests/e2e/test_conflicts",
        "tests/e2e/test_bad_input",
        "tests/e2e/test_reasons",
        "tests/e2e/test_canary",
        "tests/e2e/test_workers",
        "tests/integration/crd/test_applied",
        "tests/integration/chart/test_install",
    ),
    "another cluster": ("tests/e2e/",),
    "clusters that come and go": ("tools/kubecluster/tests/",),
    "a training by Coqui": ("tests/unit/training/test_coqui_checkpoints",),
    "a training by two workers": ("tests/unit/training/test_workers",),
    "ten minutes of soak": ("tests/integration/operator/test_soak",),
}
"""Tests that share something costly, by the beginnings of their names. The first group that fits counts.

The first two groups take about as long as each other. With KUBECONFIG and E2E_CONTEXT, one process runs both."""
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


class SharedTogether(LoadScopeScheduling):  # type: ignore[misc]
    """Gives tests that share something costly to one process of pytest-xdist, and other tests to any process.

    The groups of pytest-xdist itself are without effect since pytest 9.
    """

    def _split_scope(self, nodeid: str) -> str:
        """Return the name of the tests that share a cluster, a trained model or a server with this one."""
        if group := _together(nodeid):
            return "a cluster" if group == "another cluster" and os.environ.get("E2E_CONTEXT") else group
        return nodeid.split("::")[0] if nodeid.startswith("tests/integration/") else nodeid


def _together(nodeid: str) -> str | None:
    return next((group for group, names in TOGETHER.items() if nodeid.startswith(names)), None)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling | None:
    """Divide the tests with `--dist loadscope` by what they share."""
    config.option.loadscopereorder = False  # their order is that of _place
    return SharedTogether(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest tests first, so that no process works alone at the end.

    Leave out the tests that need a cluster where none can run; the summary reports it in red.
    """
    for item in items:
        if E2E in item.path.parents:
            item.add_marker(pytest.mark.cluster)
    mine = [item for item in items if item.get_closest_marker("cluster")]
    if mine and (why := _no_cluster()):
        config.stash[LEFT_OUT] = (len(mine), why)
        config.hook.pytest_deselected(items=mine)
        left_out = set(mine)
        items[:] = [item for item in items if item not in left_out]
    items.sort(key=_place)


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
    """Report the seconds of docs/promises.md that were seen, and what was left out: tests, and what .ci/run could not do."""
    reports = [report for group in terminalreporter.stats.values() for report in group]
    seen = [text for report in reports for name, text in getattr(report, "user_properties", ()) if name == "promise"]
    if seen:
        terminalreporter.section("promises: seconds seen, of those promised")
        for text in sorted(set(seen)):
            terminalreporter.line(text)
    if not_done := os.environ.get("NOT_DONE"):
        terminalreporter.section("NOT DONE", sep="!", red=True, bold=True)
        terminalreporter.line(not_done, red=True)
    if left_out := config.stash.get(LEFT_OUT, None):
        count, why = left_out
        terminalreporter.section("LEFT OUT", sep="!", red=True, bold=True)
        terminalreporter.line(f"{count} tests need a real cluster, and none can run here: {why}", red=True)


def _place(item: pytest.Item) -> int:
    """Return where a test comes: the groups of TOGETHER, other integration tests, trainings, and then what is short."""
    if group := _together(item.nodeid):
        return list(TOGETHER).index(group)
    long = item.nodeid.startswith("tests/integration/") or item.get_closest_marker("training")
    return len(TOGETHER) + (0 if long else 1)


def _no_cluster() -> str | None:
    """Return the reason why no cluster can run here, or None."""
    try:
        if foreign() is None:
            cluster.require(Layout.default())
            toolchain.require_go()
    except (ClusterError, RuntimeError) as error:
        return str(error)
    return None
