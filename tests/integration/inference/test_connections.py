"""Many connections, and clients that send or read slowly."""

import socket
import sys
import time
from contextlib import ExitStack
from http.client import HTTPResponse
from pathlib import Path

import psutil
import pytest
from speechmodel_inference.connections import FOR_PROBES, LINGER_SECONDS
from support.ports import free_port
from support.servers import HANGS, OK_ESPEJO, Server, Start, VersionFolder
from support.waiting import Pace, in_pace

GET = b"GET %s HTTP/1.1\r\nHost: x\r\n\r\n"


def connect(port: int, sent: bytes = b"") -> socket.socket:
    connection = socket.create_connection(("127.0.0.1", port), timeout=HANGS)
    connection.sendall(sent)
    return connection


def status(connection: socket.socket) -> int:
    """Read one answer, and return its status."""
    answer = HTTPResponse(connection)
    answer.begin()
    answer.read()
    return answer.status


def everything(connection: socket.socket) -> bytes:
    return b"".join(iter(lambda: connection.recv(65536), b""))


def open_connections(server: Server) -> int:
    found = psutil.Process(server.process.pid).net_connections()
    return sum(each.status == psutil.CONN_ESTABLISHED for each in found)


def test_probes_are_answered_however_many_connections_are_open(start: Start) -> None:
    server = start(connections=5, header_seconds=HANGS).until_ready()
    server.until(lambda: open_connections(server) == 0, "no connection of this test is open")
    with ExitStack() as open_:
        held = [open_.enter_context(connect(server.port)) for _ in range(5 + 2 * FOR_PROBES)]
        server.until(lambda: open_connections(server) <= 5 + FOR_PROBES, "older ones beyond the limit make room")
        for path in ("/livez", "/readyz", "/metrics"):
            assert server.get(path).status_code == 200
        refused = server.transcribe(OK_ESPEJO)
        assert (refused.status_code, refused.json()["error"]["code"]) == (503, "too_many_connections")
        assert 1 <= int(refused.headers["Retry-After"]) <= 4
        assert refused.headers["Connection"] == "close", (
            "a client that keeps connections must not repeat it on this one"
        )
        with pytest.raises(Exception, match="503"):
            server.websocket("/vosk")
        for protocol in ("http", "websocket"):
            assert server.metric("speechmodel_connections_refused_total", protocol=protocol) == 1
        assert server.get("/livez").status_code == 200
        held[0].sendall(GET % b"/v1/models")
        assert status(held[0]) == 200, "those within the limit are served"


def test_an_idle_connection_makes_room_for_a_new_one(start: Start) -> None:
    server = start(connections=5).until_ready()
    with ExitStack() as open_:
        idle = [open_.enter_context(connect(server.port, GET % b"/livez")) for _ in range(5)]
        for connection in idle:
            assert status(connection) == 200
        idle[0].sendall(GET % b"/v1/models")
        assert status(idle[0]) == 200
        assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
        assert everything(idle[1]) == b"", "it was idle for the longest time"
        idle[0].sendall(GET % b"/livez")
        assert status(idle[0]) == 200


@pytest.mark.parametrize("path", ["/livez", "/nothing", "/v1/models", "/v1/audio/translations"])
def test_a_body_that_nobody_reads_does_not_hold_a_connection(path: str, start: Start, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text("secret")
    server = start(keep_alive_seconds=1, api_keys=tmp_path / "keys").until_ready()
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"
    with connect(server.port, head.encode()) as connection:
        assert 400 <= status(connection) < 500
        with pytest.raises(OSError):
            for _ in range(2 * HANGS):
                connection.sendall(b"x")
                time.sleep(0.5)


def test_a_body_that_nobody_reads_may_arrive_after_the_answer(start: Start) -> None:
    server = start().until_ready()
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"

    def send_late(pace: Pace) -> None:
        with connect(server.port, head) as connection:
            assert status(connection) == 404
            pace.step()
            connection.sendall(bytes(1_000_000) + GET % b"/livez")
            assert status(connection) == 200
            pace.rest(LINGER_SECONDS + 1)
            connection.sendall(GET % b"/livez")
            assert status(connection) == 200

    in_pace(send_late, LINGER_SECONDS - 1)


def test_a_client_that_reads_no_answer_does_not_hold_a_connection(start: Start) -> None:
    server = start(upload_seconds=1).until_ready()
    with connect(server.port) as connection:
        connection.settimeout(2)
        with pytest.raises(OSError):  # a time-out as long as the server takes no more requests, and then its end
            for _ in range(100_000):
                connection.sendall(GET % b"/openapi.json")
        server.until(lambda: open_connections(server) == 0, "its connection ends")


def test_more_connections_than_files_are_refused_and_do_not_fill_the_log(folder: VersionFolder, tmp_path: Path) -> None:
    wyoming = free_port()
    settings = {"wyoming_listen": f"127.0.0.1:{wyoming}"}
    python = ("prlimit", "--nofile=200", sys.executable)
    with Server(folder.path, tmp_path / "log", settings, python=python) as server, ExitStack() as open_:
        server.until_ready()
        held = [open_.enter_context(connect(wyoming)) for _ in range(260)]
        assert server.get("/livez").status_code == 200
        assert server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}, "Wyoming leaves room for HTTP"
        assert b"too_many_connections" in everything(held[-1])
        assert server.metric("speechmodel_connections_refused_total", protocol="wyoming") > 100
        held += [open_.enter_context(connect(server.port)) for _ in range(260)]
        assert server.get("/livez").status_code == 200
        assert server.log.stat().st_size < 100_000
        assert "Traceback" not in server.log.read_text()
