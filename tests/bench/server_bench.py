"""The server under load, in one run: latency, capacity, processor time by length, memory, and equal answers.

    PYTHONPATH=tests python -m bench.server_bench [--clips N] [--longest SECONDS] [--requests N] [--small]

The network has 2048 units and random weights, so the search has nothing to do; with --small, it is that of the
fixtures, which has 128 units and recognises words. Memory and equal answers are always measured on the latter.
"""

import argparse
import io
import json
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from http import HTTPStatus
from http.client import HTTPConnection
from pathlib import Path

import numpy as np
import soundfile
from bench.large_version import large_version
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.serving_spec import Engine
from speechmodel_api.workspace import MODEL
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_runtime import Pcm, load, save
from support import stock_deepspeech
from support.places import FIXTURES
from support.servers import OK_ESPEJO, Server, VersionFolder
from websockets.sync.client import connect

PATH = "/v1/audio/transcriptions"
COMMAND_SECONDS = 2.0
TOGETHER = 8
"""Clips that are sent at once, and streams."""
LENGTHS = (3, 30, 300, 3600)
"""Seconds of the recordings by which processor time is compared."""
LOAD = 0.8
"""Share of the capacity at which the time of an answer is measured."""
WARM_UP = 1000
"""Requests before memory is measured. By then all decoders and threads have worked at once, and have their memory."""
SPEECH = load(OK_ESPEJO)


def main(clips: int, longest: float, requests: int, *, small: bool) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as name, small_version(Path(name)) as fixture:
        with large_version() if not small else small_version(Path(name) / "engines") as folder:
            print(
                f"commands of {COMMAND_SECONDS:g} s; milliseconds to the answer; x is seconds of work per second of audio"
            )
            _stock(folder)
            for engine in (Engine.DEEP_SPEECH, Engine.NATIVE):
                with serving(folder, engine) as server:
                    _latency(server, engine, clips)
            with serving(folder, Engine.NATIVE) as server:
                _lengths(server, [seconds for seconds in LENGTHS if seconds <= longest])
        with serving(fixture, Engine.AUTO) as server:
            _streams(server)
            _memory(server, requests)


@contextmanager
def small_version(folder: Path) -> Iterator[Path]:
    """Give a version with the network of the fixtures."""
    folder.mkdir(exist_ok=True)
    memory_map(FIXTURES / "tf2_128.pb", folder / "mapped.pbmm")
    version = VersionFolder(folder / "models", folder / "mapped.pbmm")
    version.decode_natively()
    yield version.path


@contextmanager
def serving(folder: Path, engine: Engine) -> Iterator[Server]:
    """Give a server that is ready."""
    with Server(folder, folder / "server.log", {"engine": engine.value, "log_level": "WARNING"}) as server:
        yield server.until_ready()


def _stock(folder: Path) -> None:
    """Print the time of the stock command, which measures itself without its start."""
    with tempfile.TemporaryDirectory() as name:
        clip = Path(name) / "command.wav"
        save(clip, speech(COMMAND_SECONDS))
        command = stock_deepspeech.command(folder / MODEL, clip, Path(name))
        said = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    took = re.search(r"Inference took ([0-9.]+)s for ([0-9.]+)s audio", said)
    if took is None:
        raise RuntimeError(f"the stock command printed no time: {said}")
    print(f"stock deepspeech            {float(took[1]) / float(took[2]):8.3f} x")


def _latency(server: Server, engine: Engine, clips: int) -> None:
    """Print the time of answers to one client, to eight, and at a share of the capacity of eight."""
    command = wav(speech(COMMAND_SECONDS))
    _sent(server, command)
    before = server_seconds(server)
    one, took = _at_once(server, command, clips, 1)
    after = server_seconds(server)
    layer = 1000 * (sum(one) - (after - before)) / clips
    print(
        f"{engine.value:12} 1 at once      {took / clips / COMMAND_SECONDS:8.3f} x {_percentiles(one)}   HTTP {layer:.1f}"
    )
    eight, took = _at_once(server, command, TOGETHER * clips, TOGETHER)
    capacity = TOGETHER * clips / took
    print(f"{engine.value:12} {TOGETHER} at once      {1 / capacity / COMMAND_SECONDS:8.3f} x {_percentiles(eight)}")
    spaced = _spaced(server, command, TOGETHER * clips, 1 / (LOAD * capacity))
    print(f"{engine.value:12} {LOAD:.0%} of capacity            {_percentiles(spaced)}")


def _lengths(server: Server, lengths: list[int]) -> None:
    """Print the processor time per second of audio by length."""
    spent = []
    for seconds in lengths:
        recording = ogg(speech(seconds))
        before = server.metric("process_cpu_seconds_total")
        _sent(server, recording)
        spent.append((server.metric("process_cpu_seconds_total") - before) / seconds)
    shown = ", ".join(f"{seconds} s: {each:.4f}" for seconds, each in zip(lengths, spent, strict=True))
    print(f"processor time per second of audio: {shown}; last/first {spent[-1] / spent[0]:.2f}")


def _streams(server: Server) -> None:
    """Print how many of several streams at once have the text that they have alone."""
    recordings = [speech(COMMAND_SECONDS + number / 4) for number in range(TOGETHER)]
    alone = [_streamed(server, each) for each in recordings]
    with ThreadPoolExecutor(TOGETHER) as clients:
        together = list(clients.map(lambda each: _streamed(server, each), recordings))
    equal = sum(one == other for one, other in zip(alone, together, strict=True))
    print(f"{TOGETHER} streams at once: {equal} with the text that they have alone, {sum(map(bool, alone))} with words")


def _memory(server: Server, requests: int) -> None:
    """Print how the resident memory grows."""
    command = wav(speech(COMMAND_SECONDS))
    _at_once(server, command, WARM_UP, TOGETHER)
    before = server.metric("process_resident_memory_bytes")
    _at_once(server, command, requests, TOGETHER)
    grown = server.metric("process_resident_memory_bytes") / before - 1
    print(f"{requests} requests: resident memory {before / 2**20:.0f} MiB, {grown:+.1%}")


def server_seconds(server: Server) -> float:
    """Return the time that recordings have waited and were decoded since the server started."""
    return server.metric("speechmodel_queue_seconds_sum") + server.metric("speechmodel_decoding_seconds_sum")


def speech(seconds: float) -> Pcm:
    """Return speech without end, cut to a length."""
    return np.resize(SPEECH, round(seconds * SAMPLE_RATE))


def wav(pcm: Pcm) -> bytes:
    """Return a wav file."""
    file = io.BytesIO()
    soundfile.write(file, pcm, SAMPLE_RATE, format="WAV", subtype="PCM_16")
    return file.getvalue()


def ogg(pcm: Pcm) -> bytes:
    """Return an Ogg file with Vorbis, so that an hour is a body that the server takes."""
    file = io.BytesIO()
    with soundfile.SoundFile(file, "w", SAMPLE_RATE, 1, format="OGG", subtype="VORBIS") as written:
        for start in range(0, len(pcm), SAMPLE_RATE):  # libsndfile cannot encode an hour at once
            written.write(pcm[start : start + SAMPLE_RATE])
    return file.getvalue()


def _sent(server: Server, recording: bytes) -> float:
    """Return the seconds until the answer. The client makes the form beforehand, and takes little time itself."""
    head = b'--form\r\nContent-Disposition: form-data; name="file"; filename="command.wav"\r\n\r\n'
    form = head + recording + b"\r\n--form--\r\n"
    began = time.perf_counter()
    with closing(HTTPConnection("127.0.0.1", server.port)) as connection:
        connection.request("POST", PATH, form, {"Content-Type": "multipart/form-data; boundary=form"})
        answer = connection.getresponse()
        text = answer.read()
    took = time.perf_counter() - began
    if answer.status != HTTPStatus.OK:
        raise RuntimeError(f"the server answered {answer.status}: {text.decode()}")
    return took


def _at_once(server: Server, recording: bytes, count: int, clients: int) -> tuple[list[float], float]:
    """Return the seconds of each answer, and of all."""
    began = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        took = list(pool.map(lambda _: _sent(server, recording), range(count)))
    return took, time.perf_counter() - began


def _spaced(server: Server, recording: bytes, count: int, every: float) -> list[float]:
    """Return the seconds from the time at which each recording should be sent to its answer."""
    began = time.perf_counter()

    def one(number: int) -> float:
        due = began + number * every
        time.sleep(max(0.0, due - time.perf_counter()))
        _sent(server, recording)
        return time.perf_counter() - due

    with ThreadPoolExecutor(4 * TOGETHER) as pool:
        return list(pool.map(one, range(count)))


def _streamed(server: Server, pcm: Pcm) -> str:
    """Return the text of a stream of the Vosk protocol."""
    texts = []
    with connect(f"{server.url.replace('http', 'ws')}/vosk", open_timeout=None) as socket:
        for start in range(0, len(pcm), SAMPLE_RATE // 10):
            socket.send(pcm[start : start + SAMPLE_RATE // 10].astype("<i2").tobytes())
            texts.append(json.loads(socket.recv()).get("text", ""))
        socket.send('{"eof": 1}')
        texts.append(json.loads(socket.recv())["text"])
    return " ".join(filter(None, texts))


def _percentiles(seconds: list[float]) -> str:
    p50, p95, p99 = 1000 * np.percentile(seconds, [50, 95, 99])
    return f"p50 {p50:6.0f}  p95 {p95:6.0f}  p99 {p99:6.0f}"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="The server under load.")
    parser.add_argument("--clips", type=int, default=40, help="commands of one client, and of each of eight")
    parser.add_argument("--longest", type=float, default=LENGTHS[-1], help="seconds of the longest recording")
    parser.add_argument("--requests", type=int, default=10_000, help="requests between which memory is compared")
    parser.add_argument("--small", action="store_true", help="use the network of the fixtures")
    given = parser.parse_args()
    main(given.clips, given.longest, given.requests, small=given.small)
