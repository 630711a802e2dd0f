"""Make the image python:3.7-slim-bookworm from this machine's Python 3.7, because no registry can be reached."""

from pathlib import Path

from kubecluster import base
from kubecluster.buildah import build_image
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import TOOL, Layout
from kubecluster.pythons import installed_python
from kubecluster.shell import run

VERSION = "3.7"
IMAGE = f"docker.io/library/python:{VERSION}-slim-bookworm"
SUITE = "bookworm"
DOCKERFILE = TOOL / "images" / "python-3.7.Dockerfile"
IGNORED = TOOL / "images" / "python-3.7.dockerignore"


def prefix() -> Path:
    """Return the folder of a Python 3.7 that works wherever it is copied to.

    Raises MissingPrerequisite when there is none. One below /usr, such as Debian's, shares its folder with other programs.
    """
    python = installed_python(VERSION)
    if python is None:
        raise MissingPrerequisite(
            f"{IMAGE} cannot be made: this machine has no Python {VERSION}; pyenv install {VERSION}"
        )
    found = Path(run(python, "-c", "import sys; print(sys.base_prefix)").stdout.strip())
    if found in {Path("/usr"), Path("/usr/local")}:
        raise MissingPrerequisite(
            f"{IMAGE} cannot be made: {python} has no folder of its own, but is in {found}; pyenv install {VERSION}"
        )
    return found


def ensure(layout: Layout) -> None:
    """Make the image if its layers are not in buildah's cache, which knows them by the content of the Python."""
    source = prefix()
    base.ensure(layout, suite=SUITE)
    build_image(layout, IMAGE, DOCKERFILE, source, f"--ignorefile={IGNORED}", f"--build-arg=PREFIX={source}")
