"""The protocols of the servers for DeepSpeech models that came before this one."""

import json
import subprocess
from pathlib import Path

import httpx
import pytest
from speechmodel_inference.settings import Settings
from speechmodel_runtime import load
from support.servers import HANGS, OK_ESPEJO, Server, Start
from websockets.exceptions import ConnectionClosed, InvalidStatus


def curl(server: Server, body: Path, *more: str) -> str:
    command = ["curl", "-sS", "-X", "POST", "--data-binary", f"@{body}", *more, f"{server.url}/stt"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def test_curl_posts_a_recording_and_gets_its_text(server: Server) -> None:
    assert curl(server, OK_ESPEJO) == "ok espejo"


def test_samples_without_a_header_have_their_rate_in_the_type(server: Server, tmp_path: Path) -> None:
    samples = tmp_path / "samples"
    samples.write_bytes(load(OK_ESPEJO).tobytes())
    assert curl(server, samples, "-H", "Content-Type: audio/L16; rate=16000") == "ok espejo"


@pytest.mark.parametrize(
    ("request_", "status", "says"),
    [
        ({"content": b""}, 400, "recording: is empty (0 bytes)"),
        ({"content": b"no sound" * 20}, 400, "recording: is not readable audio"),
        ({"content": b"00", "headers": {"Content-Type": "audio/L16"}}, 400, "needs a rate"),
        ({"files": {"file": b"x"}}, 400, "as the body itself, or a form to /v1/audio/transcriptions"),
        ({"content": bytes(2_000_001)}, 413, "larger than 2000000 bytes"),
    ],
)
def test_a_body_that_cannot_be_used_is_refused(
    request_: dict[str, object], status: int, says: str, server: Server
) -> None:
    answer = httpx.post(f"{server.url}/stt", timeout=HANGS, **request_)  # type: ignore[arg-type] # a table of keywords
    assert answer.status_code == status
    assert says in answer.json()["error"]["message"]
    assert server.metric("speechmodel_requests_in_flight") == 0


def ask(server: Server, message: bytes | str) -> dict[str, object]:
    with server.websocket("/api/v1/stt") as socket:
        socket.send(message)
        answer: dict[str, object] = json.loads(socket.recv(timeout=HANGS))
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=HANGS)
    return answer


def test_one_message_with_a_file_is_answered_by_its_text_and_the_time(server: Server) -> None:
    answer = ask(server, OK_ESPEJO.read_bytes())
    assert answer["text"] == "ok espejo"
    assert isinstance(answer["time"], float)
    server.until_metric("speechmodel_streams_total", 1, code="1000", path="/api/v1/stt")


@pytest.mark.parametrize("message", [b"", "text", b"no sound" * 20])
def test_a_message_that_is_no_recording_is_answered_by_a_sentence(message: bytes | str, server: Server) -> None:
    assert str(ask(server, message)["message"]).endswith(".")
    server.until_metric("speechmodel_requests_in_flight", 0)


def test_a_message_over_the_limit_of_uploads_is_refused(start: Start) -> None:
    server = start(max_upload_bytes="2000").until_ready()
    assert "larger than 2000 bytes" in str(ask(server, OK_ESPEJO.read_bytes())["message"])


def test_a_message_may_be_as_large_as_a_body(start: Start) -> None:
    server = start().until_ready()
    limit: int = Settings.model_fields["max_upload_bytes"].default
    assert "is not readable audio" in str(ask(server, bytes(limit))["message"])
    assert f"larger than {limit} bytes" in str(ask(server, bytes(limit + 1_000_000))["message"])


def test_a_second_message_does_not_end_the_first(server: Server) -> None:
    with server.websocket("/api/v1/stt") as socket:
        socket.send(OK_ESPEJO.read_bytes())
        socket.send("more")
        assert json.loads(socket.recv(timeout=HANGS))["text"] == "ok espejo"


def test_both_need_a_key_if_there_are_keys(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(api_keys=tmp_path / "keys").until_ready()
    assert "invalid_api_key" in curl(server, OK_ESPEJO)
    assert curl(server, OK_ESPEJO, "-H", "Authorization: Bearer secret") == "ok espejo"
    with pytest.raises(InvalidStatus, match="401"):
        ask(server, OK_ESPEJO.read_bytes())
