"""An earlier version of the project: its chart, and its images, which are built from its commit."""

import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from kubecluster import cluster, images
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import Layout

from support.places import ROOT

COMMIT = "fcf318b"
"""The version before. Keys and defaults are those of now: only versions before 2026-11-25 had others."""
TAG = "before"


@contextmanager
def source() -> Iterator[Path]:
    """Give its files. Skip the test where git does not have the commit."""
    archive = subprocess.run(["git", "archive", COMMIT], cwd=ROOT, capture_output=True)
    if archive.returncode:
        pytest.skip(f"the upgrade WAS NOT TRIED: git has no commit {COMMIT}; fetch it with git fetch --unshallow")
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["tar", "-xC", folder], input=archive.stdout, check=True)
        yield Path(folder)


def images_of(folder: Path) -> list[images.Image]:
    """Return its images, which have a tag of their own."""
    return [replace(image, name=image.name.replace(":dev", f":{TAG}")) for image in images.project(folder)]


def prepare() -> None:
    """Build its images, which takes minutes once and seconds after that: layers are cached by their content."""
    layout = Layout.default()
    try:
        cluster.require(layout)
    except MissingPrerequisite as error:
        pytest.skip(f"the upgrade WAS NOT TRIED: {error}")
    with source() as folder:
        images.prepare(layout, images_of(folder))
