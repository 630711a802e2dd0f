"""Train the same clips with our trainer and with Coqui's, at the same geometry and batch, without augmentation.

So after the first epoch our trainer computes no features: it keeps those of clips that do not change. Coqui's computes them again.

    PYTHONPATH=tests python -m bench.train_bench [--units 256 2048] [--runs 2]

The engines take turns. The speed is that of the epochs after the first, without the saves between them, in frames of
the clips. Processor time is counted from the end of the first epoch to the end of the last, so it includes the saves.
It says more than the speed on a machine that does other work too.

torch is the upper anchor: torch_trainer.py trains the bare network on random features of the same lengths, and saves
nothing. What cannot run here is left out: Coqui needs Python 3.7, and torch Python 3.11 and a C compiler.

With an NVIDIA GPU, our trainer also takes turns on it, in both precisions; docs/training.md says how to set that up.
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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from functools import partial
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median

import psutil
import pytest
from bench.cpu_torch import cpu_torch
from speechmodel_api.audio import frame_count
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.training_spec import Precision
from speechmodel_api.workspace import Workspace
from speechmodel_stagekit.artefacts import seal
from speechmodel_stagekit.wav import sample_count
from support.coqui import coqui
from support.places import FIXTURES, ROOT

NATIVE, COQUI, TORCH = "Native", "CoquiSTT", "torch"
OURS, COQUIS = "speechmodel_training.train", "speechmodel_training.coqui"
NO_GPU = {"CUDA_VISIBLE_DEVICES": "-1"}
ANCHOR = ROOT / "tests" / "bench" / "torch_trainer.py"
KEY, DATA, DIGEST, BATCH = "11111111", "dddddddd", "0" * 64, 16


@dataclass(frozen=True)
class Size:
    """A network and its training."""

    units: int
    clips: int
    epochs: int
    """The first is not measured."""


SIZES = {size.units: size for size in (Size(256, clips=144, epochs=4), Size(2048, clips=64, epochs=2))}
"""Sizes by their units. At 2048 units, a step of Coqui takes half a minute on two cores."""


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
    parser.add_argument("--units", type=int, nargs="+", choices=SIZES, default=list(SIZES))
    parser.add_argument("--runs", type=int, default=2)
    given = parser.parse_args()
    engines = dict(_engines())
    for units in given.units:
        _measure(SIZES[units], engines, given.runs)


def _measure(size: Size, engines: Mapping[str, "Train"], runs: int) -> None:
    """Measure one size and print its table and ratios."""
    measured: defaultdict[str, list[Figures]] = defaultdict(list)
    print(
        f"training, {size.units} units, {size.clips} clips in batches of {BATCH}, {size.epochs - 1} epochs measured, "
        f"{runs} alternating runs\n{'':22}{'frames/s':>12}{'frames/CPU s':>15}{'peak MB':>10}"
    )
    for _ in range(runs):
        for engine, train in engines.items():
            with tempfile.TemporaryDirectory() as folder:
                figures = train(Path(folder), prepare(Path(folder), size.clips), size)
            measured[engine].append(figures)
            speed, share, memory = astuple(figures)
            print(f"{engine:22}{speed:12.0f}{share:15.0f}{memory:10.0f}", flush=True)
    for other in set(measured) - {NATIVE}:
        ratios = (
            median(astuple(run)[place] for run in measured[NATIVE])
            / median(astuple(run)[place] for run in measured[other])
            for place in range(3)
        )
        print(
            f"Native to {other}, of the medians: "
            + "frames/s {:.2f}, frames/CPU s {:.2f}, memory {:.2f}".format(*ratios)
        )


Train = Callable[[Path, int, Size], Figures]
"""Trains the dataset in a folder, which has so many frames."""


def _engines() -> Iterator[tuple[str, Train]]:
    """Give the engines that can run here."""
    yield NATIVE, partial(_train, OURS, NO_GPU, Precision.FLOAT32)
    yield f"{NATIVE}, BFloat16", partial(_train, OURS, NO_GPU, Precision.BFLOAT16)
    if has_gpu():
        yield f"{NATIVE}, GPU", partial(_train, OURS, {}, Precision.FLOAT32)
        yield f"{NATIVE}, GPU, BFloat16", partial(_train, OURS, {}, Precision.BFLOAT16)
    else:
        print("NO GPU WAS MEASURED: TensorFlow finds none", file=sys.stderr)
    try:
        variables = NO_GPU | {"SPEECHMODEL_COQUI_PYTHON": str(coqui())}
        yield COQUI, partial(_train, COQUIS, variables, Precision.AUTO)
    except pytest.skip.Exception as reason:
        print(f"{COQUI} WAS NOT MEASURED: {reason}", file=sys.stderr)
    try:
        yield TORCH, partial(_train_torch, cpu_torch())
    except pytest.skip.Exception as reason:
        print(f"{TORCH} WAS NOT MEASURED: {reason}", file=sys.stderr)


def has_gpu() -> bool:
    """Return True if TensorFlow finds a GPU. It is asked in a process of its own, which leaves the GPU free."""
    program = "import tensorflow as tf; raise SystemExit(not tf.config.list_physical_devices('GPU'))"
    return subprocess.run([sys.executable, "-c", program], stderr=subprocess.DEVNULL).returncode == 0


def prepare(folder: Path, clips: int, dev_clips: int = 0) -> int:
    """Make a dataset of the clips of the tests, repeated as needed, and return the frames of its training part."""
    data = Workspace(folder).data(DATA)
    shutil.copytree(FIXTURES / "clips", data / "clips")
    shutil.copy(FIXTURES / "alphabet.txt", data)
    with (FIXTURES / "clips.csv").open(encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    parts = {"train": list(islice(cycle(rows), clips)), "dev": list(islice(cycle(rows), dev_clips)), "test": []}
    for part, chosen in parts.items():
        with (data / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
            csv.writer(file).writerows([header, *sorted(chosen, key=lambda row: int(row[1]))])
    counts = {"train_clips": clips, "dev_clips": dev_clips, "test_clips": 0}
    seal(
        data, PrepareOutput(dataset_digest=DIGEST, alphabet_digest=DIGEST, labels=_labels(), audio_seconds=0, **counts)
    )
    return sum(_frames(row) for row in parts["train"])


def _frames(row: Sequence[str]) -> int:
    return frame_count(sample_count(FIXTURES / row[0]))


def _labels() -> int:
    return len((FIXTURES / "alphabet.txt").read_text(encoding="utf-8").splitlines())


def _train_torch(python: Path, folder: Path, frames: int, size: Size) -> Figures:
    """Run the anchor on batches of clips as long as those of the dataset."""
    with (Workspace(folder).data(DATA) / "train.csv").open(encoding="utf-8") as file:
        clips = [(_frames(row), len(row[2])) for row in list(csv.reader(file))[1:]]
    batches = json.dumps([clips[start : start + BATCH] for start in range(0, len(clips), BATCH)])
    (folder / "batches.json").write_text(batches, encoding="utf-8")
    command = [str(each) for each in (python, ANCHOR, size.units, _labels(), size.epochs)]
    with (folder / "batches.json").open() as given, (folder / "log").open("wb") as log:
        # threads that wait sleep, as ours do; by default they spin, which takes more time than the training on busy cores
        ours = os.environ | {"OMP_WAIT_POLICY": "passive"}
        process = subprocess.Popen(command, env=ours, stdin=given, stdout=subprocess.PIPE, stderr=log, text=True)
        assert process.stdout is not None
        ends = [(float(at), float(used)) for at, used in map(str.split, process.stdout)]
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{TORCH} failed:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
    return Figures(
        frames_per_second=frames / median(after[0] - before[0] for before, after in pairwise(ends)),
        frames_per_cpu_second=frames * (len(ends) - 1) / (ends[-1][1] - ends[0][1]),
        peak_megabytes=usage.ru_maxrss / 1000,
    )


def _train(
    program: str, variables: Mapping[str, str], precision: Precision, folder: Path, frames: int, size: Size
) -> Figures:
    """Run the stage program of an engine."""
    document = stage_input(folder, size.units, size.epochs) | {"precision": precision}
    ours = os.environ | variables | {"STAGE_INPUT": json.dumps(document), "STAGE_RESULT": str(folder / "result.json")}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", program], env=ours, stdout=subprocess.PIPE, stderr=log, text=True
        )
        assert process.stdout is not None
        used = [_processor_time(process.pid) for line in process.stdout if json.loads(line)["fraction"] == 0]
        _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"{program} failed:\n{(folder / 'log').read_text(errors='replace')[-2000:]}")
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
