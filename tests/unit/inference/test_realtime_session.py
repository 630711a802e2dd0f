"""Realtime transcription sessions, on the app without a model."""

import base64
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import TypeVar, cast

import pytest
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_inference.app import create_app
from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions
from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.live import PARTIAL_SECONDS
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from speechmodel_runtime import Pcm, load
from starlette.testclient import TestClient
from support.places import FIXTURES

T = TypeVar("T")
HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"


class Decoder:
    """Hears the same word in all speech, and counts."""

    takes_hot_words = True

    decodings = 0

    def decode(self, pcm: Pcm, *, name: str, options: DecodingOptions) -> DecodedUtterance:
        self.decodings += 1
        return DecodedUtterance("espejo")


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


@pytest.fixture
def client(decoder: Decoder, tmp_path: Path) -> TestClient:
    app = create_app(Settings(folder=tmp_path, decoders=1, waiting=0))
    services: Services = app.state.services
    fake = SimpleNamespace(manifest=SimpleNamespace(speech_level=-26.0), decoder=decoder)
    services.lifecycle._version = cast(ServedVersion, fake)
    return TestClient(app)


def settings(turn_detection: object) -> dict[str, object]:
    return {"type": "transcription", "audio": {"input": {"turn_detection": turn_detection}}}


def test_a_preview_keeps_no_upload_out(client: TestClient) -> None:
    queue = client.app.state.services.queue  # type: ignore[attr-defined]
    assert queue.places == 1
    with client.websocket_connect("/v1/realtime?preview=true") as socket:
        assert socket.receive_json()["type"] == "session.created"
        assert queue.taken == 0
        with client.websocket_connect("/v1/realtime?preview=true") as second:
            assert second.receive_json()["error"]["code"] == "queue_full"
        with client.websocket_connect("/v1/realtime") as session:
            assert session.receive_json()["type"] == "session.created"
            assert queue.taken == 1


def test_fields_that_are_null_and_lines_of_base64_are_taken(client: TestClient) -> None:
    detection = {"type": "server_vad", "threshold": None, "silence_duration_ms": None, "idle_timeout_ms": None}
    with client.websocket_connect("/v1/realtime/") as socket:
        socket.receive_json()
        audio = {"input": {"turn_detection": detection}}
        socket.send_json({"type": "session.update", "session": {"type": "transcription", "audio": audio}})
        assert socket.receive_json()["session"]["audio"]["input"]["turn_detection"]["threshold"] == 0.3
        lines = base64.encodebytes(load(HIJO)[:1600].tobytes()).decode()
        assert "\n" in lines.strip()
        socket.send_json({"type": "input_audio_buffer.append", "audio": lines})
        socket.send_json({"type": "input_audio_buffer.clear"})
        assert socket.receive_json()["type"] == "input_audio_buffer.cleared"


@pytest.mark.parametrize(
    ("eagerness", "pause"), [(None, 600), ("auto", 600), ("medium", 600), ("high", 300), ("low", 1500)]
)
def test_semantic_vad_is_a_pause_by_its_eagerness(client: TestClient, eagerness: str | None, pause: int) -> None:
    asked = {"type": "semantic_vad", "create_response": False, "eagerness": eagerness}
    with client.websocket_connect("/v1/realtime") as socket:
        socket.receive_json()
        socket.send_json({"type": "session.update", "session": settings(asked)})
        updated = socket.receive_json()
    detection = updated["session"]["audio"]["input"]["turn_detection"]
    assert (detection["type"], detection["silence_duration_ms"]) == ("server_vad", pause)


@pytest.mark.parametrize("eagerness", ["eager", 7, ["high"]])
def test_an_unknown_eagerness_is_refused(client: TestClient, eagerness: object) -> None:
    with client.websocket_connect("/v1/realtime") as socket:
        socket.receive_json()
        socket.send_json(
            {"type": "session.update", "session": settings({"type": "semantic_vad", "eagerness": eagerness})}
        )
        error = socket.receive_json()["error"]
    assert error["param"] == "session.audio.input.turn_detection"
    assert "high, medium, auto, low" in error["message"]


def test_fields_of_the_beta_form_in_an_event_of_the_other_form_are_refused(client: TestClient) -> None:
    with client.websocket_connect("/v1/realtime") as socket:
        socket.receive_json()
        socket.send_json({"type": "session.update", "session": {"turn_detection": None}})
        message = socket.receive_json()["error"]["message"]
        assert message.startswith(
            "session: turn_detection is a field of the beta API; set audio.input.turn_detection, or"
        )


def test_only_a_decoding_waits_for_the_decodings_of_other_streams(
    client: TestClient, decoder: Decoder, monkeypatch: pytest.MonkeyPatch
) -> None:
    works = []
    run_stream = DecodingQueue.run_stream

    async def counting(queue: DecodingQueue, work: Callable[[], T]) -> T:
        works.append(work)
        return await run_stream(queue, work)

    monkeypatch.setattr(DecodingQueue, "run_stream", counting)
    pcm, piece = load(HIJO), SAMPLE_RATE // 20
    starts = range(0, len(pcm), piece)
    with client.websocket_connect("/v1/realtime") as socket:
        audio = {"input": {"format": {"type": "audio/pcm", "rate": SAMPLE_RATE}}}
        socket.send_json({"type": "session.update", "session": {"type": "transcription", "audio": audio}})
        for start in starts:
            samples = base64.b64encode(pcm[start : start + piece].tobytes()).decode()
            socket.send_json({"type": "input_audio_buffer.append", "audio": samples})
        socket.send_json({"type": "session.update", "session": {"type": "transcription"}})
        updates = 0
        while updates < 2:
            event = socket.receive_json()
            assert event["type"] != "error", event
            updates += event["type"] == "session.updated"
    assert 1 <= decoder.decodings <= len(pcm) / SAMPLE_RATE / PARTIAL_SECONDS + 1
    assert len(works) == len(starts) + decoder.decodings
