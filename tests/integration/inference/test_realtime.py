"""OpenAI's realtime transcription sessions, by the official client and by hand."""

import asyncio
import base64
import io
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import numpy as np
import openai
import pytest
import soundfile
import soxr
from openai.resources.realtime.realtime import RealtimeConnection
from openai.types.realtime import RealtimeTranscriptionSessionCreateRequestParam
from playwright.sync_api import Browser
from speechmodel_inference.client_secrets import ClientSecrets
from speechmodel_inference.realtime_types import AudioInput
from speechmodel_runtime import Pcm, load
from support.browser import new_page
from support.servers import BOTH_ENGINES, HANGS, OK_ESPEJO, Server, Start
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection

QUERY = {"intent": "transcription"}
PATIENT: Any = {"open_timeout": HANGS, "ping_timeout": None}
"""Options of a client that waits for a busy machine. The asynchronous client has a type of its own for the same."""
ITEM = "conversation.item.input_audio_transcription"
OPEN = """(url) => new Promise((ended) => {
    const socket = new WebSocket(url, ["openai-insecure-api-key.secret"]);
    socket.onopen = socket.onerror = ({ type }) => ended(type);
})"""
SILENCE = np.zeros(24_000, np.int16)


def spoken() -> Pcm:
    """Return the clip at 24 kHz, with a pause behind it."""
    clip: Pcm = soxr.resample(load(OK_ESPEJO), 16_000, 24_000)
    return np.concatenate([clip, SILENCE])


def pieces(pcm: Pcm, seconds: float = 0.1) -> Iterator[str]:
    size = round(24_000 * seconds)
    for start in range(0, len(pcm), size):
        yield base64.b64encode(pcm[start : start + size].astype("<i2").tobytes()).decode()


def settings(**audio: object) -> RealtimeTranscriptionSessionCreateRequestParam:
    return cast(RealtimeTranscriptionSessionCreateRequestParam, {"type": "transcription", "audio": {"input": audio}})


def events_until(connection: RealtimeConnection, last: str) -> list[Any]:
    """Return the events up to the first of a type."""
    events: list[Any] = []
    while not events or events[-1].type != last:
        events.append(connection.recv())
        assert events[-1].type != "error", events[-1]
    return events


@BOTH_ENGINES
def test_each_utterance_is_an_item_when_somebody_pauses(server: Server) -> None:
    counted = server.metric("speechmodel_audio_seconds_total")
    with server.openai().realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection:
        created = connection.recv()
        assert created.type == "session.created"
        assert created.session.type == "transcription"
        connection.session.update(session=settings(transcription={"model": "whisper-1", "language": "es"}))
        updated: Any = connection.recv()
        assert updated.type == "session.updated"
        heard = updated.session.audio.input
        assert (heard.format.rate, heard.turn_detection.type, heard.transcription.language) == (
            24_000,
            "server_vad",
            "es",
        )
        for _ in range(2):
            for piece in pieces(spoken()):
                connection.input_audio_buffer.append(audio=piece)
        first, second = (events_until(connection, f"{ITEM}.completed") for _ in range(2))
    kinds = [event.type for event in first]
    assert [kind for kind in kinds if kind != f"{ITEM}.delta"] == [
        "input_audio_buffer.speech_started",
        "input_audio_buffer.speech_stopped",
        "input_audio_buffer.committed",
        "conversation.item.added",
        "conversation.item.done",
        f"{ITEM}.completed",
    ]
    deltas = [event.delta for event in first if event.type == f"{ITEM}.delta"]
    assert "".join(deltas) == first[-1].transcript
    item = first[0].item_id
    assert {getattr(event, "item_id", None) or event.item.id for event in first} == {item}
    assert "espejo" in first[-1].transcript
    first, second = ([event for event in each if event.type != f"{ITEM}.delta"] for each in (first, second))
    assert first[-1].usage.type == "duration"
    assert 0 <= first[0].audio_start_ms < first[1].audio_end_ms < second[0].audio_start_ms < second[1].audio_end_ms
    assert (first[2].previous_item_id, second[2].previous_item_id) == (None, item)
    seconds = first[-1].usage.seconds + second[-1].usage.seconds
    assert server.metric("speechmodel_audio_seconds_total") - counted == pytest.approx(seconds)


def test_words_come_while_somebody_speaks(server: Server) -> None:
    speech = np.tile(
        soxr.resample(load(OK_ESPEJO), 16_000, 24_000), 20
    )  # longer than a slow decoder needs for two answers
    with server.openai().realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection:
        connection.recv()
        for piece in pieces(speech):
            connection.input_audio_buffer.append(audio=piece)
        connection.input_audio_buffer.clear()
        events = events_until(connection, "input_audio_buffer.cleared")
    kinds = [event.type for event in events]
    assert f"{ITEM}.delta" in kinds
    assert "input_audio_buffer.speech_stopped" not in kinds[: kinds.index(f"{ITEM}.delta")]


@pytest.mark.parametrize("milliseconds, items", [(400, 2), (2000, 1)])
def test_a_pause_is_as_long_as_the_client_says(milliseconds: int, items: int, server: Server) -> None:
    recording = np.concatenate([spoken(), spoken(), SILENCE, SILENCE])  # pauses of 1 s and 3 s
    detection = {"type": "server_vad", "silence_duration_ms": milliseconds, "threshold": 0.4}
    with server.openai().realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection:
        connection.recv()
        connection.session.update(session=settings(turn_detection=detection))
        updated: Any = connection.recv()
        shown = updated.session.audio.input.turn_detection
        assert (shown.silence_duration_ms, shown.threshold) == (milliseconds, 0.4)
        for piece in pieces(recording):
            connection.input_audio_buffer.append(audio=piece)
        connection.input_audio_buffer.clear()
        events = events_until(connection, "input_audio_buffer.cleared")
    assert [event.type for event in events].count(f"{ITEM}.completed") == items


async def test_without_turn_detection_the_client_commits(server: Server) -> None:
    async with (
        openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none") as client,
        client.realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection,
    ):
        await connection.session.update(session=settings(turn_detection=None))
        for audio in (np.concatenate([spoken(), spoken()]), SILENCE):
            for piece in pieces(audio):
                await connection.input_audio_buffer.append(audio=piece)
            await connection.input_audio_buffer.commit()
        events: list[Any] = []
        while sum(event.type == f"{ITEM}.completed" for event in events) < 2:
            events.append(await connection.recv())
    assert events[1].session.audio.input.turn_detection is None
    assert not [event for event in events if "speech" in event.type]
    speech, silence = (event for event in events if event.type == f"{ITEM}.completed")
    deltas = [event.delta for event in events if event.type == f"{ITEM}.delta"]
    assert "".join(deltas) == speech.transcript
    assert speech.transcript.count("espejo") == len(deltas) == 2
    assert speech.usage.seconds == pytest.approx(2 * len(spoken()) / 24_000, abs=0.01)
    assert silence.transcript == ""


def test_the_beta_client_gets_the_events_of_the_beta(server: Server) -> None:
    client = server.openai().with_options(websocket_base_url=f"ws://127.0.0.1:{server.port}/v1")
    with client.beta.realtime.connect(
        model="whisper-1", extra_query=QUERY, websocket_connection_options=PATIENT
    ) as connection:
        assert json.loads(connection.recv_bytes())["type"] == "transcription_session.created"
        connection.transcription_session.update(
            session={
                "input_audio_format": "pcm16",
                "input_audio_transcription": {"model": "gpt-4o-transcribe", "prompt": "espejo"},
            }
        )
        updated = json.loads(connection.recv_bytes())
        assert updated["type"] == "transcription_session.updated"
        assert updated["session"]["turn_detection"]["type"] == "server_vad"
        assert [warning["kind"] for warning in updated["warnings"]] == ["PromptUnused"]
        for piece in pieces(spoken()):
            connection.input_audio_buffer.append(audio=piece)
        events: list[Any] = []
        while not events or events[-1].type != f"{ITEM}.completed":
            events.append(connection.recv())
    kinds = [event.type for event in events if event.type != f"{ITEM}.delta"]
    assert kinds[2:4] == ["input_audio_buffer.committed", "conversation.item.created"]
    assert "espejo" in events[-1].transcript


def test_a_prompt_without_effect_is_among_the_warnings_of_the_session(server: Server) -> None:
    with server.openai().realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection:
        assert "warnings" not in connection.recv().to_dict()  # session.created
        for asked in ({"prompt": "espejo"}, {"keywords": ["espejo"]}, {"prompt": ""}):
            connection.session.update(session=settings(transcription=asked))
        events: list[Any] = [connection.recv().to_dict() for _ in range(3)]
    *unused, used = events
    assert [event["type"] for event in events] == ["session.updated"] * 3
    assert [[warning["kind"] for warning in event["warnings"]] for event in unused] == [["PromptUnused"]] * 2
    assert "warnings" not in used


@pytest.fixture
def session(server: Server) -> Iterator[ClientConnection]:
    """A session without turn detection, by hand."""
    with server.websocket("/v1/realtime?intent=transcription") as socket:
        assert ask(socket, type="session.update", session=settings(turn_detection=None))["type"] == "session.created"
        assert json.loads(socket.recv(timeout=HANGS))["type"] == "session.updated"
        yield socket


def ask(socket: ClientConnection, **event: object) -> dict[str, Any]:
    """Send an event, and return the next event of the server."""
    socket.send(json.dumps(event))
    answer: dict[str, Any] = json.loads(socket.recv(timeout=HANGS))
    return answer


@pytest.mark.parametrize(
    ("event", "param", "says"),
    [
        (
            {"type": "session.update", "session": settings(transcription={"prompt": "x" * 5000})},
            None,
            "4096 characters",
        ),
        ({"type": "response.create"}, None, "has the type 'response.create', which is not known here; use"),
        ({"type": 7}, None, "has the type '7', which"),
        ({}, None, "has no field 'type'"),
        ({"type": "input_audio_buffer.append"}, "audio", "audio: is missing."),
        ({"type": "input_audio_buffer.append", "audio": "no base64!"}, "audio", "base64"),
        ({"type": "input_audio_buffer.append", "audio": "AAAA"}, "audio", "odd number of bytes"),
        ({"type": "input_audio_buffer.commit"}, None, "append audio before"),
        ({"type": "session.update", "session": {"type": "realtime"}}, "session.type", "'transcription'"),
        (
            {"type": "session.update", "session": settings(turn_detection={"type": "energy_vad"})},
            "session.audio.input.turn_detection.type",
            "'server_vad'",
        ),
        (
            {"type": "session.update", "session": settings(turn_detection={"type": "server_vad", "threshold": 0.95})},
            "session.audio.input.turn_detection.threshold",
            "must be at most 0.9, not 0.95",
        ),
        (
            {
                "type": "session.update",
                "session": settings(turn_detection={"type": "server_vad", "silence_duration_ms": 50}),
            },
            "session.audio.input.turn_detection.silence_duration_ms",
            "must be at least 200, not 50",
        ),
        ({"type": "session.update", "session": settings(transcription={"model": "gpt-9"})}, "model", "has 'espejo'"),
        ({"type": "session.update", "session": settings(transcription={"language": "en"})}, "language", "es-CL"),
        (
            {"type": "session.update", "session": settings(format={"type": "audio/pcm", "rate": 3000})},
            "session.audio.input.format.rate",
            "must be at least 4000",
        ),
    ],
)
def test_an_event_that_cannot_be_used_is_named_and_the_session_goes_on(
    event: dict[str, Any], param: str | None, says: str, session: ClientConnection
) -> None:
    answer = ask(session, event_id="mine", **event)
    assert (answer["type"], answer["error"]["event_id"]) == ("error", "mine")
    assert answer["error"]["type"] == "invalid_request_error"
    assert says in answer["error"]["message"]
    assert param is None or answer["error"]["param"] == param
    session.send("no json")
    assert json.loads(session.recv(timeout=HANGS))["type"] == "error"
    assert ask(session, type="input_audio_buffer.clear")["type"] == "input_audio_buffer.cleared"


def test_audio_of_no_samples_changes_nothing(session: ClientConnection) -> None:
    session.send(json.dumps({"type": "session.update", "session": settings(turn_detection={"type": "server_vad"})}))
    assert json.loads(session.recv(timeout=HANGS))["type"] == "session.updated"
    session.send(json.dumps({"type": "input_audio_buffer.append", "audio": ""}))
    assert ask(session, type="session.update", session=settings(turn_detection=None))["type"] == "session.updated"
    for piece in pieces(spoken()):
        session.send(json.dumps({"type": "input_audio_buffer.append", "audio": piece}))
    session.send(json.dumps({"type": "input_audio_buffer.commit"}))
    while (event := json.loads(session.recv(timeout=HANGS)))["type"] != f"{ITEM}.completed":
        assert event["type"] != "error"
    assert "espejo" in event["transcript"]


def test_the_buffer_is_bounded_and_can_be_cleared(session: ClientConnection) -> None:
    half = base64.b64encode(bytes(1_200_000)).decode()
    session.send(json.dumps({"type": "input_audio_buffer.append", "audio": half}))
    refused = ask(session, type="input_audio_buffer.append", audio=half)
    assert "at most 2000000 bytes; commit or clear it" in refused["error"]["message"]
    refused = ask(session, type="session.update", session=settings(format={"type": "audio/pcmu"}))
    assert "commit or clear the audio before" in refused["error"]["message"]
    assert ask(session, type="input_audio_buffer.clear")["type"] == "input_audio_buffer.cleared"
    assert ask(session, type="input_audio_buffer.commit")["error"]["code"] == "input_audio_buffer_commit_empty"


def test_audio_that_cannot_be_decoded_fails_its_item_only(session: ClientConnection) -> None:
    session.send(json.dumps({"type": "input_audio_buffer.append", "audio": "AAAA" * 2}))
    session.send(json.dumps({"type": "input_audio_buffer.commit"}))
    answers = [json.loads(session.recv(timeout=HANGS)) for _ in range(4)]
    assert answers[-1]["type"] == f"{ITEM}.failed"
    assert answers[-1]["error"]["code"] == "audio_too_short"
    assert ask(session, type="input_audio_buffer.clear")["type"] == "input_audio_buffer.cleared"


@pytest.mark.parametrize(("kind", "law"), [("audio/pcmu", "ULAW"), ("audio/pcma", "ALAW")])
def test_telephones_may_send_their_own_encoding(kind: str, law: str, server: Server) -> None:
    speech = soxr.resample(load(OK_ESPEJO), 16_000, 8_000)
    raw, wav = io.BytesIO(), io.BytesIO()
    soundfile.write(raw, speech, 8_000, format="RAW", subtype=law)
    soundfile.write(wav, speech, 8_000, format="WAV", subtype=law)
    with server.openai().realtime.connect(extra_query=QUERY, websocket_connection_options=PATIENT) as connection:
        connection.session.update(session=settings(format={"type": kind}, turn_detection=None))
        connection.input_audio_buffer.append(audio=base64.b64encode(raw.getvalue()).decode())
        connection.input_audio_buffer.commit()
        transcript = events_until(connection, f"{ITEM}.completed")[-1].transcript
    assert transcript
    assert transcript == server.transcribe(wav.getvalue()).json()["text"]


@pytest.mark.parametrize(
    ("query", "says"), [("intent=realtime", "transcribes only"), ("model=gpt-realtime", "this server has 'espejo'")]
)
def test_a_session_that_cannot_be_held_is_refused_with_an_error(query: str, says: str, server: Server) -> None:
    with server.websocket(f"/v1/realtime?{query}") as socket:
        answer = json.loads(socket.recv(timeout=HANGS))
    assert (answer["type"], says in answer["error"]["message"]) == ("error", True)
    server.until_metric("speechmodel_requests_in_flight", 0)


def test_browsers_send_their_key_as_a_subprotocol(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(api_keys=tmp_path / "keys").until_ready()
    path = "/v1/realtime?intent=transcription"
    offered: list[Any] = ["realtime", "openai-insecure-api-key.secret", "openai-beta.realtime-v1"]
    with server.websocket(path, subprotocols=offered) as socket:
        assert socket.subprotocol == "realtime"
        assert json.loads(socket.recv(timeout=HANGS))["type"] == "transcription_session.created"
    with pytest.raises(InvalidStatus) as refused:
        server.websocket(path, subprotocols=["realtime", "openai-insecure-api-key.wrong"])
    assert refused.value.response.status_code == 401
    assert json.loads(refused.value.response.body)["error"]["code"] == "invalid_api_key"
    server.until_metric("speechmodel_streams_total", 1, code="1008", path="none")


def test_a_page_opens_a_session_with_a_short_lived_key_and_its_settings(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(api_keys=tmp_path / "keys").until_ready()
    app = openai.OpenAI(base_url=f"{server.url}/v1", api_key="secret", max_retries=0)
    wanted = settings(
        transcription={"language": "es-MX"}, turn_detection={"type": "server_vad", "silence_duration_ms": 900}
    )
    before = time.time()
    issued = app.realtime.client_secrets.create(session=wanted, expires_after={"anchor": "created_at", "seconds": 30})
    assert before + 29 <= issued.expires_at <= time.time() + 30
    assert issued.session.type == "transcription"
    shown = issued.session.to_dict()["audio"]["input"]  # type: ignore[index]
    assert shown["turn_detection"]["silence_duration_ms"] == 900

    page: list[Any] = ["realtime", f"openai-insecure-api-key.{issued.value}"]
    with server.websocket("/v1/realtime?intent=transcription", subprotocols=page) as socket:
        begun = json.loads(socket.recv(timeout=HANGS))["session"]["audio"]["input"]
    assert begun["turn_detection"]["silence_duration_ms"] == 900
    assert begun["transcription"] == {"language": "es-MX"}
    with pytest.raises(InvalidStatus):
        server.websocket("/vosk", subprotocols=page)
    with pytest.raises(openai.AuthenticationError):
        openai.OpenAI(base_url=f"{server.url}/v1", api_key=issued.value, max_retries=0).realtime.client_secrets.create()


def test_an_expired_or_damaged_key_opens_no_session_with_other_settings(server: Server) -> None:
    expired, _ = asyncio.run(ClientSecrets(None).issue(AudioInput(), -1, None))
    valid, _ = asyncio.run(ClientSecrets(None).issue(AudioInput(), 600, None))
    for key in (expired, valid[:-1]):
        with server.websocket("/v1/realtime", additional_headers={"Authorization": f"Bearer {key}"}) as socket:
            error = json.loads(socket.recv(timeout=HANGS))["error"]
            assert error["message"] == "The short-lived key has expired or is not valid; ask for a new one."
            assert error["code"] == "invalid_api_key"
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(timeout=HANGS)
            assert closed.value.rcvd is not None and closed.value.rcvd.code == 1008


def test_an_api_key_may_begin_as_a_short_lived_one_does(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("ek_chosen")
    server = start(api_keys=tmp_path / "keys").until_ready()
    with server.websocket("/v1/realtime", additional_headers={"Authorization": "Bearer ek_chosen"}) as socket:
        assert json.loads(socket.recv(timeout=HANGS))["type"] == "session.created"


def test_the_beta_form_has_its_key_in_the_session(server: Server) -> None:
    session = server.openai().beta.realtime.transcription_sessions.create(
        input_audio_format="g711_ulaw", turn_detection={"type": "server_vad", "silence_duration_ms": 800}
    )
    assert session.input_audio_format == "g711_ulaw"
    assert session.turn_detection is not None and session.turn_detection.silence_duration_ms == 800
    offered: list[Any] = ["realtime", f"openai-insecure-api-key.{session.client_secret.value}"]
    with server.websocket("/v1/realtime", subprotocols=offered) as socket:
        assert json.loads(socket.recv(timeout=HANGS))["session"]["audio"]["input"]["format"] == {"type": "audio/pcmu"}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"session": {"type": "realtime"}}, "session.type: must be 'transcription', not 'realtime'."),
        ({"expires_after": {"seconds": 5}}, "expires_after.seconds: must be at least 10, not 5."),
        (
            {"session": {"type": "transcription", "audio": {"input": {"transcription": {"language": "fr"}}}}},
            "language: this model recognises es-CL, not 'fr'.",
        ),
        (
            {"session": {"type": "transcription", "input_audio_format": "pcm16"}},
            "session: input_audio_format is a field of the beta API",
        ),
        ([], "body: must be an object, not []."),
    ],
)
def test_a_short_lived_key_that_could_not_be_used_is_not_issued(body: object, says: str, server: Server) -> None:
    answer = server.client.post("/v1/realtime/client_secrets", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("path", ["v1/realtime", "vosk", "api/v1/stt"])
def test_a_browser_needs_no_subprotocol_beside_its_key(
    path: str, start: Start, tmp_path: Path, browser: Browser
) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(api_keys=tmp_path / "keys").until_ready()
    page = new_page(browser)
    page.goto(server.url)
    assert page.evaluate(OPEN, f"{server.url}/{path}".replace("http", "ws", 1)) == "open"
    page.context.close()
