"""Upstream's own command line, DeepSpeech 0.9.3, in a Python 3.9 environment of its own."""

import subprocess
from pathlib import Path

import pytest
from kubecluster.pythons import installed_python

from support import environments
from support.places import CLIENTS


def transcribe(model: Path, clip: Path, folder: Path) -> str:
    """Return the output of `deepspeech --model M --audio A`. The wheel needs Python 3.9: without one the test is skipped, and says so."""
    done = subprocess.run(command(model, clip, folder), capture_output=True, text=True, check=True)
    return done.stdout.strip()


def command(model: Path, clip: Path, folder: Path) -> list[str]:
    """Return the command that transcribes a clip, of which a copy is written to `folder`. Skips as `transcribe` does."""
    programs = environment() / "bin"
    # by its Python, because the first line of the program names the folder that it was installed in
    return [
        str(programs / "python"),
        str(programs / "deepspeech"),
        "--model",
        str(model),
        "--audio",
        str(_wav(clip, folder)),
    ]


def environment() -> Path:
    """Return the environment with the command. Skip the test where there is no Python 3.9."""
    python = installed_python("3.9")
    if python is None:
        pytest.skip("no Python 3.9 on this machine: the stock deepspeech 0.9.3 command was not tried")
    return environments.environment("deepspeech", CLIENTS / "deepspeech.txt", python)


def _wav(clip: Path, folder: Path) -> Path:
    """16 kHz mono 16-bit: the only thing that the stock command reads without sox."""
    import soundfile
    from speechmodel_runtime import audio

    target = folder / f"{clip.stem}-16k.wav"
    soundfile.write(target, audio.load(clip), 16000, subtype="PCM_16")
    return target
