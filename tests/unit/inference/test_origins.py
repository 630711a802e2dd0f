"""Pages of other origins: their WebSockets, and the answers that Starlette's middleware for CORS does not see."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi import Request
from speechmodel_inference.app import create_app
from speechmodel_inference.settings import Settings
from starlette.testclient import TestClient, WebSocketDenialResponse

PATHS = ["/vosk", "/", "/v1/realtime", "/api/v1/stt"]
OWN = "testserver"


def client(folder: Path, *origins: str) -> TestClient:
    app = create_app(Settings(folder=folder, cors_origins=origins))

    @app.get("/broken")
    async def broken(request: Request) -> None:
        raise IndexError

    return TestClient(app, raise_server_exceptions=False)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": f"https://{OWN}:444"},
        {"origin": f"https://{OWN}", "sec-fetch-site": "cross-site"},
    ],
    ids=["another page", "a page without an origin", "another port", "what the browser says"],
)
def test_the_websocket_of_a_foreign_page_takes_no_place(path: str, headers: dict[str, str], tmp_path: Path) -> None:
    asked = client(tmp_path)
    with pytest.raises(WebSocketDenialResponse) as refused, asked.websocket_connect(path, headers=headers):
        pass
    assert (refused.value.status_code, refused.value.json()["error"]["code"]) == (403, "cross_origin")


def opened(asked: TestClient, headers: dict[str, str]) -> Iterator[bool]:
    """Yield True for each path whose WebSocket is opened. There is no model, so it then gets an error."""
    for path in PATHS:
        with asked.websocket_connect(path, headers=headers) as socket:
            yield "not ready" in str(socket.receive_json())


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"origin": f"http://{OWN}"},
        {"origin": f"https://{OWN.upper()}"},
        {"origin": "http://espejo:8080", "host": "espejo:8080"},
        {"origin": "https://public.example", "sec-fetch-site": "same-origin"},
        {"origin": "https://public.example", "x-forwarded-host": "public.example, proxy.example"},
    ],
    ids=[
        "no page",
        "its own page",
        "in capitals",
        "a program that sends the address with its port",
        "behind a proxy with HTTPS",
        "behind a proxy",
    ],
)
def test_websockets_of_programs_and_of_its_own_pages_are_opened(headers: dict[str, str], tmp_path: Path) -> None:
    assert all(opened(client(tmp_path), headers))


@pytest.mark.parametrize("origins", [["https://home.example"], ["*"], ["null", "https://home.example"]])
def test_the_setting_allows_websockets_too(origins: list[str], tmp_path: Path) -> None:
    headers = {"origin": "https://home.example", "sec-fetch-site": "cross-site"}
    assert all(opened(client(tmp_path, *origins), headers))


@pytest.mark.parametrize(("origins", "shown_to"), [(["https://home.example"], "https://home.example"), (["*"], "*")])
def test_a_failure_of_the_server_is_shown_to_pages_that_may_use_it(
    origins: list[str], shown_to: str, tmp_path: Path
) -> None:
    answer = client(tmp_path, *origins).get("/broken", headers={"origin": "https://home.example"})
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (500, shown_to)
    assert "The server failed" in answer.json()["error"]["message"]


def test_a_failure_of_the_server_is_shown_to_no_other_page(tmp_path: Path) -> None:
    for origins in ([], ["https://home.example"]):
        answer = client(tmp_path, *origins).get("/broken", headers={"origin": "https://evil.example"})
        assert answer.status_code == 500
        assert "access-control-allow-origin" not in answer.headers
