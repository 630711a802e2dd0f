"""coqui-stt-training 1.4.0, the successor of deepspeech_training, under Python 3.7."""

import csv
import os
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.environments import environment
from support.places import ROOT

_LOSS = re.compile(r"Finished (training|validating) epoch \d+(?: on \S+)? - loss: ([\d.]+)")


def coqui() -> Path:
    """Return the Python with the trainer. Skip the test where there is no Python 3.7."""
    python = _python37()
    if python is None:
        pytest.skip("coqui-stt-training 1.4.0 WAS NOT TRIED, because this machine has no Python 3.7 (pyenv or PATH)")
    return environment("coqui", ROOT / "images" / "requirements" / "coqui.txt", python) / "bin" / "python"


def _python37() -> str | None:
    """Return a Python 3.7 of pyenv, or of PATH. What pyenv puts on PATH fails unless that version is chosen."""
    pyenv = shutil.which("pyenv")
    if pyenv:
        root = subprocess.run([pyenv, "root"], capture_output=True, text=True, check=True).stdout.strip()
        if found := sorted(Path(root).glob("versions/3.7.*/bin/python3.7")):
            return str(found[-1])
    found_on_path = shutil.which("python3.7")
    works = found_on_path and subprocess.run([found_on_path, "-V"], capture_output=True, check=False).returncode == 0
    return found_on_path if works else None


def write_table(path: Path, clips: Path, rows: Sequence[tuple[str, str]]) -> Path:
    """Write a CSV of `rows` (wav_filename in `clips`, transcript) and return its path."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["wav_filename", "wav_filesize", "transcript"])
        writer.writerows([clips / name, (clips / name).stat().st_size, text] for name, text in rows)
    return path


def train(python: Path, load: Path, save: Path, train: Path, dev: Path, *flags: str) -> dict[str, float]:
    """Run the trainer from the checkpoints in `load` to new ones in `save`, and return the last losses by name:
    training and validating. Without a checkpoint in `load`, it begins with random weights.
    """
    command = [
        *(str(python), "-u", "-m", "coqui_stt_training.train"),
        *("--train_files", str(train), "--dev_files", str(dev)),
        *("--load_checkpoint_dir", str(load), "--save_checkpoint_dir", str(save)),
        *("--show_progressbar", "false", "--skip_batch_test", "true", *flags),
    ]
    # TensorFlow 2 sets TF2_BEHAVIOR in the process that imports it, and TensorFlow 1.15 reads it
    ours = {name: value for name, value in os.environ.items() if name != "TF2_BEHAVIOR"}
    done = subprocess.run(command, env=ours, capture_output=True, text=True, check=False)
    found = {name: float(loss) for name, loss in _LOSS.findall(done.stdout)}
    assert done.returncode == 0 and found, done.stdout + done.stderr
    return found
