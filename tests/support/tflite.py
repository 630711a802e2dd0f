"""deepspeech-tflite 0.9.3 and stt 1.4.0 under Python 3.9, the programs that load a .tflite file."""

import json
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from kubecluster.pythons import installed_python

from support.environments import environment
from support.places import CLIENTS


@dataclass(frozen=True)
class Heard:
    """The transcript of a clip."""

    text: str
    timesteps: list[int]
    confidence: float


def runtimes() -> Path:
    """Return the Python with the modules. Skip the test where there is no Python 3.9."""
    python = installed_python("3.9")
    if python is None:
        pytest.skip("a .tflite file WAS NOT TRIED, because this machine has no Python 3.9 (pyenv or PATH)")
    return environment("tflite", CLIENTS / "tflite.txt", python) / "bin" / "python"


def hear(python: Path, module: str, model: Path, clips: Sequence[Path]) -> list[Heard]:
    """Return what a module of that Python, `deepspeech` or `stt`, hears in clips of 16 kHz, 16 bits and one channel."""
    command = [str(each) for each in (python, CLIENTS / "hear_tflite.py", module, model, *clips)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return [Heard(**each) for each in json.loads(done.stdout)]
