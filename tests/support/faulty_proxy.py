"""A proxy before the API server that injects faults, and counts them.

It speaks HTTP, so that it can answer with status codes and treat watches differently. That lets one program inject every fault.
"""

import asyncio
import json
import random
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import MappingProxyType

import aiohttp
from aiohttp import web

from support.ports import free_port

CALLS: Mapping[str, float] = MappingProxyType(
    {
        "latency": 0.1,
        "reset before": 0.03,
        "reset after": 0.03,
        "half an answer": 0.03,
        "409": 0.03,
        "429": 0.04,
        "500": 0.03,
    }
)
"""Share of the calls that get each fault. `reset after` cuts the connection when the API server has done what was asked, and `half
an answer` in the middle of its answer.
"""
WATCHES: Mapping[str, float] = MappingProxyType({"410": 0.2, "cut": 0.25, "silent": 0.25, "half-closed": 0.1})
"""Share of the watches that end in each way. A `silent` one stays open and brings nothing. The server of a `half-closed` one sends
the end of its own direction in the middle of the answer, and keeps the connection.
"""
IN_PIECES = "in pieces"
"""Fault of a line of a watch that arrives in two pieces. Every tenth has it."""
PAUSE_SECONDS = 3.0
"""Longest time after which a watch gets its fault."""


class FaultyProxy:
    """Forwards to `server`, with faults while `faulty` is true."""

    def __init__(self, server: str, seed: int) -> None:
        self.server, self.port, self.faulty = server, free_port(), True
        self.injected: Counter[str] = Counter()
        self.created: Counter[str] = Counter()
        """Jobs that the API server created for clients of this proxy, by name."""
        self.unanswered: set[str] = set()
        """Names of Jobs that a client asked for when the API server went away. They may exist."""
        self._random = random.Random(seed)

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"http://127.0.0.1:{self.port}"

    @contextmanager
    def running(self) -> Iterator["FaultyProxy"]:
        """Serve in a thread while the block runs."""
        started, stop = threading.Event(), threading.Event()
        thread = threading.Thread(target=lambda: asyncio.run(self._serve(started, stop)))
        thread.start()
        started.wait()
        try:
            yield self
        finally:
            stop.set()
            thread.join()

    async def _serve(self, started: threading.Event, stop: threading.Event) -> None:
        app = web.Application()
        connector = aiohttp.TCPConnector(ssl=False, limit=0)
        async with aiohttp.ClientSession(self.server, connector=connector, auto_decompress=False) as session:

            async def handle(request: web.Request) -> web.StreamResponse:
                try:
                    if request.query.get("watch") == "true":
                        return await self._watch(session, request)
                    return await self._call(session, request)
                except aiohttp.ClientError:  # the API server is away
                    return _reset(request)

            app.router.add_route("*", "/{path:.*}", handle)
            runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
            await runner.setup()
            await web.TCPSite(runner, "127.0.0.1", self.port).start()
            started.set()
            await asyncio.to_thread(stop.wait)
            await runner.cleanup()

    async def _call(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        fault = self._draw(CALLS)
        if fault == "409" and request.method != "PATCH":
            fault = ""
        self.injected.update([fault] if fault else [])
        if fault == "latency":
            await asyncio.sleep(self._random.uniform(0.05, 0.5))
        elif fault == "reset before":
            return _reset(request)
        elif fault.isdigit():
            return _refusal(int(fault))
        sent = await request.read()
        creating = request.method == "POST" and request.path.endswith("/jobs")
        job = json.loads(sent)["metadata"]["name"] if creating else ""
        try:
            async with self._forward(session, request, sent) as answer:
                body = await answer.read()
        except aiohttp.ClientError:
            self.unanswered.update([job] if job else [])
            raise
        if job and answer.status == HTTPStatus.CREATED:
            self.created[job] += 1
        if fault == "reset after":
            return _reset(request)
        if fault == "half an answer":
            response = web.StreamResponse(status=answer.status, headers=_kept(answer))
            response.content_length = len(body)
            await response.prepare(request)
            await response.write(body[: len(body) // 2])
            return _reset(request)
        return web.Response(status=answer.status, body=body, headers=_kept(answer))

    async def _watch(self, session: aiohttp.ClientSession, request: web.Request) -> web.StreamResponse:
        fault, response = self._draw(WATCHES), web.StreamResponse()
        async with self._forward(session, request) as answer:
            response.set_status(answer.status)
            response.headers.update(_kept(answer))
            await response.prepare(request)
            try:
                async with asyncio.timeout(self._random.uniform(0, PAUSE_SECONDS) if fault else None):
                    async for line in answer.content:
                        await self._write_line(response, line)
                    return response
            except TimeoutError:
                self.injected[fault] += 1
        if fault == "410":
            await response.write(json.dumps({"type": "ERROR", "object": _status(410)}).encode() + b"\n")
        elif fault == "half-closed":
            assert request.transport is not None
            request.transport.write_eof()
            await asyncio.sleep(3600)
        elif fault == "silent":
            await asyncio.sleep(3600)  # the client hangs up
        else:
            _reset(request)
        return response

    async def _write_line(self, response: web.StreamResponse, line: bytes) -> None:
        if not self.faulty or self._random.random() >= 0.1:
            await response.write(line)
            return
        middle = self._random.randrange(1, len(line))
        await response.write(line[:middle])
        await asyncio.sleep(0.01)
        await response.write(line[middle:])
        self.injected[IN_PIECES] += 1

    def _forward(
        self, session: aiohttp.ClientSession, request: web.Request, body: bytes = b""
    ) -> "aiohttp.client._RequestContextManager":
        headers = {
            name: request.headers[name]
            for name in ("Authorization", "Accept", "Content-Type")
            if name in request.headers
        }
        timeout = aiohttp.ClientTimeout(None)
        return session.request(request.method, request.rel_url, headers=headers, data=body or None, timeout=timeout)

    def _draw(self, shares: Mapping[str, float]) -> str:
        """Return a fault, or an empty text for none."""
        if not self.faulty:
            return ""
        return self._random.choices([*shares, ""], [*shares.values(), 1 - sum(shares.values())])[0]


def _reset(request: web.Request) -> web.Response:
    """Cut the connection without a word."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


def _refusal(code: int) -> web.Response:
    headers = {"Retry-After": "1"} if code == HTTPStatus.TOO_MANY_REQUESTS else {}
    return web.json_response(_status(code), status=code, headers=headers)


def _status(code: int) -> dict[str, object]:
    reasons = {409: "Conflict", 410: "Expired", 429: "TooManyRequests", 500: "InternalError"}
    return {"kind": "Status", "code": code, "reason": reasons[code], "message": f"injected {code}"}


def _kept(answer: aiohttp.ClientResponse) -> dict[str, str]:
    return {
        name: answer.headers[name]
        for name in ("Content-Type", "Retry-After", "Content-Encoding")
        if name in answer.headers
    }
