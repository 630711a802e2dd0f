"""The protocols with limits, on sockets whose buffers are small."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing

import pytest
import uvicorn
from speechmodel_inference.connections import Connections, limited
from speechmodel_inference.settings import Settings
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from uvicorn.server import ServerState

GET = b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"
SMALLEST = 4096
"""Bytes of a socket's buffer. The system makes it somewhat larger."""
ANSWER = bytes(30_000)
"""More than both buffers, and less than asyncio keeps before it says that a client does not read."""
HANGS = 120


PAGE = "https://home.example"


async def answers(scope: Scope, receive: Receive, send: Send) -> None:
    await Response(ANSWER)(scope, receive, send)


@asynccontextmanager
async def served(settings: Settings, connections: Connections) -> AsyncIterator[int]:
    """Serve ANSWER, and yield the port."""
    http, websocket = limited(settings, connections, lambda _: None)
    config = uvicorn.Config(answers, http=http, ws=websocket, lifespan="off", log_config=None, timeout_keep_alive=HANGS)
    config.load()
    state = ServerState()
    listening = socket.create_server(("127.0.0.1", 0))
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SMALLEST)
    server = await asyncio.get_running_loop().create_server(
        lambda: http(config=config, server_state=state, app_state={}), sock=listening
    )
    async with server:
        yield listening.getsockname()[1]
        for each in list(state.connections):
            each.transport.abort()


async def asked(port: int) -> socket.socket:
    """Return a connection that has asked, with a small buffer for the answer."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALLEST)
    connection.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connection, ("127.0.0.1", port))
    await loop.sock_sendall(connection, GET)
    return connection


async def status(port: int) -> int:
    """Return the status of the answer to a client that reads."""
    with closing(await asked(port)) as connection:
        return int((await asyncio.get_running_loop().sock_recv(connection, 100)).split()[1])


@pytest.mark.parametrize(
    ("sent", "status_line", "code"),
    [
        (b"GET / HTTP/1.1\r\n", b"HTTP/1.1 408 Request Timeout", "headers_too_slow"),
        (b"\x16\x03\x01 TLS\r\n\r\n", b"HTTP/1.1 400 Bad Request", "invalid_http"),
    ],
)
async def test_what_does_not_become_a_request_is_answered_in_json(sent: bytes, status_line: bytes, code: str) -> None:
    async with served(Settings(header_seconds=0.2), Connections(1)) as port, asyncio.timeout(HANGS):
        head, error = await answer(port, sent)
        assert head.startswith(status_line)
        assert (error["code"], error["message"][-1]) == (code, ".")


async def test_a_websocket_beyond_the_limit_is_told_why_and_when_to_come_back() -> None:
    upgrade = GET.replace(b"\r\n\r\n", b"\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
    async with served(Settings(), Connections(0)) as port, asyncio.timeout(HANGS):
        head, error = await answer(port, upgrade)
        assert head.startswith(b"HTTP/1.1 503 Service Unavailable")
        assert b"Retry-After: " in head
        assert error["code"] == "too_many_connections"


async def test_a_page_that_may_use_the_server_sees_that_it_is_full() -> None:
    asked = GET.replace(b"\r\n\r\n", f"\r\nOrigin: {PAGE}\r\n\r\n".encode())
    for origins, allowed in (((PAGE,), True), ((), False)):
        async with served(Settings(cors_origins=origins), Connections(0)) as port, asyncio.timeout(HANGS):
            head, error = await answer(port, asked)
            assert error["code"] == "too_many_connections"
            assert (f"access-control-allow-origin: {PAGE}".encode() in head.lower()) == allowed


async def answer(port: int, sent: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the head of the answer to some bytes, and its error."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    with closing(writer):
        writer.write(sent)
        head, _, body = (await reader.read()).partition(b"\r\n\r\n")
        assert b"content-type: application/json" in head.lower()
        error: dict[str, str] = json.loads(body)["error"]
        return head, error


async def test_a_client_that_does_not_read_is_counted_until_its_connection_has_ended() -> None:
    async with served(Settings(upload_seconds=HANGS), Connections(1)) as port, asyncio.timeout(HANGS):
        with closing(await asked(port)):
            for _ in range(3):
                assert await status(port) == 503, "its file is still open"


async def test_a_client_that_does_not_read_the_end_of_an_answer_is_not_waited_for() -> None:
    async with served(Settings(upload_seconds=0.2), Connections(1)) as port, asyncio.timeout(HANGS):
        with closing(await asked(port)) as connection:
            while await status(port) != 200:
                await asyncio.sleep(0.1)
            received = 0
            while part := await asyncio.get_running_loop().sock_recv(connection, len(ANSWER)):
                received += len(part)
            assert received < len(ANSWER), "it was closed before"


async def test_a_connection_is_idle_after_a_body_that_nobody_read() -> None:
    settings = Settings(header_seconds=5)
    async with served(settings, Connections(1)) as port, asyncio.timeout(HANGS):
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        with closing(writer):
            writer.write(b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n\r\n")
            await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(len(ANSWER))
            writer.write(b"12345")
            await asyncio.sleep(settings.header_seconds + 1)
            assert not reader.at_eof(), "no headers are due"
            assert await status(port) == 200, "it makes room"
            assert await reader.read() == b"", "and is told nothing that it did not ask for"
