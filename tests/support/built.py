"""Programs that the harness of the test cluster builds from Go modules (minutes, once), and files that they bring."""

import os
from pathlib import Path

import pytest
from kubecluster import toolchain
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import Layout


def programs(*names: str) -> Path:
    """Return the folder that holds these programs and files. Skip the test where they cannot be built."""
    layout = Layout.default()
    if not all((layout.bin / name).exists() for name in names):
        if os.geteuid() != 0:
            pytest.skip(f"only root can build {', '.join(names)} of the test cluster")
        try:
            toolchain.build(layout)
        except MissingPrerequisite as error:
            pytest.skip(f"{', '.join(names)} cannot be built: {error}")
    return layout.bin
