"""The application: routers, errors and what surrounds every request."""

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI, Request, Response
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.status import HTTP_405_METHOD_NOT_ALLOWED

from speechmodel_inference.errors import ClientLeft, RequestError
from speechmodel_inference.middleware import CountRequests, SendClientsElsewhere
from speechmodel_inference.openai_types import ErrorObject, ErrorResponse
from speechmodel_inference.routers import health, metrics, models, transcriptions
from speechmodel_inference.services import Services
from speechmodel_inference.settings import Settings

log = logging.getLogger(__name__)

CLIENT_LEFT = 499
"""Nobody reads it; it tells the metrics why there was no answer (a number of nginx's)."""


def create_app(settings: Settings) -> FastAPI:
    """A server for the version in `settings.folder`; it loads when the app starts up."""
    services = Services.make(settings)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        loading = asyncio.create_task(services.lifecycle.load())
        yield
        await asyncio.wait({loading})
        services.queue.close()
        services.lifecycle.close()

    app = FastAPI(title="SpeechModel", lifespan=lifespan, docs_url=None, redoc_url=None)
    app.state.services = services
    for router in (transcriptions.router, models.router, health.router, metrics.router):
        app.include_router(router)
    app.add_exception_handler(RequestError, _request_error)
    app.add_exception_handler(ClientLeft, _client_left)
    app.add_exception_handler(HTTPException, _http_exception)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(SendClientsElsewhere, lifecycle=services.lifecycle)
    app.add_middleware(CountRequests, telemetry=services.telemetry)
    return app


def _body(status: int, error: ErrorObject, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse(ErrorResponse(error=error).model_dump(), status, headers)


async def _request_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestError)
    described = ErrorObject(message=error.message, type=error.type, param=error.param, code=error.code)
    return _body(error.status, described, error.headers)


async def _client_left(*_: object) -> Response:
    return Response(status_code=CLIENT_LEFT)


async def _http_exception(request: Request, error: Exception) -> Response:
    """Starlette's own: no such path, or not with this method."""
    assert isinstance(error, HTTPException)
    known = error.status_code == HTTP_405_METHOD_NOT_ALLOWED
    message = f"{request.method} {request.url.path}: " + (
        "the path takes other methods." if known else f"{error.detail}."
    )
    headers = dict(error.headers or {})
    return _body(error.status_code, ErrorObject(message=message, type="invalid_request_error"), headers)


async def _unexpected(request: Request, error: Exception) -> Response:
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return _body(500, ErrorObject(message="The server failed; its log says why.", type="server_error"))
