"""/readyz while the version is being loaded."""

import asyncio
from collections.abc import AsyncIterator
from concurrent.futures import Future
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import cast

import httpx
import pytest
from speechmodel_inference.app import create_app
from speechmodel_inference.errors import ModelFolderError
from speechmodel_inference.routers import health
from speechmodel_inference.settings import Settings
from speechmodel_inference.version import ServedVersion
from support.waiting import STALLED_SECONDS

LONG = 10 * STALLED_SECONDS


@dataclass
class Loading:
    """A server that loads its version until `version` has a result, and a probe that it has begun to answer."""

    version: Future[ServedVersion]
    probe: asyncio.Task[httpx.Response]


@asynccontextmanager
async def loading(monkeypatch: pytest.MonkeyPatch, seconds: float) -> AsyncIterator[Loading]:
    monkeypatch.setattr(health, "LOADING_SECONDS", seconds)
    app, version = create_app(Settings()), Future[ServedVersion]()
    lifecycle = app.state.services.lifecycle
    monkeypatch.setattr(lifecycle, "begin", lambda: version)
    asked = asyncio.Event()
    wait = lifecycle.until_loaded

    async def waiting(longest: float) -> None:
        asked.set()
        await wait(longest)

    monkeypatch.setattr(lifecycle, "until_loaded", waiting)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://espejo") as client:
        load = asyncio.create_task(lifecycle.load())
        probe = asyncio.create_task(client.get("/readyz"))
        begun = asyncio.create_task(asked.wait())
        await asyncio.wait({probe, begun}, return_when=asyncio.FIRST_COMPLETED)
        begun.cancel()
        yield Loading(version, probe)
        await load


async def test_a_probe_is_answered_as_soon_as_the_version_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loading(monkeypatch, LONG) as server:
        assert not server.probe.done()
        server.version.set_result(cast(ServedVersion, object()))
        async with asyncio.timeout(STALLED_SECONDS):
            answer = await server.probe
        assert answer.status_code == 200


async def test_a_probe_is_answered_as_soon_as_loading_has_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    async with loading(monkeypatch, LONG) as server:
        server.version.set_exception(ModelFolderError("version.json is missing"))
        async with asyncio.timeout(STALLED_SECONDS):
            answer = await server.probe
        assert (answer.status_code, answer.json()["reason"]) == (503, "version.json is missing")


async def test_a_probe_does_not_wait_longer_than_kubelet(monkeypatch: pytest.MonkeyPatch) -> None:
    assert health.LOADING_SECONDS < 1
    async with loading(monkeypatch, 0) as server:
        async with asyncio.timeout(STALLED_SECONDS):
            answer = await server.probe
        assert (answer.status_code, answer.json()["reason"]) == (503, "loading the model")
        server.version.set_exception(ModelFolderError("version.json is missing"))
