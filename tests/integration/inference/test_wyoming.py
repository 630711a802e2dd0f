"""The Wyoming protocol, by the client of the package `wyoming`."""

import asyncio
import json
import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from speechmodel_inference.connections import LINGER_SECONDS
from speechmodel_runtime import Pcm, load
from support.ports import free_port
from support.servers import BOTH_ENGINES, HANGS, OK_ESPEJO, PHRASES, Server, Start, VersionFolder
from support.waiting import Pace, in_pace
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.error import Error
from wyoming.event import Event
from wyoming.info import Describe, Info
from wyoming.ping import Ping, Pong


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, mapped: Path, port: int, engine: str) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("wyoming")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*PHRASES, quien=("hija", "hijo"))
    if engine == "Native":
        folder.decode_natively()
    with Server(folder.path, base / "server.log", {"wyoming_listen": f"127.0.0.1:{port}", "waiting": "1"}) as server:
        yield server.until_ready()


async def read(client: AsyncTcpClient) -> Event | None:
    return await asyncio.wait_for(client.read_event(), HANGS)


async def send(client: AsyncTcpClient, pcm: Pcm, *, rate: int = 16_000, channels: int = 1) -> None:
    """Send a recording in chunks, as Home Assistant does."""
    await client.write_event(AudioStart(rate, 2, channels).event())
    raw = pcm.astype("<i2").tobytes()
    for start in range(0, len(raw), 2048):
        await client.write_event(AudioChunk(rate, 2, channels, raw[start : start + 2048]).event())
    await client.write_event(AudioStop().event())


async def transcribed(client: AsyncTcpClient, pcm: Pcm, *, channels: int = 1) -> str:
    await send(client, pcm, channels=channels)
    answer = await read(client)
    assert answer is not None
    assert Transcript.is_type(answer.type), answer
    return Transcript.from_event(answer).text


async def test_the_model_is_described(server: Server, port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Describe().event())
        answer = await read(client)
        await client.write_event(Ping("there?").event())
        pong = await read(client)
    assert answer is not None
    assert pong is not None
    assert Pong.from_event(pong).text == "there?"
    (program,) = Info.from_event(answer).asr
    (model,) = program.models
    assert (model.name, model.version, model.languages, model.installed) == (
        "espejo",
        "0123abcd",
        ["es-CL", "es"],
        True,
    )


@BOTH_ENGINES
async def test_recordings_are_transcribed_one_after_another(server: Server, port: int) -> None:
    clip, counted = load(OK_ESPEJO), server.metric("speechmodel_audio_seconds_total")
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(Transcribe(name="espejo", language="es").event())
        assert await transcribed(client, clip) == "ok espejo"
        assert "PromptUnused" not in server.log.read_text(encoding="utf-8")
        await client.write_event(Transcribe(transcript_names=["espejo"]).event())
        assert await transcribed(client, np.zeros(16_000, np.int16)) == ""
        assert await transcribed(client, np.repeat(clip, 2), channels=2) == "ok espejo"
        assert await transcribed(client, np.zeros(0, np.int16)) == ""
    unused = (
        "wyoming: PromptUnused: The list of transcript_names and transcript_terms has no effect on version 0123abcd"
    )
    assert unused in server.log.read_text(encoding="utf-8")
    assert 0.5 < server.metric("speechmodel_audio_seconds_total") - counted <= 2 * len(clip) / 16_000
    server.until_metric("speechmodel_requests_in_flight", 0)
    server.until(lambda: server.metric("speechmodel_streams_total", code="1000", path="wyoming") >= 1, "it is counted")


@pytest.mark.parametrize(
    ("event", "says"),
    [
        (Transcribe(name="other").event(), "this server has 'espejo'"),
        (Transcribe(language="en").event(), "recognises es-CL, not 'en'"),
        (Event("transcribe", {"language": 5}), "transcribe: language"),
        (Event("transcribe", {"transcript_names": [1]}), "transcribe: transcript_names"),
        (AudioStart(100, 2, 1).event(), "audio-start: rate"),
        (AudioStart(16_000, 4, 1).event(), "audio-start: width"),
        (AudioStart(16_000, 2, 0).event(), "audio-start: channels"),
        (Event("audio-chunk", {}, b"0000"), "audio-chunk: rate"),
        (Event("audio-chunk", {"rate": 16_000}, bytes(2 << 20)), "payload_length"),
    ],
)
async def test_an_event_that_cannot_be_used_is_answered_by_an_error(
    event: Event, says: str, server: Server, port: int
) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(event)
        answer = await read(client)
        assert answer is not None
        assert says in Error.from_event(answer).text
        assert await read(client) is None, "the connection is closed"
    server.until_metric("speechmodel_requests_in_flight", 0)


async def test_audio_that_changes_its_format_on_the_way_is_answered_by_an_error(server: Server, port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(AudioStart(16_000, 2, 1).event())
        await client.write_event(AudioChunk(16_000, 2, 1, bytes(2048)).event())
        await client.write_event(Event("audio-chunk", {}, bytes(2048)))
        await client.write_event(AudioChunk(48_000, 2, 1, bytes(2048)).event())
        answer = await read(client)
    assert answer is not None
    assert "its format differs from that of the audio before" in Error.from_event(answer).text


@pytest.mark.parametrize(
    "sent",
    [
        b"no json\n",
        b"[]\n",
        b'{"type": "describe", "data_length": -1}\n',
        b'{"type": "describe", "data_length": 2}\n[]',
        b'{"type": "describe", "data": 5}\n',
        b"x" * (1 << 18),
    ],
)
def test_bytes_that_are_no_event_are_answered_by_an_error(sent: bytes, server: Server, port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as connection:
        connection.sendall(sent)
        assert json.loads(connection.makefile().readline())["type"] == "error"
    assert server.get("/livez").status_code == 200
    assert "Traceback" not in server.log.read_text()


async def test_a_client_that_leaves_gives_its_place_back(server: Server, port: int) -> None:
    async with AsyncTcpClient("127.0.0.1", port) as client:
        await client.write_event(AudioStart(16_000, 2, 1).event())
        await asyncio.to_thread(server.until_metric, "speechmodel_requests_in_flight", 1)
    await asyncio.to_thread(server.until_metric, "speechmodel_requests_in_flight", 0)


async def test_one_stream_too_many_is_told_to_come_back(start: Start, port: int) -> None:
    own = free_port()
    server = start(wyoming_listen=f"127.0.0.1:{own}", decoders=1, waiting=0)
    await asyncio.to_thread(server.until_ready)
    async with AsyncTcpClient("127.0.0.1", own) as first, AsyncTcpClient("127.0.0.1", own) as second:
        await first.write_event(AudioStart(16_000, 2, 1).event())
        await asyncio.to_thread(server.until_metric, "speechmodel_requests_in_flight", 1)
        await second.write_event(AudioStart(16_000, 2, 1).event())
        answer = await read(second)
        assert answer is not None
        assert Error.from_event(answer).code == "queue_full"
        server.terminate()
        server.terminate()
        answer = await read(first)
        assert answer is not None
        assert Error.from_event(answer).code == "shutting_down"
        assert await read(first) is None, "streams end with the server"
    assert await asyncio.to_thread(server.until_ended) == 0
    assert "closed a connection during a recording, because the server is shutting down" in server.log.read_text()


def test_a_connection_too_many_is_told_so_though_it_sends_audio_at_once(start: Start) -> None:
    own = free_port()
    server = start(wyoming_listen=f"127.0.0.1:{own}", connections=1).until_ready()

    def connect_twice(pace: Pace) -> None:
        server.until(lambda: connects(own), "the connections before have ended")
        asyncio.run(refused(own, pace))

    in_pace(connect_twice, LINGER_SECONDS - 1)
    assert "Traceback" not in server.log.read_text()


async def refused(port: int, pace: Pace) -> None:
    """Take the one connection that a server has, and be refused a second one."""
    async with AsyncTcpClient("127.0.0.1", port) as first:
        await first.write_event(Ping().event())
        assert await read(first), "one is for Wyoming"
        for _ in range(20):  # some leave at once
            with socket.create_connection(("127.0.0.1", port)) as leaving:
                leaving.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        async with AsyncTcpClient("127.0.0.1", port) as second:
            pace.step()
            await second.write_event(AudioStart(16_000, 2, 1).event())
            for _ in range(5):  # it fails when the server has closed the connection
                await second.write_event(AudioChunk(16_000, 2, 1, bytes(2048)).event())
                await asyncio.sleep(0.1)
                pace.step()
            answer = await read(second)
            assert answer is not None
            assert Error.from_event(answer).code == "too_many_connections"
            assert "its limit of 1 " in Error.from_event(answer).text


def connects(port: int) -> bool:
    """Return True if the server talks to a new connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=HANGS) as connection:
        connection.sendall(b'{"type": "ping"}\n')
        return bool(json.loads(connection.makefile().readline())["type"] == "pong")


def test_audio_counts_as_requests_of_a_load_balancer_that_has_not_noticed(start: Start) -> None:
    clip, lame_duck = load(OK_ESPEJO), 8

    async def speak(port: int) -> None:
        async with AsyncTcpClient("127.0.0.1", port) as client:
            assert "espejo" in await transcribed(client, clip)

    def go_on_speaking(pace: Pace) -> None:
        own = free_port()
        server = start(wyoming_listen=f"127.0.0.1:{own}", lame_duck_seconds=lame_duck).until_ready()
        server.terminate()
        began = time.monotonic()
        while time.monotonic() < began + 2 * lame_duck:
            pace.step()
            asyncio.run(speak(own))
            assert server.get("/livez").status_code == 200
            time.sleep(0.3)

    in_pace(go_on_speaking, lame_duck - 2)


def test_a_port_that_is_taken_ends_it_with_a_sentence(start: Start) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = start(wyoming_listen=f"127.0.0.1:{taken.getsockname()[1]}")
        assert server.until_ended() == 78
    assert "Address already in use" in server.log.read_text()


async def test_a_connection_that_is_open_at_the_end_is_no_error(start: Start) -> None:
    at = free_port()
    server = start(wyoming_listen=f"127.0.0.1:{at}", lame_duck_seconds=0).until_ready()
    async with AsyncTcpClient("127.0.0.1", at) as client:
        await client.write_event(Ping().event())
        assert await read(client)
        server.terminate()
        assert await read(client) is None
    assert server.until_ended() == 0
    assert "Traceback" not in server.log.read_text()
