"""Layouts for the tests: an empty one, and one with a network of its own."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubecluster import base, cluster, network, toolchain
from kubecluster.layout import Layout

STATE = Path("/var/lib/kubecluster-test")


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """Empty directories: no cluster."""
    return Layout(tmp_path.resolve() / "state", tmp_path.resolve() / "cache")


@pytest.fixture(scope="module")
def own_network() -> Iterator[Layout]:
    """A network namespace for one file's tests, so that a cluster that is up already is not disturbed.

    Gives a layout with a state directory of its own and the usual cache, in which all that must be downloaded is.
    """
    layout = Layout(STATE, Layout.default().cache)
    cluster.require(layout)
    toolchain.build(layout)
    base.ensure(layout)
    with network.apart():
        cluster.down(layout)  # what a killed run may have left
        yield layout
        cluster.reset(layout)
