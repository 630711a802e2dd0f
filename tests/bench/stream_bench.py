"""Time from the end of a spoken command to its text in streams, on networks of 2048 and of 256 units.

    PYTHONPATH=tests python -m bench.stream_bench [commands] [--clients 1 4 8]

Commands of 2 s of speech are sent in chunks of 64 ms, as fast as they are spoken, in the Wyoming protocol and to a
realtime session. They end in three ways, in turns:

- with the last sample of the speech;
- with a silence that is sent as it passes, in which the server decodes the command;
- with the same silence, sent at its end and at once, so that the same samples are decoded after it.

The silence of Wyoming is that after which Home Assistant sends audio-stop by default (`VadSensitivity` of its
assist_pipeline). A realtime session ends the command itself, at the pause, so the time counts from the chunk with its
end. The weights are random, so that the search has nothing to do.

With `--clients`, only as many clients of Wyoming as each number says speak to the engine Native, at the same time.
"""

import argparse
import asyncio
import base64
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Protocol, Self

import numpy as np
from bench.engine_bench import UNITS
from bench.large_version import large_version
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.serving_spec import Engine
from speechmodel_decoding import Cutter
from speechmodel_runtime import Pcm, load
from support.ports import free_port
from support.servers import OK_ESPEJO, Server
from websockets.asyncio.client import ClientConnection, connect
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient

SMALL_UNITS = 256
SECONDS = 2.0
HOME_ASSISTANT_SECONDS = 0.7
CHUNK = 1024
"""Samples of a chunk of Home Assistant."""
LOUD = 500
"""Amplitude of the speech in the clip. The silence around it is left out."""


class Client(Protocol):
    """A stream to the server, for one command after another."""

    silence_seconds: float
    """Silence after a command that is decoded in it."""

    async def begin(self) -> None:
        """Begin a command."""

    async def send(self, chunk: bytes) -> None:
        """Send the next samples."""

    async def end(self) -> None:
        """Say that the audio ends."""

    async def text(self) -> None:
        """Wait for the words of the command."""


class Wyoming:
    """A connection of the Wyoming protocol. A command ends with audio-stop."""

    silence_seconds = HOME_ASSISTANT_SECONDS

    def __init__(self, client: AsyncTcpClient) -> None:
        self._client = client

    async def begin(self) -> None:
        """Begin a command."""
        await self._client.write_event(AudioStart(SAMPLE_RATE, 2, 1).event())

    async def send(self, chunk: bytes) -> None:
        """Send the next samples."""
        await self._client.write_event(AudioChunk(SAMPLE_RATE, 2, 1, chunk).event())

    async def end(self) -> None:
        """Send audio-stop."""
        await self._client.write_event(AudioStop().event())

    async def text(self) -> None:
        """Wait for the words of the command."""
        answer = await self._client.read_event()
        if answer is None or not Transcript.is_type(answer.type):
            raise RuntimeError(f"the server answered with {answer}")


class Realtime:
    """A realtime session. A command ends with a commit, or at a pause."""

    def __init__(self, socket: ClientConnection, silence_seconds: float) -> None:
        self._socket, self.silence_seconds = socket, silence_seconds

    async def begin(self) -> None:
        """Forget the silence after the command before."""
        audio = {"input": {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}}}
        await self._event("input_audio_buffer.clear")
        await self._event("session.update", session={"type": "transcription", "audio": audio})

    async def send(self, chunk: bytes) -> None:
        """Send the next samples."""
        await self._event("input_audio_buffer.append", audio=base64.b64encode(chunk).decode())

    async def end(self) -> None:
        """Commit the audio."""
        await self._event("input_audio_buffer.commit")

    async def text(self) -> None:
        """Wait for the words of the command."""
        kind = ""
        while not kind.endswith("transcription.completed"):
            answer = json.loads(await self._socket.recv())
            kind = answer["type"]
            if kind == "error" or kind.endswith("failed"):
                raise RuntimeError(f"the server answered with {answer}")

    async def _event(self, kind: str, **fields: object) -> None:
        await self._socket.send(json.dumps({"type": kind, **fields}))


class Figures:
    """The times of commands that end in one way."""

    def __init__(self) -> None:
        self._milliseconds: list[float] = []
        self._cpu_seconds: list[float] = []

    async def of(self, server: Server, command: Awaitable[float]) -> None:
        """Add a command."""
        before = await asyncio.to_thread(server.metric, "process_cpu_seconds_total")
        took = await command
        self._cpu_seconds.append(await asyncio.to_thread(server.metric, "process_cpu_seconds_total") - before)
        self._milliseconds.append(1000 * took)

    @property
    def median(self) -> float:
        """Milliseconds."""
        return float(np.median(self._milliseconds))

    def __str__(self) -> str:
        p95 = np.percentile(self._milliseconds, 95)
        least, most = min(self._milliseconds), max(self._milliseconds)
        return f"{self.median:8.0f}{p95:8.0f}{least:8.0f}{most:8.0f}{1000 * np.median(self._cpu_seconds):10.0f}"


class Streams:
    """A server with both protocols."""

    def __init__(self, folder: Path, engine: Engine) -> None:
        self._port = free_port()
        settings = {"wyoming_listen": f"127.0.0.1:{self._port}", "engine": engine.value, "log_level": "WARNING"}
        self._server = Server(folder, folder / "server.log", settings)

    def __enter__(self) -> Self:
        self._server.until_ready()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.stop()

    async def measure(self, commands: int) -> dict[str, list[Figures]]:
        """Return by protocol the figures of the ways in which commands end."""
        speech = spoken()
        pause = pause_seconds(speech)
        async with AsyncTcpClient("127.0.0.1", self._port) as client:
            wyoming = await self._figures(Wyoming(client), speech, commands, stops=True)
        async with connect(f"{self._server.url.replace('http', 'ws')}/v1/realtime") as socket:
            realtime = await self._figures(Realtime(socket, pause), speech, commands, stops=False)
        return {"Wyoming": wyoming, "realtime": realtime}

    async def together(self, clients: int, commands: int) -> tuple[list[float], float]:
        """Return the seconds after each command of clients of Wyoming that speak at the same time, and the processor time of
        the server for each second of audio.
        """
        speech, silence = spoken(), np.zeros(round(HOME_ASSISTANT_SECONDS * SAMPLE_RATE), np.int16)
        async with AsyncExitStack() as stack:
            speaking = [
                Wyoming(await stack.enter_async_context(AsyncTcpClient("127.0.0.1", self._port)))
                for _ in range(clients)
            ]

            async def spoken_by_all() -> list[float]:
                return await asyncio.gather(*(_spoken(each, speech, silence, CHUNK, each.end) for each in speaking))

            await spoken_by_all()  # the first ones, which warm the server up
            before = await asyncio.to_thread(self._server.metric, "process_cpu_seconds_total")
            took = [seconds for _ in range(commands) for seconds in await spoken_by_all()]
            cpu = await asyncio.to_thread(self._server.metric, "process_cpu_seconds_total") - before
        return took, cpu * SAMPLE_RATE / (len(took) * (len(speech) + len(silence)))

    async def _figures(self, client: Client, speech: Pcm, commands: int, *, stops: bool) -> list[Figures]:
        nothing = np.zeros(0, np.int16)
        silence = np.zeros(round(client.silence_seconds * SAMPLE_RATE), np.int16)
        end = client.end if stops else None
        ways = [(nothing, CHUNK, client.end), (silence, CHUNK, end), (silence, len(silence), end)]
        await _spoken(client, speech, nothing, CHUNK, client.end)  # the first one, which warms the server up
        figures = [Figures() for _ in ways]
        for _ in range(commands):
            for figure, (after, chunk, ends) in zip(figures, ways, strict=True):
                await figure.of(self._server, _spoken(client, speech, after, chunk, ends))
        return figures


async def _spoken(
    client: Client, speech: Pcm, silence: Pcm, chunk: int, ends: Callable[[], Awaitable[None]] | None
) -> float:
    """Return the seconds from the end of a command to its words. `chunk` is the size of the chunks of the silence."""
    await client.begin()
    began, sent = time.perf_counter(), 0
    for pcm, size in ((speech, CHUNK), (silence, chunk)):
        for start in range(0, len(pcm), size):
            samples = pcm[start : start + size]
            sent += len(samples)
            await asyncio.sleep(began + sent / SAMPLE_RATE - time.perf_counter())
            await client.send(samples.astype("<i2").tobytes())
    ended = time.perf_counter()
    if ends is not None:
        await ends()
    await client.text()
    return time.perf_counter() - ended


def spoken() -> Pcm:
    """Return speech without silence."""
    clip = load(OK_ESPEJO)
    loud = np.flatnonzero(np.abs(clip.astype(int)) > LOUD)
    return np.resize(clip[loud[0] : loud[-1]], round(SECONDS * SAMPLE_RATE))


def pause_seconds(speech: Pcm) -> float:
    """Return the silence after speech at whose end the server has heard a pause."""
    cutter, silence = Cutter(), 0
    if list(cutter.feed(speech)):
        raise RuntimeError("there is a pause in the speech")
    while not list(cutter.feed(np.zeros(CHUNK, np.int16))):
        silence += CHUNK
    return (silence + CHUNK) / SAMPLE_RATE


def main(commands: int, clients: Sequence[int] = ()) -> None:
    """Measure and print."""
    if clients:
        _together(clients, commands)
        return
    for units in (UNITS, SMALL_UNITS):
        _compare(units, commands)


def _compare(units: int, commands: int) -> None:
    """Measure and print the figures of a network."""
    print(f"{units} units, {commands} commands of {SECONDS:g} s; milliseconds from their end to the text")
    print(f"{'':40}{'median':>8}{'p95':>8}{'least':>8}{'most':>8}{'processor':>10}")
    with large_version(units) as folder:
        for engine in (Engine.DEEP_SPEECH, Engine.NATIVE):
            with Streams(folder, engine) as streams:
                measured = asyncio.run(streams.measure(commands))
            for protocol, figures in measured.items():
                for way, figure in zip(("speech", "silence", "silence at once"), figures, strict=True):
                    print(f"{engine.value:12} {protocol:9} {way:17}{figure}")
                _, silence, at_once = figures
                print(f"{engine.value:12} {protocol:9} in it/after it   {silence.median / at_once.median:8.2f}")


def _together(clients: Sequence[int], commands: int) -> None:
    """Measure and print the figures of several clients of Wyoming."""
    print(f"Native, {UNITS} units, {commands} commands of {SECONDS:g} s for each client of Wyoming; milliseconds")
    print(f"{'clients':>8}{'median':>8}{'p95':>8}{'processor time for a second of audio':>40}")
    with large_version(UNITS) as folder:
        for each in clients:
            with Streams(folder, Engine.NATIVE) as streams:
                took, cpu = asyncio.run(streams.together(each, commands))
            print(f"{each:8}{1000 * np.median(took):8.0f}{1000 * np.percentile(took, 95):8.0f}{1000 * cpu:40.0f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("commands", type=int, nargs="?", default=20)
    parser.add_argument("--clients", type=int, nargs="+", default=())
    asked = parser.parse_args()
    main(asked.commands, asked.clients)
