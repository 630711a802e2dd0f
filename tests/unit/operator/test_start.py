"""The start of the operator."""

import asyncio
from http import HTTPStatus

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client
from speechmodel_operator import __main__ as module
from speechmodel_operator.settings import Settings
from support.ports import free_ports
from support.waiting import STALLED_SECONDS


async def test_an_operator_that_waits_for_the_definition_is_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = asyncio.Event()

    async def nothing(_: web.Request) -> web.StreamResponse:
        asked.set()
        return web.Response(status=HTTPStatus.NOT_FOUND)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", nothing)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]

    async def configuration() -> client.Configuration:
        return client.Configuration(host=f"http://{host}:{port}")

    monkeypatch.setattr(module, "load_configuration", configuration)
    liveness, metrics = free_ports(2)
    settings = Settings(liveness_port=liveness, metrics_port=metrics)
    operator = asyncio.create_task(module.operate(settings))
    async with asyncio.timeout(STALLED_SECONDS), aiohttp.ClientSession() as session:
        await asked.wait()
        async with session.get(f"http://127.0.0.1:{liveness}/healthz") as answer:
            assert answer.status == HTTPStatus.OK
    operator.cancel()
    await asyncio.gather(operator, return_exceptions=True)
    await runner.cleanup()
