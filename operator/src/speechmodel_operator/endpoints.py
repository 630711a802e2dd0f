"""The HTTP endpoints of the operator: /healthz, /readyz and /metrics, on IPv4 and IPv6. `/metrics?name[]=NAME` returns the samples of
that name.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from aiohttp import web
from prometheus_client.exposition import choose_encoder
from speechmodel_api.crd import GROUP, PLURAL

from speechmodel_operator.settings import Settings
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry


@asynccontextmanager
async def endpoints(
    settings: Settings, supervisor: Supervisor, telemetry: Telemetry, defined: asyncio.Event
) -> AsyncIterator[None]:
    """Answer on the ports of the settings. Raises OSError when a port is taken.

    An operator that waits for the CustomResourceDefinition is healthy, and not ready until `defined` is set. One that waits for its
    Lease is both.
    """

    async def healthz(_: web.Request) -> web.Response:
        if models := supervisor.stalled():
            return web.Response(status=503, text=f"reconciling has stalled: {', '.join(models)}\n")
        return web.Response(text="ok\n")

    async def readyz(request: web.Request) -> web.Response:
        if not defined.is_set():
            return web.Response(status=503, text=f"waiting until the API server serves {PLURAL}.{GROUP}\n")
        return await healthz(request)

    async def metrics(request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get("Accept", ""))
        names = request.query.getall("name[]", [])
        registry = telemetry.registry.restricted_registry(names) if names else telemetry.registry
        body = await asyncio.to_thread(encode, registry)
        return web.Response(body=body, headers={"Content-Type": content_type})

    async with AsyncExitStack() as stack:
        for port, handlers in (
            (settings.liveness_port, {"/healthz": healthz, "/readyz": readyz}),
            (settings.metrics_port, {"/metrics": metrics}),
        ):
            if port:
                app = web.Application()
                app.router.add_routes([web.get(path, handler) for path, handler in handlers.items()])
                runner = web.AppRunner(app, access_log=None)
                await runner.setup()
                stack.push_async_callback(runner.cleanup)
                await web.TCPSite(runner, None, port).start()  # None: every address of both families
        yield
