"""coqui-stt-training 1.4.0, the successor of deepspeech_training, under Python 3.7."""

import csv
import os
import re
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest
from kubecluster.pythons import installed_python

from support.environments import environment
from support.places import ROOT

_LOSS = re.compile(r"Finished (training|validating) epoch \d+(?: on \S+)? - loss: ([\d.]+)")


def coqui() -> Path:
    """Return the Python with the trainer. Skip the test where there is no Python 3.7."""
    python = installed_python("3.7")
    if python is None:
        pytest.skip("coqui-stt-training 1.4.0 WAS NOT TRIED, because this machine has no Python 3.7 (pyenv or PATH)")
    return environment("coqui", ROOT / "images" / "requirements" / "coqui.txt", python) / "bin" / "python"


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
