"""API keys: requests to the API must have one of those in the files of a Secret, if the setting names them."""

import codecs
import hmac
import logging
from pathlib import Path

from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from speechmodel_inference.client_secrets import ClientSecrets
from speechmodel_inference.errors import Unauthorized
from speechmodel_inference.openai_types import ErrorResponse, error_object

log = logging.getLogger(__name__)

GUARDED_PATHS = ("/v1/", "/vosk", "/stt", "/api/")
"""Prefixes of the paths that need a key. Every WebSocket needs one. kubelet and Prometheus have none, and the page holds no secrets."""
REALTIME_PATH = "/v1/realtime"
"""The path of realtime sessions."""
KEY_SUBPROTOCOL = "openai-insecure-api-key."
"""The beginning of a WebSocket's subprotocol that has a key, for browsers, which send no headers of their own."""


class ApiKeys:
    """The keys in a file, or in the files of a folder, one key a line.

    They are read for each request, so a changed Secret counts as soon as kubelet has written it. If they cannot be
    read, no key is valid.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        if not self.read():
            log.warning(
                "%s contains no API key, so every request that needs a key is refused; write one key on each line", path
            )

    def read(self) -> list[bytes]:
        """Return the keys as they are now."""
        try:
            if not self._path.is_dir():
                return _lines(self._path)
            # kubelet keeps the files of a Secret in hidden folders, and links to them
            files = (each for each in self._path.iterdir() if not each.name.startswith("."))
            return [key for file in files for key in _lines(file)]
        except OSError as error:
            log.error("%s cannot be read (%s), so no API key is valid", self._path, error.strerror)
            return []

    def find(self, given: str) -> bytes | None:
        """Return the key that a request has, or None. The comparison takes the same time for every wrong key of a length."""
        # headers are read as Latin-1; curl sends letters other than ASCII as UTF-8, and browsers send Latin-1
        sent = given.encode("latin-1", "replace"), given.encode()
        equal = [key for key in self.read() for each in sent if hmac.compare_digest(key, each)]  # no early end
        return equal[0] if equal else None


class RequireKey:
    """Answers 401 to requests without a valid key. A short-lived one is valid for realtime sessions only."""

    def __init__(self, app: ASGIApp, keys: ApiKeys, client_secrets: ClientSecrets) -> None:
        self._app, self._keys, self._client_secrets = app, keys, client_secrets

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] == "lifespan" or not _guarded(scope) or await self._valid(scope):
            await self._app(scope, receive, send)
        else:
            error = Unauthorized()
            body = ErrorResponse(error=error_object(error)).model_dump()
            await JSONResponse(body, error.status, error.headers)(scope, receive, send)

    async def _valid(self, scope: Scope) -> bool:
        given = sent_key(scope)
        if self._keys.find(given) is not None:
            return True
        realtime = scope["type"] == "websocket" and _path(scope) == REALTIME_PATH
        return realtime and await self._client_secrets.settings(given) is not None


def _lines(file: Path) -> list[bytes]:
    """Return the lines of a file that are not empty. A key may have spaces within it.

    Programs of Windows put a byte order mark in front of the first one.
    """
    content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    return [key for line in content.splitlines() if (key := line.strip())]


def sent_key(scope: Scope) -> str:
    """Return the key that a request has, or an empty text, which is no key."""
    scheme, _, given = Headers(scope=scope).get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip(" \t")  # a letter in UTF-8 may end with a byte that is white space in Latin-1
    offered = (name for name in scope.get("subprotocols", ()) if name.startswith(KEY_SUBPROTOCOL))
    return next(offered, "").removeprefix(KEY_SUBPROTOCOL)


def _guarded(scope: Scope) -> bool:
    """Return True if a request needs a key."""
    return scope["type"] == "websocket" or _path(scope).startswith(GUARDED_PATHS)


def _path(scope: Scope) -> str:
    """Return the path without that of the proxy (root_path), which uvicorn puts in front of it."""
    path: str = scope["path"]
    return path.removeprefix(scope.get("root_path", ""))
