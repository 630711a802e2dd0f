"""helm, from PATH or as the test cluster's harness builds it."""

import shutil

import pytest
from support import built
from support.helm_chart import Helm


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Without a cluster: for what helm says of the chart alone."""
    return Helm(shutil.which("helm") or str(built.programs("helm") / "helm"))
