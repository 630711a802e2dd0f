"""Programs that use the server, in an environment that is made once from tests/clients/requirements.txt."""

import os
import subprocess
import sys
from pathlib import Path

from support import environments
from support.places import CLIENTS

REQUIREMENTS = CLIENTS / "requirements.txt"


def run_client(program: str, folder: Path) -> str:
    """Run a Python program in `folder` and return its output. It gets no settings of the user who runs the tests."""
    programs = environment() / "bin"
    done = subprocess.run(
        [str(programs / "python"), "-c", program],
        cwd=folder,
        env={
            "PATH": f"{programs}:{os.environ['PATH']}",
            "HOME": str(folder),
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",  # otherwise it fetches a list of prices
        },
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def environment() -> Path:
    """Return the environment with the clients. Skip the test when the package index cannot be reached."""
    return environments.environment("clients", REQUIREMENTS, sys.executable, _link_ffmpeg)


def _link_ffmpeg(folder: Path) -> None:
    (ffmpeg,) = folder.glob("lib/*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*")
    (folder / "bin" / "ffmpeg").symlink_to(os.path.relpath(ffmpeg, folder / "bin"))
