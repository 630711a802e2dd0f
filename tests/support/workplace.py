"""A folder with a small dataset and a manifest, and the real command that runs in it."""

import csv
import json
import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support import waiting
from support.places import FIXTURES

COMMAND = [str(Path(sys.prefix) / "bin" / "speechmodel")]
PATH = {"PATH": f"{Path(sys.prefix) / 'bin'}{os.pathsep}{os.environ['PATH']}"}
"""PATH of a user who installed the command: it then calls itself by its name."""
PARTS = {"train": slice(0, 12), "dev": slice(12, 15), "test": slice(15, 18)}


@dataclass(frozen=True)
class Workplace:
    """The folder where a user works."""

    folder: Path

    @classmethod
    def make(cls, folder: Path, **training: Any) -> "Workplace":
        """Make one with 12 train, 3 dev and 3 test clips, and a network that learns an epoch in a moment."""
        data = folder / "voices"
        shutil.copytree(FIXTURES / "clips", data / "clips")
        with (FIXTURES / "clips.csv").open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        for part, chosen in PARTS.items():
            with (data / f"{part}.csv").open("w", encoding="utf-8", newline="") as file:
                csv.writer(file).writerows([header, *rows[chosen]])
        place = cls(folder)
        place.write(training={"maxEpochs": 3, "hyperparameters": {"hiddenUnits": 32, "batchSize": 4}, **training})
        return place

    def copy(self, folder: Path) -> "Workplace":
        """Return a copy, finished stages and published objects included."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        return Workplace(folder)

    def write(self, **spec: Any) -> None:
        """Write the manifest with other fields in its spec."""
        base: dict[str, Any] = {
            "language": "es",
            "dataset": {
                "source": {"persistentVolumeClaim": {"claimName": "voices"}},
                "format": "DeepSpeechCSV",
                "negatives": {"builtIn": False},
            },
            "decoding": {"beamWidth": 32},
            "publish": {"s3": {"bucket": "models"}},
        }
        old = yaml.safe_load(self.manifest.read_text()) if self.manifest.exists() else {"spec": {}}
        document = {
            "apiVersion": "speechops.dev/v1alpha1",
            "kind": "SpeechModel",
            "metadata": {"name": "voz"},
            "spec": {**base, **old["spec"], **spec},
        }
        self.manifest.write_text(yaml.safe_dump(document))

    def train(self, **training: Any) -> None:
        """Write the manifest with other fields in spec.training."""
        old = yaml.safe_load(self.manifest.read_text())["spec"]["training"]
        self.write(training={**old, **training})

    @property
    def manifest(self) -> Path:
        """Path of the manifest."""
        return self.folder / "voz.yaml"

    @property
    def state(self) -> Path:
        """Folder of the model's state."""
        return self.folder / ".speechmodel" / "voz"

    @property
    def status(self) -> dict[str, Any]:
        """Content of status.json."""
        found: dict[str, Any] = json.loads((self.state / "status.json").read_bytes())
        return found

    def stage(self, name: str) -> dict[str, Any]:
        """Return the record of a stage."""
        found: dict[str, Any] = next(stage for stage in self.status["stages"] if stage["name"] == name)
        return found

    def condition(self, name: str) -> dict[str, Any]:
        """Return a condition."""
        found: dict[str, Any] = next(c for c in self.status["conditions"] if c["type"] == name)
        return found

    def runs(self) -> set[str]:
        """Return the names of the run folders."""
        return {path.name for path in (self.state / "runs").glob("*")}

    def run(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `speechmodel run voz.yaml ...` to its end."""
        return self.call("run", "voz.yaml", *arguments, **environment)

    def call(self, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """Run `speechmodel ...` to its end."""
        return waiting.run([*COMMAND, *arguments], cwd=self.folder, env={**os.environ, **PATH, **environment})

    def run_in_terminal(self) -> str:
        """Run `speechmodel run voz.yaml` in a terminal of 120 columns, and return its plain text."""
        ours, theirs = os.openpty()
        environment = {**os.environ, **PATH, "TERM": "xterm-256color", "COLUMNS": "120"}
        command = [*COMMAND, "run", "voz.yaml"]
        with subprocess.Popen(command, cwd=self.folder, env=environment, stdout=theirs) as process:
            os.close(theirs)
            written = b""
            with suppress(OSError):  # EIO: the other end is closed
                while piece := os.read(ours, 4096):
                    written += piece
            os.close(ours)
        assert process.returncode == 0
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.decode())

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start `speechmodel run voz.yaml ...`."""
        return subprocess.Popen(
            [*COMMAND, "run", "voz.yaml", *arguments],
            cwd=self.folder,
            env={**os.environ, **PATH, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            # Ignored when the tests run in the background of a shell, and children inherit that.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def kill(self) -> None:
        """End what a failed test left running."""
        for pid in self.running():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def processes(self) -> list[str]:
        """Return the command lines of every process that works in this folder."""
        return list(self.running().values())

    def until_deserted(self) -> None:
        """Wait until no process works in this folder."""
        waiting.until(lambda: not self.processes(), "no process is left", explain=lambda: str(self.processes()))

    def running(self) -> dict[int, str]:
        """Return the same by pid."""
        found = {}
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                if (entry / "cwd").readlink().is_relative_to(self.folder):
                    found[int(entry.name)] = (entry / "cmdline").read_text().replace("\0", " ")
            except OSError:
                continue  # it has ended or is ending
        return found


def read_until(process: subprocess.Popen[str], wanted: Callable[[str], bool]) -> list[str]:
    """Return the lines of a running command up to the first that is wanted."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if wanted(line):
            return lines
    raise AssertionError("the command ended before that:\n" + "".join(lines))


def interrupt(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Press Ctrl-C, and return the exit code and the output that followed."""
    process.send_signal(signal.SIGINT)
    return rest(process)


def rest(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Return the exit code of a running command and the rest of its output."""
    with ThreadPoolExecutor(1) as pool:
        output = pool.submit(process.communicate)
        try:
            waiting.until_ended(process)
        except AssertionError:
            process.kill()
            raise
        return process.returncode, output.result()[0]
