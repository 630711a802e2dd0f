"""Programs that use the server, in an environment that is made once from tests/clients/requirements.txt."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from support.places import ROOT

REQUIREMENTS = ROOT / "tests" / "clients" / "requirements.txt"
UNREACHABLE = ("error sending request", "network timeout")
"""Parts of the messages of uv when the package index cannot be reached."""


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
    """Return the environment with the clients. Skip the test when the package index cannot be reached.

    It is in the user's cache under the hash of the requirements, of this module and of the version of Python. It is
    made in a folder beside that and renamed, so that a folder with the name is complete.
    """
    recipe = REQUIREMENTS.read_bytes() + Path(__file__).read_bytes() + sys.version.encode()
    wanted = hashlib.sha256(recipe).hexdigest()[:16]
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "speechmodel"
    target = cache / f"clients-{wanted}"
    if not (target / "bin" / "python").exists():  # false too when it links to a Python that was removed
        cache.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=cache, prefix="clients-new-", ignore_cleanup_errors=True) as new:
            made = _make(Path(new) / "environment")
            shutil.rmtree(target, ignore_errors=True)
            made.rename(target)
    return target


def _make(folder: Path) -> Path:
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder], check=True)
    install = ("pip", "sync", "-q", "--require-hashes", "--python", folder, REQUIREMENTS)
    done = subprocess.run([uv, *install], stderr=subprocess.PIPE, text=True, check=False)
    if any(part in done.stderr for part in UNREACHABLE):
        pytest.skip(f"the clients of the server were not tried, the package index cannot be reached: {done.stderr}")
    assert done.returncode == 0, done.stderr
    (ffmpeg,) = folder.glob("lib/*/site-packages/imageio_ffmpeg/binaries/ffmpeg-*")
    (folder / "bin" / "ffmpeg").symlink_to(os.path.relpath(ffmpeg, folder / "bin"))
    return folder
