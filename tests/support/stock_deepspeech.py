"""Upstream's own command line, DeepSpeech 0.9.3, in a Python 3.9 environment of its own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.pythons import installed_python

REQUIREMENTS = ("deepspeech==0.9.3", "numpy==1.26.4")
"""numpy 2 breaks the 0.9.3 binding."""


def transcribe(model: Path, clip: Path, folder: Path) -> str:
    """Return the output of `deepspeech --model M --audio A`. The wheel needs Python 3.9: without one the test is skipped, and says so."""
    done = subprocess.run(command(model, clip, folder), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def command(model: Path, clip: Path, folder: Path) -> list[str]:
    """Return the command that transcribes a clip, of which a copy is written to `folder`. Skips as `transcribe` does."""
    program = _environment() / "bin" / "deepspeech"
    return [str(program), "--model", str(model), "--audio", str(_wav(clip, folder))]


def _environment() -> Path:
    target = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "speechmodel" / "deepspeech-0.9.3"
    if (target / "bin" / "deepspeech").exists():
        return target
    python = installed_python("3.9")
    if python is None:
        pytest.skip("no Python 3.9 on this machine: the stock deepspeech 0.9.3 command was not tried")
    shutil.rmtree(target, ignore_errors=True)
    subprocess.run([python, "-m", "venv", str(target)], check=True)
    uv = Path(sys.prefix) / "bin" / "uv"
    subprocess.run([str(uv), "pip", "install", "-q", "--python", str(target), *REQUIREMENTS], check=True)
    return target


def _wav(clip: Path, folder: Path) -> Path:
    """16 kHz mono 16-bit: the only thing that the stock command reads without sox."""
    import soundfile
    from speechmodel_runtime import audio

    target = folder / f"{clip.stem}-16k.wav"
    soundfile.write(target, audio.load(clip), 16000, subtype="PCM_16")
    return target
