"""An answer of server-sent events whose client leaves, on the app without a network."""

import asyncio
import logging
import threading
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.decoders import DecodingOptions, require_client
from speechmodel_inference.routers import transcriptions
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.transcribing import Segment, Transcript
from speechmodel_inference.version import ServedVersion
from starlette.types import Message

LONG = 600
"""Seconds that pass only when something is broken."""
BODY = (
    b'--b\r\nContent-Disposition: form-data; name="stream"\r\n\r\ntrue\r\n'
    b'--b\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n\r\nsound\r\n--b--\r\n'
)
SCOPE = {
    "type": "http",
    "asgi": {"version": "3.0", "spec_version": "2.3"},
    "http_version": "1.1",
    "method": "POST",
    "path": "/v1/audio/transcriptions",
    "query_string": b"",
    "root_path": "",
    "headers": [(b"content-type", b"multipart/form-data; boundary=b")],
}


async def test_a_comment_keeps_an_answer_alive_while_nobody_speaks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(transcriptions, "QUIET_SECONDS", 0.1)
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    spoken, ends = threading.Event(), threading.Event()

    def transcribe(file: BinaryIO, *, heard: Callable[[Segment], None], **_: object) -> Transcript:
        for _rejected in range(1000):
            if spoken.wait(0.01):
                break
            heard(Segment(0.0, 1.0, "", (), (), (0.0, 1.0)))
        segment = Segment(0.0, 1.0, "uno", (), (), (0.0, 1.0))
        heard(segment)
        assert ends.wait(LONG)
        return Transcript(1.0, (segment,))

    fake = SimpleNamespace(manifest=SimpleNamespace(language="es", version="1"), transcribe=transcribe)
    services.lifecycle._version = cast(ServedVersion, fake)
    incoming: list[Message] = [{"type": "http.request", "body": BODY, "more_body": False}]
    sent: list[bytes] = []

    async def receive() -> Message:
        if not incoming:
            await asyncio.Event().wait()
        return incoming.pop()

    async def send(message: Message) -> None:
        """Somebody speaks after the first comment, and the recording ends with the first comment after that."""
        if part := message.get("body"):
            sent.append(part)
        if part == transcriptions._COMMENT:
            (ends if any(each.startswith(b"data") for each in sent) else spoken).set()

    await asyncio.wait_for(app(SCOPE, receive, send), LONG)
    kinds = [key for key, _ in groupby(part[:1] for part in sent)]
    assert kinds == [b":", b"d", b":", b"d"], "the answer begins before the first word"
    assert all(part.endswith(b"\n\n") for part in sent)


@pytest.mark.parametrize("segments_before", [0, 1])
async def test_the_place_and_the_upload_are_held_until_the_decoder_is_free(
    segments_before: int, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    begun, released, gone = threading.Event(), threading.Event(), asyncio.Event()
    read = []

    def transcribe(file: BinaryIO, *, options: DecodingOptions, heard: object, **_: object) -> None:
        assert callable(heard) and options.abandoned is not None
        for _number in range(segments_before):
            heard(Segment(0.0, 1.0, "uno", (), (), (0.0, 1.0)))
        begun.set()
        options.abandoned.wait(LONG)
        released.wait(LONG)
        heard(Segment(1.0, 2.0, "dos", (), (), (1.0, 2.0)))
        read.append(file.read())
        require_client(options.abandoned)

    manifest = SimpleNamespace(language="es", version="1")
    fake = SimpleNamespace(manifest=manifest, transcribe=transcribe)
    services.lifecycle._version = cast(ServedVersion, fake)
    incoming: list[Message] = [{"type": "http.request", "body": BODY, "more_body": False}]

    async def receive() -> Message:
        if incoming:
            return incoming.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        await asyncio.sleep(0)

    answering = asyncio.create_task(app(SCOPE, receive, send))
    assert await asyncio.to_thread(begun.wait, LONG)
    gone.set()
    for _ in range(20):
        await asyncio.sleep(0)
    assert (services.queue.taken, services.queue.decoding) == (1, 1)
    released.set()
    await asyncio.wait_for(answering, LONG)
    assert read == [b"sound"]
    assert (services.queue.taken, services.queue.decoding) == (0, 0)
    lines = [record.message for record in caplog.records if record.name.startswith("speechmodel_inference")]
    assert len(lines) == 1 and "the client left before" in lines[0]
    assert "asyncio" not in {record.name for record in caplog.records}
