"""The three protocols of streams use the words that were decoded in a pause, on the app without a model."""

import base64
import socket
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_inference import live
from speechmodel_inference.app import create_app
from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wyoming_server import serve_wyoming
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import DecodingFailed
from starlette.testclient import TestClient, WebSocketTestSession
from support.servers import OK_ESPEJO
from wyoming.asr import Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.client import AsyncTcpClient
from wyoming.ping import Ping

PIECE = SAMPLE_RATE // 20


class Decoder:
    """Hears the last word once there is silence behind it, and remembers what it was asked."""

    takes_hot_words = True

    def __init__(self) -> None:
        self.options: list[DecodingOptions] = []
        self.error: DecodingFailed | None = None

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions) -> DecodedUtterance:
        self.options.append(options)
        if self.error is not None:
            raise self.error
        silent = np.abs(pcm[-SAMPLE_RATE // 5 :].astype(int)).max() < 500
        return DecodedUtterance("ok espejo" if silent else "ok")


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture
def services(decoder: Decoder, client: TestClient) -> Services:
    return cast(Services, client.app.state.services)  # type: ignore[attr-defined]


@pytest.fixture
def client(decoder: Decoder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(live, "time", SimpleNamespace(monotonic=lambda: 0.0))  # a decoding takes no time
    app = create_app(Settings(folder=tmp_path))
    manifest = SimpleNamespace(speech_level=-26.0, language="es")
    fake = cast(ServedVersion, SimpleNamespace(manifest=manifest, decoder=decoder))
    app.state.services.lifecycle._version = fake
    return TestClient(app)


def speech_and_silence() -> Iterator[bytes]:
    """Yield a command and less silence than ends it."""
    pcm = np.concatenate([load(OK_ESPEJO), np.zeros(SAMPLE_RATE // 5, np.int16)])
    for start in range(0, len(pcm), PIECE):
        yield pcm[start : start + PIECE].tobytes()


def test_vosk(client: TestClient, decoder: Decoder) -> None:
    with client.websocket_connect("/vosk") as stream:
        stream.send_json({"config": {"max_alternatives": 3}})
        for piece in speech_and_silence():
            stream.send_bytes(piece)
            assert stream.receive_json()["partial"] in ("", "ok", "ok espejo")
        decoded = len(decoder.options)
        stream.send_json({"eof": 1})
        assert stream.receive_json()["alternatives"][0]["text"] == "ok espejo"
    assert len(decoder.options) == decoded >= 1


async def test_wyoming(decoder: Decoder, services: Services) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with (
            serve_wyoming(services, listening, 2.0),
            AsyncTcpClient("127.0.0.1", listening.getsockname()[1]) as client,
        ):
            await client.write_event(AudioStart(SAMPLE_RATE, 2, 1).event())
            for piece in speech_and_silence():
                await client.write_event(AudioChunk(SAMPLE_RATE, 2, 1, piece).event())
            await client.write_event(Ping().event())
            await client.read_event()
            assert len(decoder.options) == 1, "nothing is decoded while somebody speaks"
            await client.write_event(AudioStop().event())
            answer = await client.read_event()
            assert answer is not None
            assert Transcript.from_event(answer).text == "ok espejo"
    assert len(decoder.options) == 1


def until(stream: WebSocketTestSession, *last: str) -> list[dict[str, Any]]:
    """Return the events up to one of some types."""
    events: list[dict[str, Any]] = []
    while not events or events[-1]["type"] not in last:
        events.append(stream.receive_json())
    return events


def spoken(stream: WebSocketTestSession) -> list[dict[str, Any]]:
    """Append a command and less silence than ends it, and return the events once it is heard."""
    audio: dict[str, Any] = {"input": {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}}}
    stream.send_json({"type": "session.update", "session": {"type": "transcription", "audio": audio}})
    for piece in speech_and_silence():
        stream.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(piece).decode()})
    until(stream, "session.updated")
    asked(stream, "")
    return until(stream, "session.updated")


def asked(stream: WebSocketTestSession, prompt: str) -> None:
    audio = {"input": {"transcription": {"prompt": prompt}}}
    stream.send_json({"type": "session.update", "session": {"type": "transcription", "audio": audio}})


@pytest.mark.parametrize(("prompt", "more"), [("", 0), ("espejo", 1)], ids=["as asked", "with another prompt"])
def test_realtime(prompt: str, more: int, client: TestClient, decoder: Decoder) -> None:
    with client.websocket_connect("/v1/realtime") as stream:
        events = spoken(stream)
        deltas = [event["delta"] for event in events if event["type"].endswith(".delta")]
        assert "".join(deltas) == "ok", "the words on which two decodings agree, since somebody may go on"
        decoded = len(decoder.options)
        asked(stream, prompt)
        stream.send_json({"type": "input_audio_buffer.commit"})
        events = until(stream, "conversation.item.input_audio_transcription.completed")
        assert events[-1]["transcript"] == "ok espejo"
    assert len(decoder.options) == decoded + more
    assert {options.hot_words for options in decoder.options[decoded:]} == ({("espejo",)} if more else set())


def test_an_error_in_a_pause_fails_the_item_once(client: TestClient, decoder: Decoder, services: Services) -> None:
    decoder.error = DecodingFailed("no memory", 1)
    failed = "conversation.item.input_audio_transcription.failed"
    with client.websocket_connect("/v1/realtime") as stream:
        events = spoken(stream)
        assert decoder.options
        stream.send_json({"type": "input_audio_buffer.commit"})
        events += until(stream, failed)
        decoder.error = None
        stream.send_json({"type": "input_audio_buffer.clear"})
        events += until(stream, "input_audio_buffer.cleared")
    assert [event["type"] for event in events if event["type"] in (failed, "error")] == [failed]
    assert services.telemetry.registry.get_sample_value("speechmodel_transcriptions_total", {"outcome": "failed"}) == 1
