"""Time from the start of the server's process to ready, on a network of 2048 units, and the share of its imports.

    PYTHONPATH=tests python -m bench.start_bench [runs]

Ready means that the self-test clip was decoded. fetch has compared the digests; without its record, the server
compares them. Against it: the same until the stock `deepspeech` command reports that its model is loaded, without
digests and self-test. The init container of a second replica, fetch with serving.cache, has all files on the claim.
Every run starts new
processes, in alternation. The imports are those before the server listens, in a process that imports and ends.
The processor time depends less on what else the machine does.
"""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path, PurePosixPath
from resource import RUSAGE_CHILDREN, getrusage
from statistics import median

import pytest
from bench.engine_bench import UNITS
from bench.large_version import large_version
from speechmodel_api.schema import S3Location
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages.publish import FetchInput
from speechmodel_api.workspace import MODEL, SELFTEST, VERIFIED, VERSION
from speechmodel_cli.local.published import read_manifest
from speechmodel_pipeline.model_cache import FOLDER
from support import stock_deepspeech
from support.programs import run_program
from support.servers import Server
from support.waiting import cpu_seconds

ENGINES = (Engine.DEEP_SPEECH, Engine.NATIVE)
IMPORTS, STOCK = "imports of the server", "stock deepspeech, loaded"
FETCH = "fetch, all on the claim"


def main(runs: int) -> None:
    """Measure and print."""
    took: dict[str, list[Took]] = {}
    with large_version() as folder:
        stock = _stock(folder)
        claim = _claim(folder)
        for _ in range(runs):
            took.setdefault(IMPORTS, []).append(_imports())
            took.setdefault(FETCH, []).append(_fetch(folder, claim))
            for engine in ENGINES:
                took.setdefault(f"server, {engine.value}, ready", []).append(_ready(folder, engine))
                with _without_record(folder):
                    took.setdefault(f"server, {engine.value}, no record", []).append(_ready(folder, engine))
            if stock:
                took.setdefault(STOCK, []).append(_loaded(stock))
    imports = median(each.cpu for each in took[IMPORTS])
    print(f"{UNITS} units, {runs} alternating runs; seconds from the start of the process")
    print(f"{'':30}{'min':>8}{'median':>8}{'CPU':>8}{'imports, of CPU':>17}")
    for name, runs_of_it in took.items():
        wall, cpu = [each.wall for each in runs_of_it], median(each.cpu for each in runs_of_it)
        share = f"{imports / cpu:17.0%}" if name.startswith("server") else ""
        print(f"{name:30}{min(wall):8.2f}{median(wall):8.2f}{cpu:8.2f}{share}")


@dataclass(frozen=True)
class Took:
    """Seconds by the clock and of processor time."""

    wall: float
    cpu: float


@contextmanager
def _without_record(folder: Path) -> Iterator[None]:
    """Let the server know nothing of the comparison by fetch."""
    record = (folder / VERIFIED).rename(folder / "record")
    try:
        yield
    finally:
        record.rename(folder / VERIFIED)


def _imports() -> Took:
    began = time.perf_counter()
    program = "import gc, time; gc.disable(); import speechmodel_inference.run, speechmodel_inference.server; print(time.process_time())"
    done = subprocess.run([sys.executable, "-c", program], stdout=subprocess.PIPE, check=True)
    return Took(time.perf_counter() - began, float(done.stdout))


def _claim(folder: Path) -> Path:
    """Return a claim with every file of the version, as an earlier pod leaves it."""
    claim = folder / "claim"
    cache = claim / FOLDER
    cache.mkdir(parents=True)
    manifest = read_manifest(folder)
    for file in manifest.files:
        (cache / file.sha256).symlink_to(folder / file.name)
    (cache / _version_sha256(folder)).symlink_to(folder / VERSION)
    return claim


def _version_sha256(folder: Path) -> str:
    return sha256((folder / VERSION).read_bytes()).hexdigest()


def _fetch(folder: Path, claim: Path) -> Took:
    """Return the time of the init container. Its S3 does not exist."""
    task = FetchInput(
        target=S3Location(bucket="models", endpoint="http://127.0.0.1:1"),
        version_uri="s3://models/version.json",
        version_sha256=_version_sha256(folder),
        folder=PurePosixPath(folder / "second"),
        cache=PurePosixPath(claim),
    )
    began, before = time.perf_counter(), getrusage(RUSAGE_CHILDREN)
    ended = run_program("fetch", task, folder)
    after = getrusage(RUSAGE_CHILDREN)
    if ended.code:
        raise RuntimeError(ended.log)
    return Took(time.perf_counter() - began, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def _ready(folder: Path, engine: Engine) -> Took:
    began = time.perf_counter()
    with Server(folder, folder / "server.log", {"engine": engine.value}) as server:
        server.until_ready()
        return Took(time.perf_counter() - began, cpu_seconds(server.process.pid))


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
