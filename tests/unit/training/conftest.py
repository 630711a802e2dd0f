"""A workspace with the fixture clips as its dataset, and the trainer run on it as a program of its
own.
"""

import csv
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import pytest
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_stagekit.artefacts import seal
from speechmodel_stagekit.program import stop_requested
from speechmodel_training.augmentation import Augmenter
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.state import LineageFacts
from speechmodel_training.train import train
from support.ports import free_ports
from support.waiting import cpu_seconds, until, until_ended

from .killed_trainings import Moment

FIXTURES = Path(__file__).parents[2] / "fixtures" / "deepspeech"
PROGRAM = Path(__file__).with_name("interrupted_training.py")
KILLED = Path(__file__).with_name("killed_trainings.py")
DATASET_DIGEST = "0" * 64
ALPHABET = tuple(" aehijklmnoprsuv")
UNCHANGED = Augmenter((), seed=1)
"""Leaves every clip as it is."""

Row = tuple[str, str]
"""wav_filename, transcript"""


@pytest.fixture(scope="session", autouse=True)
def device(tensorflow_device: None) -> None:
    """Set up as the stage program does it, before the first operation of any test."""


@pytest.fixture(scope="session")
def fixtures() -> Path:
    return FIXTURES


@pytest.fixture
def facts() -> LineageFacts:
    return LineageFacts(hidden_units=16, alphabet=ALPHABET, seed=1, dataset_digest=DATASET_DIGEST)


@dataclass
class Run:
    """How a run of the program ended."""

    code: int
    result: dict[str, Any]
    progress: list[dict[str, Any]]
    log: str

    @property
    def output(self) -> TrainOutput:
        assert self.code == 0, self.log
        return TrainOutput.model_validate(self.result["output"])


@dataclass
class Workspace:
    """A folder as the operator lays it out, and the document that train is given."""

    path: Path
    document: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.document = {
            "key": "11111111",
            "attempt": 1,
            "owner": "uid-a",
            "workspace": str(self.path),
            "dataKey": "dddddddd",
            "datasetDigest": DATASET_DIGEST,
            "lineage": "22222222",
            "language": "es",
            "maxEpochs": 4,
            "hyperparameters": {"hiddenUnits": 32, "batchSize": 4},
            "schedule": {"type": "Auto"},
            "augmentation": "Auto",
            "checkpoints": {"everySeconds": 600, "keep": 3},
        }

    @property
    def data(self) -> Path:
        return self.path / "data" / "dddddddd"

    @property
    def temporary(self) -> Path:
        """The temporary folder of its programs."""
        return self.path / "tmp"

    @property
    def lineage(self) -> Path:
        return self.path / "checkpoints" / "22222222"

    def graph(self, key: str = "11111111") -> Path:
        return self.path / "exports" / key / "output_graph.pb"

    def history(self, key: str = "11111111") -> list[dict[str, str]]:
        with (self.path / "exports" / key / "training.csv").open() as file:
            return list(csv.DictReader(file))

    def input(self, **changes: Any) -> TrainInput:
        return TrainInput.model_validate(self.document | changes)

    def prepare(self, train: Sequence[Row], dev: Sequence[Row] = ()) -> None:
        """A finished dataset folder with the fixture's clips and alphabet."""
        shutil.rmtree(self.data, ignore_errors=True)
        self.data.mkdir(parents=True)
        shutil.copytree(FIXTURES / "clips", self.data / "clips")
        shutil.copy(FIXTURES / "alphabet.txt", self.data)
        for part, rows in (("train", train), ("dev", dev), ("test", ())):
            with (self.data / f"{part}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["wav_filename", "wav_filesize", "transcript"])
                writer.writerows([name, 0, transcript] for name, transcript in rows)
        digests = {"dataset_digest": DATASET_DIGEST, "alphabet_digest": DATASET_DIGEST}
        counts = {"labels": len(ALPHABET), "train_clips": len(train), "dev_clips": len(dev), "test_clips": 0}
        seal(self.data, PrepareOutput(**digests, **counts, audio_seconds=0))

    def train(self, **changes: Any) -> TrainOutput:
        """The stage, called in this process."""
        output = train(self.input(**changes))
        assert isinstance(output, TrainOutput)
        return output

    def start(
        self,
        *,
        term_at: int = 0,
        kill_at: int = 0,
        hang_at: int = 0,
        kill_at_each: Sequence[Sequence[Moment]] = (),
        addresses: Sequence[str] = (),
        index: int = 0,
        **changes: Any,
    ) -> "subprocess.Popen[bytes]":
        """The stage as a program, which sends itself a signal after the optimizer step `term_at`, `kill_at` or `hang_at`.

        With `kill_at_each`, it is as many attempts, each with a moment for each worker at which it is killed. With `addresses`,
        it is the worker `index` of several.
        """
        attempt = self.suffix(changes.get("attempt", 1), index)
        self.temporary.mkdir(exist_ok=True)
        environment = os.environ | {
            "TMPDIR": str(self.temporary),
            "STAGE_INPUT": json.dumps(self.document | changes),
            "STAGE_RESULT": str(self.path / f"result-{attempt}.json"),
        }
        if addresses:
            config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": index}}
            environment["TF_CONFIG"] = json.dumps(config)
        command = [sys.executable, "-m", "speechmodel_training.train"]
        signals = {"TERM": term_at, "KILL": kill_at, "STOP": hang_at}
        if name := next((name for name, step in signals.items() if step), None):
            command = [sys.executable, str(PROGRAM), name, str(signals[name])]
        elif kill_at_each:
            command = [sys.executable, str(KILLED), json.dumps([[*map(asdict, moments)] for moments in kill_at_each])]
        with (self.path / f"out-{attempt}").open("wb") as out, (self.path / f"log-{attempt}").open("wb") as log:
            return subprocess.Popen(command, env=environment, stdout=out, stderr=log, cwd=self.path)

    def run(self, **arguments: Any) -> Run:
        """The stage as a program, to its end."""
        process = self.start(**arguments)
        return self.ended(process, arguments.get("attempt", 1))

    def start_workers(self, count: int, **arguments: Any) -> list["subprocess.Popen[bytes]"]:
        """As many programs that train together. `arguments` of `start` that are lists have one value for each."""
        addresses = [f"127.0.0.1:{port}" for port in free_ports(count)]
        return [
            self.start(
                addresses=addresses,
                index=index,
                workers=count,
                **{name: value[index] if isinstance(value, list) else value for name, value in arguments.items()},
            )
            for index in range(count)
        ]

    def run_workers(self, count: int, **arguments: Any) -> list[Run]:
        """Programs that train together, to their ends."""
        processes = self.start_workers(count, **arguments)
        attempt = arguments.get("attempt", 1)
        return [self.ended(process, self.suffix(attempt, index)) for index, process in enumerate(processes)]

    @staticmethod
    def suffix(attempt: int | str, index: int) -> str:
        return f"{attempt}-{index}" if index else f"{attempt}"

    def ended(self, process: "subprocess.Popen[bytes]", attempt: int | str = 1) -> Run:
        try:
            until_ended(process)
        finally:
            process.kill()
        result = self.path / f"result-{attempt}.json"
        return Run(
            process.returncode,
            json.loads(result.read_text()) if result.exists() else {},
            self.progress(attempt),
            (self.path / f"log-{attempt}").read_text(),
        )

    def progress(self, attempt: int | str = 1) -> list[dict[str, Any]]:
        """The records that a program has written so far."""
        lines = (self.path / f"out-{attempt}").read_text().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith("\n")]

    def until_epoch(self, process: "subprocess.Popen[bytes]", epoch: int) -> None:
        """Wait until the first attempt, which that program is, has finished an epoch."""
        until(
            lambda: any(record["epoch"] >= epoch for record in self.progress()),
            f"epoch {epoch} is finished",
            moved=lambda: int(cpu_seconds(process.pid)),
            explain=(self.path / "log-1").read_text,
            every=0.05,
        )


@pytest.fixture
def stop_at(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[int], None]]:
    """Asks this process to stop, as SIGTERM does, after a given optimizer step; 0: not any more."""
    train_undisturbed = Learner.train
    chosen = 0

    def train_and_stop(self: Learner, batch: Batch, *run: Any) -> None:
        train_undisturbed(self, batch, *run)
        if self.step == chosen:
            stop_requested.set()

    def choose(step: int) -> None:
        nonlocal chosen
        chosen = step
        stop_requested.clear()

    monkeypatch.setattr(Learner, "train", train_and_stop)
    yield choose
    stop_requested.clear()


@pytest.fixture(scope="session")
def rows() -> list[Row]:
    with (FIXTURES / "clips.csv").open(encoding="utf-8") as file:
        return [(row["wav_filename"], row["transcript"]) for row in csv.DictReader(file)]


@pytest.fixture
def make_workspace(tmp_path: Path, rows: list[Row]) -> Callable[[str], Workspace]:
    def make(name: str) -> Workspace:
        (tmp_path / name).mkdir()
        workspace = Workspace(tmp_path / name)
        workspace.prepare(rows[:14], rows[14:])
        return workspace

    return make


@pytest.fixture
def workspace(make_workspace: Callable[[str], Workspace]) -> Workspace:
    return make_workspace("workspace")
