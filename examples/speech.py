"""Recordings by espeak-ng 1.51 (Debian's package) for the examples. The same version gives the same bytes."""

import csv
import io
import shutil
import subprocess
from collections.abc import Iterable
from pathlib import Path

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_runtime.audio import Pcm, load

PEAK, SILENCE = 16_000, 160
"""Loudest sample, and the loudest that still counts as silence."""
MARGIN = SAMPLE_RATE // 20
"""Samples of silence kept before and after the words."""


def say(phrase: str, voice: str, speed: int, pitch: int) -> Pcm:
    """Return a phrase by a voice such as `es+f4`: `speed` in words a minute, `pitch` from 0 to 99."""
    command = ["espeak-ng", "-v", voice, "-s", str(speed), "-p", str(pitch), "--stdout", phrase]
    spoken = load(io.BytesIO(subprocess.run(command, check=True, capture_output=True).stdout), name=voice)
    scaled = spoken.astype(np.float64) * PEAK / np.abs(spoken.astype(np.int32)).max()
    loud = np.flatnonzero(np.abs(scaled) > SILENCE)
    pcm: Pcm = scaled[max(0, loud[0] - MARGIN) : loud[-1] + MARGIN].astype(np.int16)
    return pcm


def require_voices(*voices: str) -> None:
    """Exit when a voice is missing. espeak-ng itself would speak with its usual voice instead."""
    listed = subprocess.run(["espeak-ng", "--voices=variant"], check=True, capture_output=True, text=True).stdout
    known = {line.split("!v/")[1].split("  ")[0].strip() for line in listed.splitlines() if "!v/" in line}
    if missing := set(voices) - known:
        raise SystemExit(f"this espeak-ng lacks the voices {', '.join(sorted(missing))}; install espeak-ng 1.51")


def empty_folder(folder: Path) -> Path:
    """Create the folder, or delete its content."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def write_table(path: Path, columns: Iterable[str], rows: Iterable[Iterable[str]]) -> None:
    """Write a CSV file with a header."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(rows)
