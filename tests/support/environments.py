"""Environments of Python and other folders that tests make once, in the user's cache."""

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from filelock import FileLock

UNREACHABLE = ("error sending request", "network timeout")
"""Parts of the messages of uv when the package index cannot be reached."""


def environment(name: str, requirements: Path, python: str, finish: Callable[[Path], None] = lambda _: None) -> Path:
    """Return an environment of `python` with the locked `requirements`, completed by `finish`.

    It is in the user's cache under the hash of the requirements, of the modules that make it and of the version of
    Python. Skip the test when the package index cannot be reached.
    """
    version = subprocess.run([python, "-VV"], check=True, capture_output=True).stdout
    recipe = [requirements.read_bytes(), Path(__file__).read_bytes(), version, finish.__code__.co_code]

    def make(folder: Path) -> None:
        finish(_make(folder, name, requirements, python))

    # false too when it links to a Python that was removed
    return cached(name, b"".join(recipe), make, whole=lambda folder: (folder / "bin" / "python").exists())


def cached(
    name: str, recipe: bytes, make: Callable[[Path], None], *, whole: Callable[[Path], bool] = Path.exists
) -> Path:
    """Return a folder in the user's cache, under the hash of its recipe. It is made first if it is not `whole`.

    It is made beside its place and renamed, so that a folder with the name is complete.
    """
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "speechmodel"
    cache.mkdir(parents=True, exist_ok=True)
    target = cache / f"{name}-{hashlib.sha256(recipe).hexdigest()[:16]}"
    with FileLock(cache / f"{name}.lock"):
        if not whole(target):
            with tempfile.TemporaryDirectory(dir=cache, prefix=f"{name}-new-", ignore_cleanup_errors=True) as new:
                made = Path(new) / name
                make(made)
                shutil.rmtree(target, ignore_errors=True)
                made.rename(target)
    return target


def _make(folder: Path, name: str, requirements: Path, python: str) -> Path:
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run([uv, "venv", "-q", "--python", python, folder], check=True)
    install = ("pip", "sync", "-q", "--require-hashes", "--python", folder, requirements)
    done = subprocess.run([uv, *install], stderr=subprocess.PIPE, text=True, check=False)
    if any(part in done.stderr for part in UNREACHABLE):
        pytest.skip(f"{name} was not tried, the package index cannot be reached: {done.stderr}")
    assert done.returncode == 0, done.stderr
    return folder
