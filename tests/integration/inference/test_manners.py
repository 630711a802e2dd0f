"""Limits, keys, and what web pages and proxies need."""

import gzip
import re
import socket
from pathlib import Path

import httpx
import openai
import pytest
from speechmodel_inference.settings import Settings
from support.servers import HANGS, OK_ESPEJO, Server, Start, Upload


def connect(server: Server, sent: bytes = b"") -> socket.socket:
    """Return a connection whose first bytes are there when the server accepts it: its time for them begins then."""
    with server.stopped():
        connection = socket.create_connection(("127.0.0.1", server.port), timeout=HANGS)
        connection.sendall(sent)
    return connection


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


@pytest.mark.parametrize("before", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"], ids=["first", "second"])
@pytest.mark.parametrize("sent", [b"", b"GET /livez HTTP/1.1\r\nHost: x\r\n"], ids=["nothing", "a part"])
def test_headers_that_do_not_arrive_in_time_end_the_connection(before: bytes, sent: bytes, start: Start) -> None:
    server = start(header_seconds=0.5, keep_alive_seconds=HANGS if sent else 1).until_ready()
    with connect(server, before or sent) as connection:
        if before:
            assert connection.recv(65536).startswith(b"HTTP/1.1 200")
            connection.sendall(sent)
        slow = everything(connection)
    assert b"HTTP/1.1 408 Request Timeout" in slow or (before and not sent), "an idle connection just ends"
    assert server.get("/livez").status_code == 200


def test_a_connection_without_a_request_ends_after_its_time(start: Start) -> None:
    server = start(keep_alive_seconds=1).until_ready()
    with connect(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n") as connection:
        connection.settimeout(Settings.model_fields["keep_alive_seconds"].default - 15)
        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_a_connection_without_a_request_outlives_those_of_load_balancers(start: Start) -> None:
    assert Settings.model_fields["keep_alive_seconds"].default > 60, "as long as AWS and ingress-nginx keep one"
    server = start().until_ready()
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with connect(server, request) as connection:
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.settimeout(6)  # uvicorn would close it after 5 s
        with pytest.raises(TimeoutError):
            while True:
                assert connection.recv(65536), "closed"
        connection.settimeout(HANGS)
        connection.sendall(request)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_a_slow_body_is_no_slow_header(start: Start) -> None:
    server = start(header_seconds=0.2).until_ready()
    request = httpx.Request("POST", f"{server.url}/v1/audio/transcriptions", files={"file": OK_ESPEJO.read_bytes()})
    head = "".join(f"{name}: {value}\r\n" for name, value in {**request.headers, "connection": "close"}.items())
    with connect(server, f"POST {request.url.path} HTTP/1.1\r\n{head}\r\n".encode()) as connection:
        server.until_metric("speechmodel_requests_in_flight", 1)
        with pytest.raises(TimeoutError):
            connection.settimeout(0.6)
            connection.recv(1)
        connection.settimeout(HANGS)
        connection.sendall(request.read())
        assert b'{"text":"ok espejo"}' in everything(connection)


def test_keys_are_read_again_when_the_file_changes(start: Start, tmp_path: Path) -> None:
    file = tmp_path / "keys"
    file.write_text("first\nsecond\n")
    server = start(api_keys=file).until_ready()

    def ask(key: str) -> str:
        client = openai.OpenAI(base_url=f"{server.url}/v1", api_key=key, max_retries=0)
        return client.audio.transcriptions.create(file=OK_ESPEJO, model="whisper-1").text

    assert ask("first") == ask("second") == "ok espejo"
    for wrong in ("firs", "first2", "Ünicode", "first\tsecond"):
        answer = server.client.get("/v1/models", headers={b"Authorization": f"Bearer {wrong}".encode()})
        assert (answer.status_code, answer.json()["error"]["code"]) == (401, "invalid_api_key")
    assert server.transcribe(OK_ESPEJO).status_code == 401
    assert server.get("/metrics").status_code == 200
    file.write_text("third")
    with pytest.raises(openai.AuthenticationError):
        ask("first")
    assert ask("third") == "ok espejo"
    file.unlink()
    with pytest.raises(openai.AuthenticationError):
        ask("third")


def test_keys_are_read_from_a_mounted_secret(start: Start, tmp_path: Path) -> None:
    mount = tmp_path / "secret"

    def written(folder: str, **keys: str) -> None:
        """Write as kubelet does: files in a new folder, and one link that is moved to it."""
        (mount / folder).mkdir(parents=True)
        for name, key in keys.items():
            (mount / folder / name).write_text(key)
            if not (mount / name).is_symlink():
                (mount / name).symlink_to(f"..data/{name}")
        (mount / "..new").symlink_to(folder)
        (mount / "..new").replace(mount / "..data")

    written("..1", mirror="one", phone="two\n")
    server = start(api_keys=mount).until_ready()

    def status(key: str) -> int:
        return server.client.get("/v1/models", headers={"Authorization": f"Bearer {key}"}).status_code

    assert [status(key) for key in ("one", "two", "mirror")] == [200, 200, 401]
    written("..2", mirror="three", phone="two")
    assert [status(key) for key in ("one", "two", "three")] == [401, 200, 200]


def test_head_is_answered_as_get_without_a_body(server: Server) -> None:
    for path in ("/livez", "/readyz", "/v1/models"):
        got, head = server.get(path), server.client.head(path)
        assert (head.status_code, head.content) == (200, b"")
        assert head.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize(
    "path", ["/v1/audio/transcriptions/", "//v1//audio/transcriptions", "/v1/audio//transcriptions//"]
)
def test_slashes_too_many_do_not_matter(path: str, server: Server) -> None:
    answer = server.client.post(f"{server.url}{path}", files={"file": OK_ESPEJO.read_bytes()})
    assert (answer.status_code, answer.json()) == (200, {"text": "ok espejo"})
    for models in ("/v1/models/", "//v1/models", "/v1/models/espejo/"):
        assert server.get(f"{server.url}{models}").status_code == 200
    assert server.get("/v1/models/http://x").status_code == 404
    assert server.get("/v1/models/other/").json()["error"]["message"].startswith("The model 'other' does not exist")


def test_an_address_in_the_place_of_a_path_is_understood(server: Server) -> None:
    with connect(server, b"GET http://espejo:80/livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n") as connection:
        assert everything(connection).startswith(b"HTTP/1.1 200")


def test_slashes_too_many_open_no_guarded_path(start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(api_keys=tmp_path / "keys", root_path="/speech").until_ready()
    for path in ("/v1/models", "//v1/models", "/v1/models/", "/v1//models"):
        assert server.get(f"{server.url}{path}").status_code == 401
        key = {"Authorization": "Bearer secret"}
        assert server.client.get(f"{server.url}{path}", headers=key).status_code == 200
    for path in ("/", "//"):
        page = server.get(f"{server.url}{path}")
        assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")


@pytest.mark.parametrize("path", ["/v1/audio/transcriptions", "/stt"])
def test_a_body_in_another_encoding_is_refused_in_a_sentence(path: str, server: Server) -> None:
    body = httpx.Request("POST", server.url, files={"file": OK_ESPEJO.read_bytes()} if "v1" in path else None)
    headers = {"Content-Type": body.headers.get("Content-Type", "audio/wav"), "Content-Encoding": "gzip"}
    answer = server.client.post(path, content=gzip.compress(body.read()), headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unsupported_encoding")


def test_pages_of_other_origins_may_use_it_if_the_setting_says_so(start: Start) -> None:
    server = start(cors_origins="https://home.example, https://other.example").until_ready()
    asks = {"Origin": "https://home.example", "Access-Control-Request-Method": "POST"}
    allowed = server.client.options("/v1/audio/transcriptions", headers=asks)
    assert allowed.headers["access-control-allow-origin"] == "https://home.example"
    foreign = server.client.options("/v1/audio/transcriptions", headers=asks | {"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


def test_behind_a_proxy_that_removes_a_path_the_document_has_it(start: Start) -> None:
    server = start(root_path="/speech").until_ready()
    assert server.get("/openapi.json").json()["servers"] == [{"url": "/speech"}]
    assert server.get("/v1/models").status_code == 200


def test_a_message_is_short_however_long_the_names_in_a_request_are(server: Server) -> None:
    for answer in (
        server.transcribe(OK_ESPEJO, response_format="x" * 100_000),
        server.transcribe(OK_ESPEJO, model="x" * 100_000),
        server.client.post("/v1/audio/transcriptions", files={"file": ("x" * 100_000, b"no sound")}),
        server.get(f"/{'x' * 10_000}"),
    ):
        assert 400 <= answer.status_code < 500
        assert len(answer.json()["error"]["message"]) <= 500


def test_a_client_that_leaves_is_one_line_of_the_log(start: Start, long_recording: bytes) -> None:
    server = start(decoders=1).until_ready()
    with Upload(server, long_recording).finish():
        server.until_metric("speechmodel_requests_decoding", 1)
    server.until(lambda: "left before the answer" in server.log.read_text(), "the line")
    (line,) = (line for line in server.log.read_text().splitlines() if "INFO speechmodel" in line and "POST" in line)
    assert line.endswith(
        "INFO speechmodel_inference.app: POST /v1/audio/transcriptions: the client left before the answer"
    )
    assert "Traceback" not in server.log.read_text()


def test_an_unknown_setting_ends_it_with_a_sentence(start: Start) -> None:
    server = start(
        decoder="1", port="tcp://10.0.0.1:80", service_host="10.0.0.1", port_80_tcp_addr="10.0.0.1", web_port="9000"
    )
    assert server.until_ended() == 78
    assert server.log.read_text() == (
        "SPEECHMODEL_DECODER: no setting has this name; correct or remove it\n"
        "SPEECHMODEL_WEB_PORT: no setting has this name; the addresses and ports are SPEECHMODEL_LISTEN and "
        "SPEECHMODEL_WYOMING_LISTEN, such as :9000\n"
    )


def test_clients_that_must_wait_are_told_different_times() -> None:
    from speechmodel_inference.decoding_queue import DecodingQueue
    from speechmodel_inference.errors import QueueFull

    queue = DecodingQueue(decoders=1, waiting=19)
    queue.taken = 20
    times = set()
    for _ in range(50):
        with pytest.raises(QueueFull) as full, queue.place():
            pass
        times.add(int(re.sub(r"\D", "", full.value.headers["Retry-After"])))
    assert len(times) > 3
    assert 20 <= min(times) <= max(times) <= 30
