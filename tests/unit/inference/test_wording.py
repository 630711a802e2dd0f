"""No message has the words of pydantic, whatever is sent."""

import json
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from pydantic import TypeAdapter, ValidationError
from speechmodel_inference.app import create_app
from speechmodel_inference.openai_types import TranscriptionFields
from speechmodel_inference.realtime_types import CLIENT_EVENT
from speechmodel_inference.routers.vosk import Control
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wording import first_problem
from speechmodel_inference.wyoming_server import _Format, _Header, _Wishes
from starlette.testclient import TestClient

FIELDS, CONTROL, WISHES = TypeAdapter(TranscriptionFields), TypeAdapter(Control), TypeAdapter(_Wishes)
HEADER, FORMAT, SETTINGS = TypeAdapter(_Header), TypeAdapter(_Format), TypeAdapter(Settings)


def update(**audio: object) -> dict[str, Any]:
    return {"type": "session.update", "session": {"audio": {"input": audio}}}


@pytest.mark.parametrize(
    ("type_", "given", "says"),
    [
        (FIELDS, {"alternatives": "0"}, ("alternatives", "must be at least 1, not '0'")),
        (FIELDS, {"alternatives": "many"}, ("alternatives", "must be an integer, not 'many'")),
        (FIELDS, {"temperature": "1.5"}, ("temperature", "must be at most 1, not '1.5'")),
        (FIELDS, {"stream": "perhaps"}, ("stream", "must be true or false, not 'perhaps'")),
        (
            FIELDS,
            {"response_format": "x" * 200},
            (
                "response_format",
                f"must be 'json', 'text', 'srt', 'vtt' or 'verbose_json', not '{'x' * 98}…",
            ),
        ),
        (
            FIELDS,
            {"timestamp_granularities": ["letter"]},
            ("timestamp_granularities.0", "must be 'word' or 'segment', not 'letter'"),
        ),
        (CONTROL, {"config": {"sample_rate": 8}}, ("config.sample_rate", "must be at least 4000, not 8")),
        (CONTROL, {"config": {"phrase_list": "ok"}}, ("config.phrase_list", "must be a list, not 'ok'")),
        (CONTROL, {"config": {"phrase_list": [1]}}, ("config.phrase_list.0", "must be a string, not 1")),
        (CONTROL, {"config": 7}, ("config", "must be an object, not 7")),
        (CONTROL, [], ("", "must be an object, not []")),
        (WISHES, {"name": "x" * 300}, ("name", "must have at most 253 characters, not 300")),
        (HEADER, {}, ("type", "is missing")),
        (FORMAT, {"rate": 16_000, "width": 4, "channels": 1}, ("width", "must be at most 2, not 4")),
        (FORMAT, {"rate": 16_000.5, "width": 2, "channels": 1}, ("rate", "must be an integer, not 16000.5")),
        (SETTINGS, {"listen": "8080"}, ("listen", "must be address:port, such as :8080 or 127.0.0.1:8080, not '8080'")),
        (
            SETTINGS,
            {"misheard_days": 3},
            ("misheard_days", "set SPEECHMODEL_TAKES too, the folder in which takes are kept"),
        ),
        (
            CLIENT_EVENT,
            update(turn_detection={"type": "semantic_vad", "eagerness": "x"}),
            (
                "session.update.session.audio.input.turn_detection",
                "eagerness must be one of high, medium, auto, low",
            ),
        ),
        (
            CLIENT_EVENT,
            update(transcription={"keywords": ["x"] * 101}),
            ("session.update.session.audio.input.transcription.keywords", "must have at most 100 entries, not 101"),
        ),
    ],
)
def test_a_wrong_value_is_named_in_plain_words(type_: TypeAdapter[Any], given: object, says: tuple[str, str]) -> None:
    with pytest.raises(ValidationError) as refused:
        type_.validate_python(given)
    assert first_problem(refused.value) == says


def test_words_of_pydantic_that_we_have_none_for_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(date).validate_python("soon")
    assert "date" in first_problem(refused.value)[1]
    assert ["date_from_datetime_parsing" in record.message for record in caplog.records] == [True]


def test_what_is_no_json_is_named_in_plain_words() -> None:
    for text in ("{", "", '{"config": '):
        with pytest.raises(ValidationError) as refused:
            CONTROL.validate_json(text)
        assert first_problem(refused.value) == ("", "is not valid JSON")


@pytest.fixture
def client(tmp_path: Path) -> TestClient:
    app = create_app(Settings(folder=tmp_path))
    services: Services = app.state.services
    manifest = SimpleNamespace(language="es", version="1", speech_level=-26.0)
    services.lifecycle._version = cast(
        ServedVersion, SimpleNamespace(manifest=manifest, decoder=SimpleNamespace(takes_hot_words=True))
    )
    return TestClient(app)


def test_refusals_of_forms_and_paths_are_in_our_words(client: TestClient) -> None:
    form = "multipart/form-data; boundary=x"
    for content, sent in ((b"no parts", form), (b"", "multipart/form-data"), (b"--x\r\n\r\n--x--", form)):
        answer = client.post("/v1/audio/transcriptions", content=content, headers={"Content-Type": sent}).json()
        assert "`curl -F file=@take.wav`" in answer["error"]["message"]
        assert "is not valid multipart/form-data" in answer["error"]["message"]
    two = client.post("/v1/audio/transcriptions", files=[("file", b"x"), ("file", b"y")]).json()
    assert two["error"]["message"].startswith("The body has more than one file;")
    fields = {f"field{number}": "x" for number in range(65)}
    many = client.post("/v1/audio/transcriptions", data=fields, files={"file": b"x"}).json()
    assert many["error"]["message"].startswith("The body has more than 64 fields;")
    long = client.post("/v1/audio/transcriptions", data={"prompt": "x" * (1 << 20) + "x"}, files={"file": b"x"}).json()
    assert long["error"]["message"].startswith("The field 'prompt' has more than 1 MiB of text;")
    nothing = client.get("/v1/nothing").json()["error"]["message"]
    assert nothing == "GET /v1/nothing: no such path; /openapi.json lists the paths."


def test_the_path_of_a_wrong_field_of_an_event_begins_behind_the_type_of_the_event(client: TestClient) -> None:
    wrong = update(turn_detection={"type": "server_vad", "threshold": 2})
    with client.websocket_connect("/v1/realtime") as socket:
        socket.receive_json()
        for event, param, says in (
            (wrong, "session.audio.input.turn_detection.threshold", "must be at most 0.9, not 2."),
            ({"type": "input_audio_buffer.append"}, "audio", "audio: is missing."),
            ({"type": "input_audio_buffer.append", "audio": 7}, "audio", "audio: must be a string, not 7."),
            ({"type": "nothing"}, None, "event: has the type 'nothing', which is not known here; use 'session.update'"),
            ({}, None, "event: has no field 'type'"),
            ([], None, "event: must be an object, not []."),
        ):
            socket.send_text(json.dumps(event))
            error = socket.receive_json()["error"]
            assert error["param"] == param
            assert says in error["message"]
