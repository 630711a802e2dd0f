"""API keys guard the API, also behind a proxy that removes a path."""

from pathlib import Path

import pytest
from speechmodel_inference.api_keys import ApiKeys, RequireKey
from speechmodel_inference.client_secrets import ClientSecrets
from speechmodel_inference.realtime_types import AudioInput
from starlette.types import Message, Receive, Scope, Send


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer every request."""
    del scope, receive
    await send({"type": "http.response.start", "status": 200})


async def nothing() -> Message:
    return {"type": "http.request"}


async def status(
    keys: Path, path: str, *, root_path: str = "", encoding: str = "utf-8", key: str | None = None, kind: str = "http"
) -> int:
    """Return the status of the answer to a request, as uvicorn describes it: the path begins with `root_path`."""
    answers = []

    async def send(message: Message) -> None:
        answers.append(message)

    headers = [(b"authorization", f"Bearer {key}".encode(encoding))] if key else []
    scope = {"type": kind, "method": "GET", "path": root_path + path, "root_path": root_path, "headers": headers}
    api_keys = ApiKeys(keys)
    await RequireKey(app, api_keys, ClientSecrets(api_keys.read))(scope, nothing, send)
    found: int = answers[0]["status"]
    return found


@pytest.mark.parametrize("root_path", ["", "/speech", "/v"])
async def test_the_api_needs_a_key_and_the_probes_do_not(tmp_path: Path, root_path: str) -> None:
    (tmp_path / "keys").write_text("first\nsecond\n", encoding="utf-8")
    for path in ("/v1/models", "/v1/audio/transcriptions", "/stt"):
        assert await status(tmp_path, path, root_path=root_path) == 401
        assert await status(tmp_path, path, root_path=root_path, key="wrong") == 401
        assert await status(tmp_path, path, root_path=root_path, key="second") == 200
    for path in ("/", "/livez", "/readyz", "/metrics"):
        assert await status(tmp_path, path, root_path=root_path) == 200


@pytest.mark.parametrize("path", ["/", "/vosk", "/v1/realtime"])
async def test_every_websocket_needs_a_key(tmp_path: Path, path: str) -> None:
    (tmp_path / "keys").write_text("first\n", encoding="utf-8")
    assert await status(tmp_path, path, kind="websocket") == 401
    assert await status(tmp_path, path, kind="websocket", key="first") == 200


async def test_a_byte_order_mark_of_windows_is_no_part_of_a_key(tmp_path: Path) -> None:
    (tmp_path / "keys").write_bytes(b"\xef\xbb\xbfabc\r\ndef\r\n")
    assert [await status(tmp_path, "/stt", key=key) for key in ("abc", "def", "\ufeffabc")] == [200, 200, 401]


@pytest.mark.parametrize("content", [None, "", " \n\n"])
def test_a_file_without_a_key_is_reported_at_the_start(
    content: str | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    if content is not None:
        (tmp_path / "keys").write_text(content, encoding="utf-8")
    ApiKeys(tmp_path)
    assert f"{tmp_path} contains no API key, so every request that needs a key is refused" in caplog.text


async def test_a_key_is_a_whole_line(tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("correct horse  battery \r\n\n\tclé\nvoilà\n", encoding="utf-8")
    for right in ("correct horse  battery", "clé", "voilà"):
        for encoding in ("utf-8", "latin-1"):  # curl, and browsers
            assert await status(tmp_path, "/stt", key=right, encoding=encoding) == 200
    for wrong in ("correct", "battery", "correct horse", "cl", " "):
        assert await status(tmp_path, "/stt", key=wrong) == 401


@pytest.mark.parametrize(
    ("path", "kind", "found"),
    [
        ("/v1/realtime", "websocket", 200),
        ("/vosk", "websocket", 401),
        ("/v1/models", "http", 401),
        ("/v1/realtime", "http", 401),
    ],
)
@pytest.mark.parametrize("root_path", ["", "/speech"])
async def test_a_short_lived_key_opens_realtime_sessions_only(
    path: str, kind: str, found: int, root_path: str, tmp_path: Path
) -> None:
    (tmp_path / "keys").write_text("first\nsecond\n", encoding="utf-8")
    key, _ = await ClientSecrets(ApiKeys(tmp_path).read).issue(AudioInput(), 60, b"first")
    assert await status(tmp_path, path, key=key, kind=kind, root_path=root_path) == found
