"""A client's pings are answered while its audio is decoded, on the app without a model."""

import asyncio
import base64
import json
import logging
import socket
import threading
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import uvicorn
from fastapi import WebSocketDisconnect
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_inference.app import create_app
from speechmodel_inference.connections import limited
from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.sockets import AHEAD, EACH, read_ahead, received
from speechmodel_inference.version import ServedVersion
from speechmodel_runtime import Pcm, load
from starlette.types import Message
from support.servers import OK_ESPEJO
from uvicorn.server import ServerState
from websockets.asyncio.client import connect

HANGS = 120
SPEECH = np.concatenate([load(OK_ESPEJO), np.zeros(SAMPLE_RATE, np.int16)]).tobytes()
MORE = bytes(SAMPLE_RATE // 5), 50
"""Messages that uvicorn does not read at once."""


class Decoder:
    """Decodes until it is told to go on."""

    takes_hot_words = True

    def __init__(self) -> None:
        self.begun, self.go_on = threading.Event(), threading.Event()

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions) -> DecodedUtterance:
        self.begun.set()
        self.go_on.wait()
        return DecodedUtterance("ok")


@asynccontextmanager
async def served(decoder: Decoder, folder: Path) -> AsyncIterator[int]:
    """Serve, and yield the port."""
    app = create_app(Settings(folder=folder))
    services: Services = app.state.services
    fake = SimpleNamespace(manifest=SimpleNamespace(speech_level=-26.0, language="es"), decoder=decoder)
    services.lifecycle._version = cast(ServedVersion, fake)
    http, websocket = limited(services.settings, services.connections, lambda _: None)
    config = uvicorn.Config(app, http=http, ws=websocket, lifespan="off", log_config=None)
    config.load()
    listening = socket.create_server(("127.0.0.1", 0))
    server = await asyncio.get_running_loop().create_server(
        lambda: http(config=config, server_state=ServerState(), app_state={}), sock=listening
    )
    async with server:
        yield listening.getsockname()[1]


@pytest.mark.parametrize("path", ["vosk", "v1/realtime"])
async def test_a_ping_behind_audio_is_answered_while_something_is_decoded(path: str, tmp_path: Path) -> None:
    decoder = Decoder()
    async with (
        served(decoder, tmp_path) as port,
        connect(f"ws://127.0.0.1:{port}/{path}", ping_interval=None) as client,
        asyncio.timeout(HANGS),
    ):
        for message in (SPEECH, *[MORE[0]] * MORE[1]):
            await client.send(message if path == "vosk" else _appended(message))
        assert await asyncio.to_thread(decoder.begun.wait, HANGS)
        try:
            await (await client.ping())
        finally:
            decoder.go_on.set()


def _appended(samples: bytes) -> str:
    return json.dumps({"type": "input_audio_buffer.append", "audio": base64.b64encode(samples).decode()})


class Client:
    """Has messages, and leaves after them."""

    def __init__(self, *messages: bytes) -> None:
        self.left: deque[Message] = deque({"type": "websocket.receive", "bytes": each} for each in messages)
        self.left.append({"type": "websocket.disconnect", "code": 1001})

    async def receive(self) -> Message:
        await asyncio.sleep(0)
        return self.left.popleft()


async def test_no_more_is_read_ahead_than_memory_is_for() -> None:
    client = Client(*[bytes(AHEAD // 4 - EACH)] * 20)
    async with read_ahead(client) as messages, asyncio.timeout(HANGS):
        for taken in range(1, 21):
            assert len((await received(messages, HANGS))["bytes"]) == AHEAD // 4 - EACH
            for _ in range(100):
                await asyncio.sleep(0)
            assert len(client.left) == max(0, 21 - taken - 5)
        with pytest.raises(WebSocketDisconnect) as left:
            await received(messages, HANGS)
        assert left.value.code == 1001


async def test_messages_without_content_are_read_ahead_within_bounds_too() -> None:
    client = Client(*[b""] * 100_000)
    async with read_ahead(client):
        for _ in range(2 * AHEAD // EACH):
            await asyncio.sleep(0)
        assert len(client.left) == 100_001 - (AHEAD // EACH + 1)


async def test_a_text_is_as_large_as_its_bytes() -> None:
    client = Client()
    text: Message = {"type": "websocket.receive", "text": "é" * (AHEAD // 2)}
    client.left.extendleft([text] * 3)
    async with read_ahead(client):
        for _ in range(100):
            await asyncio.sleep(0)
        assert len(client.left) == 3


async def test_an_error_while_reading_ahead_is_the_end_is_logged_and_keeps_nobody_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = Client(b"samples")
    client.left.pop()
    async with read_ahead(client) as messages, asyncio.timeout(HANGS):
        assert (await received(messages, HANGS))["bytes"] == b"samples"
        with pytest.raises(WebSocketDisconnect):
            await received(messages, HANGS)
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert [record.exc_info is not None and record.exc_info[0] for record in errors] == [IndexError]
