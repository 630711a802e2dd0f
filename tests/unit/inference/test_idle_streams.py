"""Streams whose client sends nothing give their places back after a time of their own, on the app without a model."""

import socket
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wyoming_server import serve_wyoming
from starlette.testclient import TestClient
from wyoming.audio import AudioStart
from wyoming.client import AsyncTcpClient
from wyoming.error import Error

HOUR = 3600


def services_of(folder: Path, **settings: float) -> tuple[TestClient, Services]:
    app = create_app(Settings.model_validate({"folder": folder, **settings}))
    services: Services = app.state.services
    manifest, decoder = SimpleNamespace(speech_level=-26.0, language="es"), SimpleNamespace(takes_hot_words=True)
    fake = SimpleNamespace(manifest=manifest, decoder=decoder)
    services.lifecycle._version = cast(ServedVersion, fake)
    return TestClient(app), services


@pytest.mark.parametrize("path", ["/vosk", "/v1/realtime"])
def test_a_stream_without_messages_ends_however_long_a_body_may_take(path: str, tmp_path: Path) -> None:
    client, services = services_of(tmp_path, stream_idle_seconds=0.1, upload_seconds=HOUR)
    with client.websocket_connect(path) as stream:
        if path == "/v1/realtime":
            stream.receive_json()
        assert "No message came for 0.1 s" in stream.receive_text()
        assert stream.receive()["code"] == 1008
        assert services.queue.taken == 0


async def test_a_connection_of_wyoming_without_events_ends_too(tmp_path: Path) -> None:
    _, services = services_of(tmp_path, stream_idle_seconds=0.1, upload_seconds=HOUR)
    listening = socket.create_server(("127.0.0.1", 0))
    async with (
        serve_wyoming(services, listening, 0.1),
        AsyncTcpClient("127.0.0.1", listening.getsockname()[1]) as client,
    ):
        await client.write_event(AudioStart(16_000, 2, 1).event())
        answer = await client.read_event()
        assert answer is not None and "No event came for 0.1 s" in Error.from_event(answer).text


def test_a_file_in_a_message_may_take_as_long_as_a_body(tmp_path: Path) -> None:
    client, _ = services_of(tmp_path, stream_idle_seconds=HOUR, upload_seconds=0.1)
    with client.websocket_connect("/api/v1/stt") as stream:
        assert "No message came for 0.1 s" in stream.receive_text()
