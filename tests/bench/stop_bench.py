"""Stop a training of 2048 units by SIGTERM, as Kubernetes does before it takes a node away, and start it again.

    PYTHONPATH=tests python -m bench.stop_bench [folder] [runs]

`folder` is on the disk to measure. The stop is compared with a plain write of as many bytes to the same disk, and the start with
that of a new training. Without dev clips, the stop writes one checkpoint. With dev clips it may also write the averages of the best
epoch: here epochs are so short that they were not always saved before.
"""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from statistics import median

from bench.train_bench import prepare, stage_input
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.workspace import Workspace

UNITS, EPOCHS = 2048, 1000
CLIPS, STEPS = 36, 3
"""Copies of the 18 clips of the tests, and the batches that they fill."""
LINEAGE = "22222222"
BLOCK = bytes(4 << 20)


class Training:
    """The stage program train. As a context manager it is killed at the end, where it was not stopped."""

    def __init__(self, folder: Path, attempt: int) -> None:
        document = stage_input(folder, UNITS, EPOCHS, attempt)
        ours = {"STAGE_INPUT": json.dumps(document), "STAGE_RESULT": str(folder / "result.json")}
        self._log, self._began = folder / f"log-{attempt}", time.perf_counter()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-m", "speechmodel_training.train"],
                env=os.environ | ours,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, kind: object, error: object, traceback: object) -> None:
        self._process.kill()

    def until_step(self, more: int) -> float:
        """Return the seconds from its start until it had made so many steps more than it began with."""
        assert self._process.stdout is not None
        first = None
        for line in self._process.stdout:
            step = json.loads(line)["step"]
            first = step if first is None else first
            if step >= first + more:
                return time.perf_counter() - self._began
        sys.exit(f"training ended early:\n{self._log.read_text(errors='replace')[-2000:]}")

    def stop(self) -> float:
        """Return the seconds from SIGTERM to its end."""
        began = time.perf_counter()
        self._process.send_signal(signal.SIGTERM)
        self._process.communicate()
        took = time.perf_counter() - began
        if self._process.returncode != ExitCode.STOPPED:
            sys.exit(f"training failed:\n{self._log.read_text(errors='replace')[-2000:]}")
        return took


def main(place: Path | None, runs: int) -> None:
    """Measure and print."""
    for name, dev_clips in (("one checkpoint", 0), ("best averages too", 18)):
        _measure(place, runs, name, dev_clips)


def _measure(place: Path | None, runs: int, title: str, dev_clips: int) -> None:
    draw, figures = random.Random(1), defaultdict[str, list[float]](list)
    for _ in range(runs):
        with tempfile.TemporaryDirectory(dir=place) as name:
            folder = Path(name)
            prepare(folder, CLIPS, dev_clips)
            with Training(folder, attempt=1) as training:
                figures["start of a new training to its first step"].append(training.until_step(1))
                training.until_step(3 * STEPS)  # the first epoch is saved at once, and better ones after it are not
                time.sleep(draw.uniform(0, 3))
                before = set(_files(folder))
                figures["SIGTERM to saved and ended"].append(training.stop())
            size = sum(path.stat().st_size for path in _files(folder) if path not in before)
            figures["written by the stop, MB"].append(size / 1e6)
            figures["plain write of as many bytes"].append(_plain_write(folder, size))
            with Training(folder, attempt=2) as again:
                figures["start of a stopped training to its next step"].append(again.until_step(1))
    print(f"{UNITS} units, {title}, {runs} runs: median (smallest to largest), seconds")
    for name, values in figures.items():
        print(f"  {name:48} {median(values):8.1f} ({min(values):.1f} to {max(values):.1f})")
    stop, plain = figures["SIGTERM to saved and ended"], figures["plain write of as many bytes"]
    print(f"  the stop over the plain write                    {median(map(lambda a, b: a / b, stop, plain)):8.2f}")


def _files(folder: Path) -> Iterable[Path]:
    """Return the files of the checkpoints that hold tensors."""
    return Workspace(folder).checkpoints(LINEAGE).rglob("model.*")


def _plain_write(folder: Path, size: int) -> float:
    path, began = folder / "plain", time.perf_counter()
    with path.open("wb", buffering=0) as file:
        while size > 0:
            size -= file.write(BLOCK[:size])
        os.fsync(file.fileno())
    took = time.perf_counter() - began
    path.unlink()
    return took


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None, int(sys.argv[2]) if len(sys.argv) > 2 else 3)
