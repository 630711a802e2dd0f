"""Older versions of Python, which the programs that we are compared with need."""

import os
import shutil
import subprocess
from pathlib import Path


def installed_python(version: str) -> str | None:
    """Return a Python of `version`, such as 3.9, of pyenv or of PATH, or None.

    What pyenv puts on PATH fails unless that version is chosen.
    """
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    if pyenv := shutil.which("pyenv"):
        root = Path(subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip())
    if found := sorted(root.glob(f"versions/{version}.*/bin/python{version}")):
        return str(found[-1])
    on_path = shutil.which(f"python{version}")
    works = on_path and subprocess.run([on_path, "-V"], capture_output=True, check=False).returncode == 0
    return on_path if works else None
