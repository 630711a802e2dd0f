"""Train the same clips with our trainer and with Coqui's, at the same geometry and batch, without augmentation.

    PYTHONPATH=tests python -m bench.train_bench [--units 256] [--copies 8] [--epochs 4] [--runs 2]

The engines take turns. The speed is that of the epochs after the first, without the saves between them, in frames of
the clips. Processor time is counted from the end of the first epoch to the end of the last, so it includes the saves.
It says more than the speed on a machine that does other work too. Needs Python 3.7; without it, only ours is measured.
"""

import argparse
import csv
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import psutil
import pytest
from speechmodel_api.audio import frame_count
from speechmodel_api.stages import PrepareOutput
from speechmodel_api.workspace import Workspace
from speechmodel_stagekit.artefacts import seal
from speechmodel_stagekit.wav import sample_count
from support.coqui import coqui
from support.places import FIXTURES

PROGRAMS = {"Native": "speechmodel_training.train", "CoquiSTT": "speechmodel_training.coqui"}
KEY, DATA, DIGEST, BATCH = "11111111", "dddddddd", "0" * 64, 16


@dataclass(frozen=True)
class Figures:
    """One training."""

    frames_per_second: float
    frames_per_cpu_second: float
    peak_megabytes: float
    """Largest resident memory of a process of it."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--units", type=int, default=256)
    parser.add_argument("--copies", type=int, default=8, help="of the 18 clips of the tests; 8 fill 9 batches")
    parser.add_argument("--epochs", type=int, default=4)
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    engines = dict(_engines())
    measured: defaultdict[str, list[Figures]] = defaultdict(list)
    for _ in range(given.runs):
        for engine, environment in engines.items():
            with tempfile.TemporaryDirectory() as folder:
                frames = prepare(Path(folder), given.copies)
                measured[engine].append(_train(Path(folder), engine, environment, frames, given.units, given.epochs))
    title = f"training, {given.units} units, {18 * given.copies} clips in batches of {BATCH}"
    print(f"{title}, {given.epochs - 1} epochs measured, {given.runs} alternating runs")
    print(f"{'':12}{'frames/s':>12}{'frames/CPU s':>15}{'peak MB':>10}")
    for engine, runs in measured.items():
        for figures in runs:
            print(
                f"{engine:12}{figures.frames_per_second:12.0f}{figures.frames_per_cpu_second:15.0f}{figures.peak_megabytes:10.0f}"
            )
    if len(measured) == 2:
        ratios = (
            median(getattr(run, name) for run in measured["Native"])
            / median(getattr(run, name) for run in measured["CoquiSTT"])
            for name in ("frames_per_second", "frames_per_cpu_second", "peak_megabytes")
        )
        print("Native to CoquiSTT, of the medians: frames/s {:.2f}, frames/CPU s {:.2f}, memory {:.2f}".format(*ratios))


def _engines() -> Iterator[tuple[str, Mapping[str, str]]]:
    """Give the engines that can run here, with their environment variables."""
    yield "Native", {}
    try:
        yield "CoquiSTT", {"SPEECHMODEL_COQUI_PYTHON": str(coqui())}
    except pytest.skip.Exception as reason:
        print(f"CoquiSTT WAS NOT MEASURED: {reason}", file=sys.stderr)


def prepare(folder: Path, copies: int, dev_copies: int = 0) -> int:
    """Make a dataset of copies of the clips of the tests, and return the frames of its training part."""
    data = Workspace(folder).data(DATA)
    shutil.copytree(FIXTURES / "clips", data / "clips")
    shutil.copy(FIXTURES / "alphabet.txt", data)
    with (FIXTURES / "clips.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    for part, chosen in (("train", rows * copies), ("dev", rows * dev_copies), ("test", [])):
        with (data / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *sorted(chosen, key=lambda row: int(row[1]))])
    labels = len((FIXTURES / "alphabet.txt").read_text(encoding="utf-8").splitlines())
    counts = {"train_clips": len(rows) * copies, "dev_clips": len(rows) * dev_copies, "test_clips": 0}
    seal(data, PrepareOutput(dataset_digest=DIGEST, alphabet_digest=DIGEST, labels=labels, audio_seconds=0, **counts))
    return copies * sum(frame_count(sample_count(FIXTURES / row[0])) for row in rows)


def _train(folder: Path, engine: str, environment: Mapping[str, str], frames: int, units: int, epochs: int) -> Figures:
    """Run the stage program of an engine."""
    document = stage_input(folder, units, epochs)
    ours = os.environ | environment | {"STAGE_INPUT": json.dumps(document), "STAGE_RESULT": str(folder / "result.json")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", PROGRAMS[engine]], env=ours, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout is not None
        used = [_processor_time(process.pid) for line in process.stdout if json.loads(line)["fraction"] == 0]
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{engine} failed:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
    with (Workspace(folder).export(KEY) / "training.csv").open(encoding="utf-8") as file:
        seconds = [float(row["seconds"]) for row in csv.DictReader(file)][1:]
    return Figures(
        frames_per_second=frames / median(seconds),
        frames_per_cpu_second=frames * len(seconds) / (used[-1] - used[1]),
        peak_megabytes=usage.ru_maxrss / 1000,
    )


def stage_input(folder: Path, units: int, epochs: int, attempt: int = 1) -> dict[str, object]:
    """Return the input of the stage train for the dataset in a folder."""
    return {
        "key": KEY,
        "attempt": attempt,
        "owner": "bench",
        "workspace": str(folder),
        "dataKey": DATA,
        "datasetDigest": DIGEST,
        "lineage": "22222222",
        "language": "es",
        "maxEpochs": epochs,
        "hyperparameters": {"hiddenUnits": units, "batchSize": BATCH, "learningRate": 1e-4, "dropout": 0.05},
        "schedule": {"type": "Constant"},
        "augmentation": [],
        "checkpoints": {"everySeconds": 86400, "keep": 1},
    }


def _processor_time(pid: int) -> float:
    """Return the processor time of a process and of those that it started, in seconds."""
    process = psutil.Process(pid)
    times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return sum(time.user + time.system for time in times)


if __name__ == "__main__":
    main()
