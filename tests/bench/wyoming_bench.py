"""Time from the end of a spoken command to its text over the Wyoming protocol, on a network of 2048 units.

    PYTHONPATH=tests python -m bench.wyoming_bench [commands]

A client of the package wyoming sends commands of 2 s in chunks of 64 ms, as fast as they are spoken, and audio-stop
directly after the last sample. The weights are random, so that the search has nothing to do.
"""

import asyncio
import sys
import time
from pathlib import Path

import numpy as np
from bench.engine_bench import UNITS
from bench.large_version import large_version
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.serving_spec import Engine
from speechmodel_runtime import load
from support.ports import free_port
from support.servers import OK_ESPEJO, Server
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

SECONDS = 2.0
CHUNK = 1024
"""Samples of a chunk of Home Assistant."""


def main(commands: int) -> None:
    """Measure and print."""
    print(f"{UNITS} units, {commands} commands of {SECONDS:g} s; milliseconds from audio-stop to the text")
    print(f"{'':14}{'median':>8}{'p95':>8}{'most':>8}")
    with large_version() as folder:
        for engine in (Engine.DEEP_SPEECH, Engine.NATIVE):
            took = _measure(folder, engine, commands)
            print(f"{engine.value:14}{np.median(took):8.0f}{np.percentile(took, 95):8.0f}{max(took):8.0f}")


def _measure(folder: Path, engine: Engine, commands: int) -> list[float]:
    port = free_port()
    settings = {"wyoming_listen": f"127.0.0.1:{port}", "engine": engine.value}
    with Server(folder, folder / "server.log", settings) as server:
        server.until_ready()
        return asyncio.run(_speak(port, commands))


async def _speak(port: int, commands: int) -> list[float]:
    """Return the milliseconds of each command. The first one, which warms the server up, is left out."""
    raw = np.resize(load(OK_ESPEJO), int(SECONDS * SAMPLE_RATE)).astype("<i2").tobytes()
    took = []
    async with AsyncTcpClient("127.0.0.1", port) as client:
        for _ in range(commands + 1):
            began = time.perf_counter()
            await client.write_event(AudioStart(SAMPLE_RATE, 2, 1).event())
            for start in range(0, len(raw), 2 * CHUNK):
                chunk = raw[start : start + 2 * CHUNK]
                spoken = (start + len(chunk)) / 2 / SAMPLE_RATE
                await asyncio.sleep(began + spoken - time.perf_counter())
                await client.write_event(AudioChunk(SAMPLE_RATE, 2, 1, chunk).event())
            stopped = time.perf_counter()
            await client.write_event(AudioStop().event())
            answer = await client.read_event()
            took.append(1000 * (time.perf_counter() - stopped))
            if answer is None or not Transcript.is_type(answer.type):
                raise RuntimeError(f"the server answered with {answer}")
    return took[1:]


if __name__ == "__main__":
    main(*(map(int, sys.argv[1:2] or ["20"])))
