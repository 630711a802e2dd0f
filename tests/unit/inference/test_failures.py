"""Failures of the server are counted once, however a client is told, on the app without a model."""

import asyncio
import base64
import io
import socket
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.decoders import DecodedUtterance
from speechmodel_inference.errors import ShuttingDown
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.transcribing import Segment, Transcript
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wyoming_server import serve_wyoming
from speechmodel_runtime import load
from speechmodel_runtime.errors import AudioTooShort, DecodingFailed
from starlette.testclient import TestClient
from support.servers import OK_ESPEJO
from wyoming.event import Event, async_read_event, async_write_event

SPEECH = load(OK_ESPEJO).tobytes()
SEGMENT = Segment(0.0, 1.0, "uno", (), (), (0.0, 1.0))
FAULT = DecodingFailed("no memory", 1)


class Version:
    """A version whose decoder fails with an error, if there is one."""

    takes_hot_words = True

    def __init__(self, error: Exception | None) -> None:
        self.manifest = SimpleNamespace(language="es", version="1", speech_level=-26.0)
        self.decoder, self._error = self, error

    def decode(self, *_: object, **__: object) -> DecodedUtterance:
        if self._error is not None:
            raise self._error
        return DecodedUtterance("uno")

    def transcribe(self, *_: object, heard: Callable[[Segment], None], **__: object) -> Transcript:
        heard(SEGMENT)
        if self._error is not None:
            raise self._error
        return Transcript(1.0, (SEGMENT,))


def counts(services: Services) -> tuple[float | None, float | None]:
    """Return the numbers of transcriptions that were answered, and that failed."""
    get, name = services.telemetry.registry.get_sample_value, "speechmodel_transcriptions_total"
    return get(name, {"outcome": "answered"}), get(name, {"outcome": "failed"})


def post(client: TestClient) -> None:
    client.post("/v1/audio/transcriptions", files={"file": io.BytesIO(b"sound")})


def post_to_stt(client: TestClient) -> None:
    client.post("/stt", content=b"sound")


def post_streamed(client: TestClient) -> None:
    client.post("/v1/audio/transcriptions", files={"file": io.BytesIO(b"sound")}, data={"stream": "true"})


def vosk(client: TestClient) -> None:
    with client.websocket_connect("/vosk") as stream:
        stream.send_json({"config": {"sample_rate": 16000}})
        stream.send_bytes(SPEECH)
        if "error" not in stream.receive_json():
            stream.send_json({"eof": 1})
            stream.receive_json()


def a_file_to_a_socket(client: TestClient) -> None:
    with client.websocket_connect("/api/v1/stt") as stream:
        stream.send_bytes(b"sound")
        stream.receive_json()


def realtime(client: TestClient, turn_detection: dict[str, str] | None) -> None:
    with client.websocket_connect("/v1/realtime") as stream:
        audio = {"input": {"turn_detection": turn_detection}}
        stream.send_json({"type": "session.update", "session": {"type": "transcription", "audio": audio}})
        stream.send_json({"type": "input_audio_buffer.append", "audio": base64.b64encode(SPEECH).decode()})
        stream.send_json({"type": "input_audio_buffer.commit"})
        while not stream.receive_json()["type"].endswith((".completed", ".failed")):
            pass


def realtime_turns(client: TestClient) -> None:
    realtime(client, {"type": "server_vad"})


def realtime_buffer(client: TestClient) -> None:
    realtime(client, None)


RECORDINGS = (post, post_to_stt, post_streamed, a_file_to_a_socket, realtime_buffer)
OUTCOMES = ((None, (1, 0)), (FAULT, (0, 1)), (AudioTooShort("take.wav", "is too short"), (0, 0)))


@pytest.mark.parametrize(
    ("send", "error", "counted"),
    [
        *((send, *outcome) for send in (*RECORDINGS, vosk, realtime_turns) for outcome in OUTCOMES),
        *((send, ShuttingDown(), (0, 0)) for send in RECORDINGS),
    ],
)
def test_every_way_to_send_a_recording_is_counted(
    send: Callable[[TestClient], None], error: Exception | None, counted: tuple[int, int], tmp_path: Path
) -> None:
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    services.lifecycle._version = cast(ServedVersion, Version(error))
    send(TestClient(app))
    assert counts(services) == counted


@pytest.mark.parametrize("send", [post, post_streamed])
def test_an_unexpected_error_is_counted_also_after_an_answer_has_begun(
    send: Callable[[TestClient], None], tmp_path: Path
) -> None:
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    services.lifecycle._version = cast(ServedVersion, Version(RuntimeError("a fault")))
    send(TestClient(app, raise_server_exceptions=False))
    assert counts(services) == (0, 1)


async def wyoming(services: Services, *events: Event) -> list[Event]:
    """Send events, and return what a server answers until it closes the connection."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        async with serve_wyoming(services, listening, 2.0):
            reader, writer = await asyncio.open_connection(*listening.getsockname())
            for event in events:
                await async_write_event(event, writer)
            writer.write_eof()
            answers = []
            while (answer := await async_read_event(reader)) is not None:
                answers.append(answer)
            writer.close()
            return answers


AUDIO: dict[str, Any] = {"rate": 16_000, "width": 2, "channels": 1}
SPOKEN = (Event("audio-start", AUDIO), Event("audio-chunk", AUDIO, SPEECH), Event("audio-stop"))


@pytest.mark.parametrize(
    ("error", "counted", "code"),
    [(None, (1, 0), 1000), (FAULT, (0, 1), 1011), (RuntimeError("a fault"), (0, 1), 1011)],
    ids=["answered", "fault", "unexpected"],
)
async def test_a_connection_of_wyoming_is_counted(
    error: Exception | None, counted: tuple[int, int], code: int, tmp_path: Path
) -> None:
    services = Services.make(Settings(folder=tmp_path))
    services.lifecycle._version = cast(ServedVersion, Version(error))
    await wyoming(services, *SPOKEN)
    assert counts(services) == counted
    streams = services.telemetry.registry.get_sample_value
    assert streams("speechmodel_streams_total", {"path": "wyoming", "code": str(code)}) == 1


async def test_a_connection_without_audio_is_no_transcription(tmp_path: Path) -> None:
    services = Services.make(Settings(folder=tmp_path))
    services.lifecycle._version = cast(ServedVersion, Version(None))
    assert [event.type for event in await wyoming(services, Event("ping"))] == ["pong"]
    assert counts(services) == (0, 0)
