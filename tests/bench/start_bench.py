"""Time from the start of the server's process to ready, on a network of 2048 units, and the share of its imports.

    PYTHONPATH=tests python -m bench.start_bench [runs]

Ready means that the digests were compared and the self-test clip was decoded. Against it: the same until the
stock `deepspeech` command reports that its model is loaded, without digests and self-test. Every run starts new
processes, in alternation. The imports are those before the server listens, in a process that imports and ends.
The processor time depends less on what else the machine does.
"""

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from bench.engine_bench import UNITS
from bench.large_version import large_version
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import MODEL, SELFTEST
from support import stock_deepspeech
from support.servers import Server
from support.waiting import cpu_seconds

ENGINES = (Engine.DEEP_SPEECH, Engine.NATIVE)
IMPORTS, STOCK = "imports of the server", "stock deepspeech, loaded"


def main(runs: int) -> None:
    """Measure and print."""
    took: dict[str, list[Took]] = {}
    with large_version() as folder:
        stock = _stock(folder)
        for _ in range(runs):
            took.setdefault(IMPORTS, []).append(_imports())
            for engine in ENGINES:
                took.setdefault(f"server, {engine.value}, ready", []).append(_ready(folder, engine))
            if stock:
                took.setdefault(STOCK, []).append(_loaded(stock))
    imports = median(each.cpu for each in took[IMPORTS])
    print(f"{UNITS} units, {runs} alternating runs; seconds from the start of the process")
    print(f"{'':28}{'min':>8}{'median':>8}{'CPU':>8}{'imports, of CPU':>17}")
    for name, runs_of_it in took.items():
        wall, cpu = [each.wall for each in runs_of_it], median(each.cpu for each in runs_of_it)
        share = f"{imports / cpu:17.0%}" if name.startswith("server") else ""
        print(f"{name:28}{min(wall):8.2f}{median(wall):8.2f}{cpu:8.2f}{share}")


@dataclass(frozen=True)
class Took:
    """Seconds by the clock and of processor time."""

    wall: float
    cpu: float


def _imports() -> Took:
    began = time.perf_counter()
    program = "import gc, time; gc.disable(); import speechmodel_inference.run, speechmodel_inference.server; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return Took(time.perf_counter() - began, float(done.stdout))


def _ready(folder: Path, engine: Engine) -> Took:
    began = time.perf_counter()
    server = Server(folder, folder / "server.log", {"engine": engine.value})
    try:
        server.until_ready()
        return Took(time.perf_counter() - began, cpu_seconds(server.process.pid))
    finally:
        server.stop()


def _stock(folder: Path) -> list[str] | None:
    """Return the stock command, and None, with a line about it, on a machine that cannot have it."""
    try:
        return stock_deepspeech.command(folder / MODEL, folder / SELFTEST, folder)
    except pytest.skip.Exception as error:
        print(error)
        return None


def _loaded(command: list[str]) -> Took:
    """Return the time until the command reports on stderr that the model is loaded, and end it."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        loaded = any(line.startswith("Loaded model in") for line in process.stderr)
        took = Took(time.perf_counter() - began, cpu_seconds(process.pid))
        process.kill()
    if not loaded:
        raise RuntimeError("the stock deepspeech command did not load the model")
    return took


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:2] or ["5"])))
