"""The pages: at /, speak or choose a file, and see what the model hears; at /record, record takes for the dataset;
at /misheard, say what the model did not understand.

The files are in the folder `page` of this package, and are read once, when the first of them is asked for. The page loads nothing from
anywhere else, which its Content-Security-Policy enforces.
"""

import hashlib
from dataclasses import dataclass
from functools import cache
from mimetypes import guess_type
from pathlib import Path

from fastapi import APIRouter, Request, Response
from starlette.exceptions import HTTPException

router = APIRouter(include_in_schema=False)

_FOLDER = Path(__file__).parent.parent / "page"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "media-src blob:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "Permissions-Policy": "microphone=(self), camera=(), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-cache",  # browsers ask again, and get 304 until the server is another one
}


@dataclass(frozen=True)
class _File:
    content: bytes
    media_type: str
    etag: str


def _read(path: Path) -> _File:
    content = path.read_bytes()
    media_type = "text/javascript" if path.suffix == ".js" else guess_type(path.name)[0]
    return _File(content, media_type or "application/octet-stream", f'"{hashlib.sha256(content).hexdigest()[:16]}"')


@cache
def _files() -> dict[str, _File]:
    return {path.name: _read(path) for path in _FOLDER.iterdir() if path.is_file()}


@router.api_route("/", methods=["GET", "HEAD"])
async def page(request: Request) -> Response:
    """Return the page."""
    return _answer(request, _files()["index.html"])


@router.api_route("/record", methods=["GET", "HEAD"])
async def record(request: Request) -> Response:
    """Return the page on which people record takes."""
    return _answer(request, _files()["record.html"])


@router.api_route("/misheard", methods=["GET", "HEAD"])
async def misheard(request: Request) -> Response:
    """Return the page with what the server did not understand."""
    return _answer(request, _files()["misheard.html"])


@router.api_route("/page/{name}", methods=["GET", "HEAD"])
async def part(request: Request, name: str) -> Response:
    """Return a file that the page loads."""
    if name not in _files():
        raise HTTPException(404)
    return _answer(request, _files()[name])


def _answer(request: Request, file: _File) -> Response:
    headers = _HEADERS | {"ETag": file.etag}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    return Response(file.content, headers=headers, media_type=file.media_type)
