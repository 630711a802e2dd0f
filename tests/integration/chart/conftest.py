"""helm, from PATH or as the test cluster's harness builds it."""

import os
import shutil

import pytest
from kubecluster import toolchain
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import Layout
from support.helm_chart import Helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Without a cluster: for what helm says of the chart alone."""
    return Helm(shutil.which("helm") or built())


def built() -> str:
    """The helm that the harness builds (minutes, once)."""
    layout = Layout.default()
    if not (program := layout.bin / "helm").exists():
        if os.geteuid() != 0:
            pytest.skip("no helm in PATH, and only root can build the one of the test cluster")
        try:
            toolchain.build(layout)
        except MissingPrerequisite as error:
            pytest.skip(f"no helm in PATH, and none can be built: {error}")
    return str(program)
