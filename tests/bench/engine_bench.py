"""The engines of the server on a network of 2048 units: processor time for each second of audio, load time and memory.

    PYTHONPATH=tests python -m bench.engine_bench [runs]

Each measurement is a process of its own, in alternation. DeepSpeech is libdeepspeech on the mapped graph, one
clip after the other. Native is the same with one clip at a time, and with eight that share the runs of the network,
on one thread. NumPy has one thread, as in the server. Each decoder has decoded clips before. The weights are random,
and a bias makes the blank certain, so that the search has nothing to do.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.published import PublishedNative, VersionManifest
from speechmodel_api.serving_spec import Engine
from speechmodel_api.stages.decoders import Decoding
from speechmodel_api.workspace import GRAPH, MODEL, QUANTISED
from speechmodel_inference.decoders import open_decoder
from speechmodel_pipeline.convert.quantised import export_quantised_model
from speechmodel_pipeline.graphdef.pbmm import memory_map

UNITS, LABELS = 2048, "abcdefghijklmnopqrstuvwxyz '"
CLIPS, SECONDS = 8, 2.0
NO_DIGEST = "0" * 64
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1"}
ROWS = (
    ("DeepSpeech", Engine.DEEP_SPEECH, 1),
    ("Native, 1 clip", Engine.NATIVE, 1),
    ("Native, 8 clips", Engine.NATIVE, 8),
)


def main(runs: int) -> None:
    """Measure and print."""
    found: dict[str, list[dict[str, float]]] = {name: [] for name, _, _ in ROWS}
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([sys.executable, "-m", "bench.engine_bench", "make", folder], check=True)
        for _ in range(runs):
            for name, engine, streams in ROWS:
                command = [sys.executable, "-m", "bench.engine_bench", "measure", folder, engine.value, str(streams)]
                done = subprocess.run(
                    command, check=True, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=os.environ | ONE_THREAD
                )
                found[name].append(json.loads(done.stdout))
    base = [each["cpu"] for each in found[ROWS[0][0]]]
    print(f"{UNITS} units, {CLIPS} clips of {SECONDS:g} s, {runs} alternating runs")
    print(
        f"{'':18}{'CPU / s of audio: min':>22}{'median':>8}{'x min':>7}{'x median':>9}{'load s':>8}{'private MB':>12}"
    )
    for name, each in found.items():
        cpu = [one["cpu"] for one in each]
        load, memory = min(one["load"] for one in each), median(one["private"] for one in each)
        times = f"{min(base) / min(cpu):7.1f}{median(base) / median(cpu):9.1f}"
        print(f"{name:18}{min(cpu):22.4f}{median(cpu):8.4f}{times}{load:8.2f}{memory:12.0f}")


def make(folder: Path, units: int = UNITS) -> None:
    """Write the files of the model."""
    from speechmodel_training.graph import frozen_graph
    from speechmodel_training.network import Geometry, fresh_weights

    weights = fresh_weights(Geometry(units, len(LABELS)), seed=1)
    bias = np.zeros(len(LABELS) + 1, np.float32)
    bias[-1] = 20
    (folder / GRAPH).write_bytes(b"".join(frozen_graph(weights | {"layer_6/bias": bias}, list(LABELS), "en")))
    memory_map(folder / GRAPH, folder / MODEL)
    export_quantised_model(folder / GRAPH, folder / QUANTISED)


def measure(folder: Path, engine: Engine, streams: int) -> dict[str, float]:
    """Return the figures of one process."""
    noise = np.random.default_rng(0)
    clips = [noise.integers(-3000, 3000, int(SECONDS * SAMPLE_RATE)).astype(np.int16) for _ in range(CLIPS)]
    began = time.perf_counter()
    decoder = open_decoder(folder, manifest(), engine)
    decoder.decode(clips[0][: SAMPLE_RATE // 2], name="first")
    load = time.perf_counter() - began
    with decoder, ThreadPoolExecutor(streams) as pool:
        list(pool.map(lambda clip: decoder.decode(clip, name="warm-up"), clips[:streams]))
        began = time.process_time()
        list(pool.map(lambda clip: decoder.decode(clip, name="clip"), clips))
        cpu = (time.process_time() - began) / (CLIPS * SECONDS)
        return {"cpu": cpu, "load": load, "private": _private_megabytes()}


def manifest(*, model: str = NO_DIGEST, quantised: str = NO_DIGEST, selftest: str = NO_DIGEST) -> VersionManifest:
    """Return the manifest of a version with the files of `make`, whose SHA-256 digests are given, in free text."""
    native = PublishedNative(quantised_sha256=quantised, quantised_uri="", quantised_bytes=0, clips=0, differences=0)
    return VersionManifest(
        version="00000000",
        language="en",
        decoding=Decoding(),
        native=native,
        model_uri="",
        model_sha256=model,
        model_bytes=0,
        selftest_uri="",
        selftest_sha256=selftest,
        selftest_text="",
        report_uri="",
    )


def _private_megabytes() -> float:
    """Return the memory that no other process shares, of /proc/self/smaps_rollup."""
    lines = Path("/proc/self/smaps_rollup").read_text(encoding="utf-8")
    return sum(int(kilobytes) for kilobytes in re.findall(r"Private_\w+:\s+(\d+) kB", lines)) / 1000


def _command(words: Sequence[str]) -> None:
    match words:
        case ["make", folder, *units]:
            make(Path(folder), *map(int, units))
        case ["measure", folder, engine, streams]:
            print(json.dumps(measure(Path(folder), Engine(engine), int(streams))))
        case _:
            main(int(words[0]) if words else 5)


if __name__ == "__main__":
    _command(sys.argv[1:])
