"""The HTTP endpoints of the operator: /healthz and /metrics, on IPv4 and IPv6. `/metrics?name[]=NAME` returns the samples of that name."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder

from speechmodel_operator.settings import Settings
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry


@asynccontextmanager
async def endpoints(settings: Settings, supervisor: Supervisor, telemetry: Telemetry) -> AsyncIterator[None]:
    """Answer on the ports of the settings. An operator that waits for the CustomResourceDefinition or its Lease is healthy too.

    Raises OSError when a port is taken.
    """

    async def healthz(_: web.Request) -> web.Response:
        if models := supervisor.stalled():
            return web.Response(status=503, text=f"reconciling has stalled: {', '.join(models)}\n")
        return web.Response(text="ok\n")

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        names = request.query.getall("name[]", [])
        registry = telemetry.registry.restricted_registry(names) if names else telemetry.registry
        body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async with AsyncExitStack() as stack:
        for port, path, handler in (
            (settings.liveness_port, "/healthz", healthz),
            (settings.metrics_port, "/metrics", metrics),
        ):
            if port:
                app = web.Application()
                app.router.add_get(path, handler)
                runner = web.AppRunner(app, access_log=None)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, None, port).start()  # None: every address of both families
        yield
