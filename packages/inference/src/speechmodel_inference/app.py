"""The FastAPI application: routers, error handlers and middleware."""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Iterator, MutableMapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.telemetry import TelemetryConfig
from pydantic_core import ErrorDetails
from speechmodel_api.tracing import provider
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.status import HTTP_404_NOT_FOUND, HTTP_405_METHOD_NOT_ALLOWED

from speechmodel_inference.api_keys import RequireKey
from speechmodel_inference.errors import LONGEST_MESSAGE, BadRequest, ClientLeft, RequestError
from speechmodel_inference.lifecycle import Lifecycle
from speechmodel_inference.middleware import (
    AnswerHead,
    CloseWhileDraining,
    CountRequests,
    RefuseForeignPages,
    TidyPaths,
    tidied,
)
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.openai_types import ErrorObject, ErrorResponse, error_object
from speechmodel_inference.origins import cors_headers
from speechmodel_inference.routers import (
    client_secrets,
    health,
    metrics,
    models,
    page,
    realtime,
    speechmodel,
    stt,
    transcriptions,
    vosk,
)
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings
from speechmodel_inference.wording import problem

log = logging.getLogger(__name__)

EXPIRY_SECONDS = 600.0
"""Time between two deletions of misheard clips."""
DECODERS_SECONDS = 5.0
"""Longest time that the end waits for decoders, which may still find misheard clips."""
WYOMING_SECONDS = 2.0
"""Longest time that the end waits for clients of Wyoming to see why their recordings are not answered."""
CLIPS_SECONDS = 8.0
"""Longest time that the end waits for misheard clips to be written."""
CLIENT_LEFT = 499
"""Status for the metrics when the client left before the answer, as in nginx."""

UNTRACED = ("/livez", "/readyz", "/metrics", "/v1/takes", "/v1/misheard", "/v1/retrain")
"""Beginnings of paths that make no spans: those that are called again and again, and those with names of people."""


def create_app(settings: Settings, wyoming: socket.socket | None = None, lifecycle: Lifecycle | None = None) -> FastAPI:
    """Return an app that serves the version in `settings.folder` and loads it at startup.

    `wyoming` is the socket for that protocol, if it is served. `lifecycle` is given if the version is being loaded
    already.
    """
    services = Services.make(settings, lifecycle)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(services.load())
        expiring = asyncio.create_task(_expire(services.misheard)) if services.misheard else None
        async with _wyoming(services, wyoming) if wyoming else nullcontext():
            yield
        await asyncio.wait({loading})
        await services.queue.close(DECODERS_SECONDS)
        if expiring is not None:
            expiring.cancel()
        if services.misheard is not None:
            await asyncio.to_thread(services.misheard.close, CLIPS_SECONDS)
        services.lifecycle.close()

    app = FastAPI(title="SpeechModel", lifespan=lifespan, docs_url=None, redoc_url=None, telemetry=_traces())
    app.state.services = services
    for routes in (transcriptions, stt, vosk, realtime, client_secrets, models, speechmodel, page, health, metrics):
        app.include_router(routes.router)
    for router in _of_takes(settings):
        app.include_router(router)
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(ClientLeft, _client_left)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)
    if services.api_keys is not None:
        app.add_middleware(RequireKey, keys=services.api_keys, client_secrets=services.client_secrets)
    app.add_middleware(RefuseForeignPages, origins=settings.cors_origins)
    app.add_middleware(CloseWhileDraining, lifecycle=services.lifecycle)  # a request without a key too
    app.add_middleware(CountRequests, telemetry=services.telemetry)
    if settings.cors_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=settings.cors_origins,
            allow_methods=["GET", "POST"],
            allow_headers=["*"],
            expose_headers=["Retry-After"],
        )
    app.add_middleware(AnswerHead)
    app.add_middleware(TidyPaths)  # before all that look at paths
    return app


def _of_takes(settings: Settings) -> Iterator[APIRouter]:
    """Yield the routers of what is off by default. They take a while to import."""
    if settings.keeps_takes:
        from speechmodel_inference.routers import takes

        yield takes.router
    if settings.misheard_days is not None:
        from speechmodel_inference.routers import misheard

        yield misheard.router
    if settings.service_account is not None:
        from speechmodel_inference.routers import retrain

        yield retrain.router


def _wyoming(services: Services, listening: socket.socket) -> AbstractAsyncContextManager[None]:
    from speechmodel_inference.wyoming_server import (
        serve_wyoming,  # its package takes a while to import, and is off by default
    )

    return serve_wyoming(services, listening, WYOMING_SECONDS)


async def _expire(inbox: MisheardInbox) -> None:
    """Delete clips whose time is over, again and again."""
    while True:
        try:
            await asyncio.to_thread(inbox.expire)
        except OSError as error:
            log.warning("misheard clips whose time is over cannot be deleted: %s", error.strerror or error)
        await asyncio.sleep(EXPIRY_SECONDS)


def _traces() -> TelemetryConfig:
    """Return the settings of FastAPI's own traces: a span for each request and each stream, but not for
    UNTRACED.
    """
    return {
        "auto_configure": False,
        "tracing": provider() is not None,
        "tracer_provider": provider(),
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": untraced,
    }


def untraced(scope: MutableMapping[str, Any]) -> bool:
    """Return True for a request without a span. FastAPI asks before the middleware, so that the path is not tidied yet."""
    return tidied(scope).startswith(UNTRACED)


def _body(status: int, error: ErrorObject, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorResponse(error=error).model_dump(), status, headers)


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    return _body(error.status, error_object(error), error.headers)


async def _invalid(_: Request, error: Exception) -> Response:
    """Answer what FastAPI refuses: a part of a path or of a query that is not as it must be."""
    assert isinstance(error, RequestValidationError)
    first: ErrorDetails = error.errors()[0]
    param = str(first["loc"][-1])
    return _body(400, error_object(BadRequest(f"{param}: {problem(first)}.", code="invalid_value", param=param)))


async def _client_left(request: Request, _: Exception) -> Response:
    log.info("%s %s: the client left before the answer", request.method, request.url.path)
    return Response(status_code=CLIENT_LEFT)


_REFUSED_BY_STARLETTE = {
    HTTP_404_NOT_FOUND: "no such path; /openapi.json lists the paths",
    HTTP_405_METHOD_NOT_ALLOWED: "the path does not allow this method",
}


async def _http_exception(request: Request, error: Exception) -> Response:
    """Answer Starlette's own errors: an unknown path, or a path that has no such method."""
    assert isinstance(error, HTTPException)
    wrong = _REFUSED_BY_STARLETTE.get(error.status_code, error.detail)
    message = f"{request.method[:20]} {request.url.path[: LONGEST_MESSAGE // 2]}: {wrong}."
    headers = dict(error.headers or {})
    return _body(error.status_code, ErrorObject(message=message, type="invalid_request_error"), headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    services: Services = request.app.state.services
    headers = cors_headers(request.headers, services.settings.cors_origins)  # this answer passes no middleware
    return _body(500, ErrorObject(message="The server failed; its log has the details.", type="server_error"), headers)
