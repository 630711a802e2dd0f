"""The threads that a request takes."""

import threading
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.transcribing import Transcript
from speechmodel_inference.version import ServedVersion
from starlette.testclient import TestClient


class Version:
    """Hears nothing, and remembers the threads that it is asked in."""

    manifest = SimpleNamespace(language="es", version="0123abcd")

    def __init__(self) -> None:
        self.threads: list[str] = []

    def transcribe(self, *_: object, **__: object) -> Transcript:
        self.threads.append(threading.current_thread().name)
        return Transcript(1.0, ())


def test_a_recording_takes_a_thread_of_a_decoder_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app, version = create_app(Settings(folder=tmp_path)), Version()
    services: Services = app.state.services
    services.lifecycle._version = cast(ServedVersion, version)
    started: list[str] = []
    start = threading.Thread.start

    def starting(thread: threading.Thread) -> None:
        started.append(thread.name)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", starting)
    answer = TestClient(app).post("/v1/audio/transcriptions", files={"file": b"sound"})
    assert answer.status_code == 200
    assert [name.partition("_")[0] for name in version.threads] == ["decoder"]
    assert "AnyIO worker thread" not in started
