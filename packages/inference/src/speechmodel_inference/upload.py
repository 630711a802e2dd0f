"""Read a recording, the body itself or a part of a multipart body, or a small document into bounded memory.

FastAPI's own File and Form parameters do not fit: they spool a file beyond 1 MB to a disk, and the
root is read-only; and they turn every error of the body, such as UploadTooLarge, into a bare 400.
"""

import asyncio
import io
import re
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, BinaryIO, Self, TypeVar
from urllib.parse import unquote_to_bytes

from fastapi import Request
from speechmodel_api.wanted_values import quoted
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from speechmodel_inference.decoding_queue import DecodingQueue, Place
from speechmodel_inference.errors import BadRequest, ClientLeft, UploadTooLarge, UploadTooSlow
from speechmodel_inference.raw_audio import RawFormat, as_wav, raw_format
from speechmodel_inference.settings import Settings

Body = TypeVar("Body")
MAX_FIELDS = 64
"""Most form fields beside the file. OpenAI's endpoint has about a dozen."""
MAX_FIELD_BYTES = 1 << 20
"""Largest form field beside the file."""
_FILENAME = re.compile(rb"[; ]filename *=", re.IGNORECASE)
_EXTENDED = re.compile(rb"[; ]filename\* *= *utf-8'[^']*'([^;]*)", re.IGNORECASE)
"""The name of a file in RFC 5987, which is read if it is the only one."""
LISTS = frozenset({"timestamp_granularities"})
"""Fields that are lists. Some clients send their names without the []."""


@dataclass(frozen=True)
class Upload:
    """A recording and its fields. Use it as a context manager, which closes the file."""

    file: BinaryIO
    name: str
    """The file's name as the client sent it."""
    raw: RawFormat | None = None
    """The format of samples without a header."""
    fields: dict[str, str | list[str]] = field(default_factory=dict)
    """The fields that are not empty. Those in LISTS, and those whose name ends with [], are lists under the name
    without it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self.file.close()

    def audio(self) -> BinaryIO:
        """Return a file that the runtime reads. Raw samples are converted, so call it in a decoder thread."""
        return self.file if self.raw is None else as_wav(self.file.read(), self.raw)


def require_size(request: Request, limit: int) -> None:
    """Raise UploadTooLarge when the headers announce more than `limit` bytes."""
    announced = request.headers.get("content-length", "")
    if announced.isdecimal() and int(announced) > limit:
        raise UploadTooLarge(limit)


async def read_form(request: Request, settings: Settings, place: Place) -> Upload:
    """Return the file in the field `file` of a multipart body, and the other fields. `place` counts its bytes.

    Raises BadRequest, UploadTooLarge, UploadTooSlow, QueueFull, ShuttingDown or ClientLeft.
    """
    _require_plain(request)
    return await _in_time(_form(request, settings.max_upload_bytes, place), settings, place.queue)


async def read_body(request: Request, settings: Settings, place: Place) -> Upload:
    """Return the body itself as a recording. Raises as read_form()."""
    _require_plain(request)
    return await _in_time(_body(request, settings.max_upload_bytes, place), settings, place.queue)


async def read_document(request: Request, settings: Settings, queue: DecodingQueue, limit: int) -> bytes:
    """Return a body of JSON of at most `limit` bytes, which takes no place. Raises as read_form()."""
    _require_plain(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise BadRequest("Send the body as application/json.", code="not_json")
    return await _in_time(_document(request, limit), settings, queue)


def _require_plain(request: Request) -> None:
    """Raise BadRequest for a body in an encoding such as gzip."""
    encoding = request.headers.get("content-encoding", "").strip()
    if encoding.lower() not in ("", "identity"):
        message = f"The body has the encoding {encoding!r}, which is not supported; send it uncompressed, without Content-Encoding."
        raise BadRequest(message, code="unsupported_encoding")


async def _in_time(reading: Coroutine[Any, Any, Body], settings: Settings, queue: DecodingQueue) -> Body:
    try:
        async with asyncio.timeout(settings.upload_seconds):
            return await queue.until_ending(reading)
    except TimeoutError as error:
        raise UploadTooSlow(settings.upload_seconds) from error
    except ClientDisconnect as error:
        raise ClientLeft from error


async def _document(request: Request, limit: int) -> bytes:
    return b"".join([chunk async for chunk in _bounded(request, limit)])


async def _body(request: Request, limit: int, place: Place) -> Upload:
    raw, file = raw_format(request.headers.get("content-type")), io.BytesIO()
    async for chunk in _held(_bounded(request, limit), place):
        file.write(chunk)
    file.seek(0)
    return Upload(file, "recording", raw)


async def _form(request: Request, limit: int, place: Place) -> Upload:
    if not request.headers.get("content-type", "").lower().startswith("multipart/form-data"):
        raise BadRequest("Send the recording as multipart/form-data, in the field 'file'.", code="not_multipart")
    chunks = _held(_bounded(request, limit), place)
    parser = _Parser(request.headers, chunks, max_files=1, max_fields=MAX_FIELDS, max_part_size=MAX_FIELD_BYTES)
    parser.spool_max_size = limit + 1
    try:
        form = await parser.parse()
    except MultiPartException as error:
        raise BadRequest(parser.problem(error), code="bad_multipart") from error
    return _upload(form, whole=parser.whole)


async def _held(chunks: AsyncIterator[bytes], place: Place) -> AsyncGenerator[bytes, None]:
    async for chunk in chunks:
        place.hold(len(chunk))
        yield chunk


async def _bounded(request: Request, limit: int) -> AsyncGenerator[bytes, None]:
    received = 0
    async for chunk in request.stream():
        received += len(chunk)
        if received > limit:
            raise UploadTooLarge(limit)
        yield chunk


class _Parser(MultiPartParser):
    """Reads a multipart body, also one with file names as in RFC 5987."""

    whole = False
    """True once the last boundary was read."""

    def on_headers_finished(self) -> None:
        """Begin a part, whose headers are read."""
        disposition = self._current_part.content_disposition or b""
        if not _FILENAME.search(disposition) and (extended := _EXTENDED.search(disposition)):
            name = unquote_to_bytes(extended[1]).replace(b"\\", b"_").replace(b'"', b"_")
            self._current_part.content_disposition = disposition + b'; filename="' + name + b'"'
        super().on_headers_finished()

    def on_end(self) -> None:
        """Note the last boundary."""
        self.whole = True
        super().on_end()

    def problem(self, error: MultiPartException) -> str:
        """Return what is wrong with the body, by the beginning of Starlette's message."""
        match " ".join(error.message.split()[:2]):
            case "Part exceeded":
                name = quoted(self._current_part.field_name)
                return (
                    f"The field {name} has more than {MAX_FIELD_BYTES >> 20} MiB of text; "
                    "send a shorter one, and a recording as a file, as `curl -F file=@take.wav` does."
                )
            case "Too many":
                several = "more than one file" if "files" in error.message else f"more than {MAX_FIELDS} fields"
                return (
                    f"The body has {several}; send one recording in a request, and at most {MAX_FIELDS} fields with it."
                )
            case _:
                return (
                    "The body is not valid multipart/form-data with a boundary; send it as `curl -F file=@take.wav` does, "
                    "and leave the header Content-Type to the client."
                )


def _upload(form: FormData, *, whole: bool) -> Upload:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        for part in form.values():
            if isinstance(part, UploadFile):
                part.file.close()
        if file is None and not whole:
            message = "The multipart body ends before its last boundary, so a part of it was lost; send it again."
            raise BadRequest(message, code="incomplete_multipart", param="file")
        problem = "is missing" if file is None else "has text instead of a file"
        raise BadRequest(
            f"The field 'file' with the recording {problem}; send a file, as `curl -F file=@take.wav` does.",
            code="missing_file",
            param="file",
        )
    fields: dict[str, str | list[str]] = {}
    lists: dict[str, list[str]] = {}
    for name, value in form.multi_items():
        if not isinstance(value, str) or not value.strip():
            continue
        if name.endswith("[]") or name in LISTS:
            lists.setdefault(name.removesuffix("[]"), []).append(value)
        else:
            fields[name] = value
    fields |= lists
    return Upload(file.file, file.filename or "file", raw_format(file.content_type), fields)
