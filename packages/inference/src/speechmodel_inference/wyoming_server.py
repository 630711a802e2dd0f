"""The Wyoming protocol of Home Assistant, on a port of its own.

See https://github.com/OHF-Voice/wyoming: events over TCP, each a line of JSON with data and a payload. A client
sends `describe`, or `transcribe`, `audio-start`, `audio-chunk`s and `audio-stop`. The protocol has no
authentication. The package `wyoming` has the types of the events; reading them is done here, because its own
function reads as many bytes as a client announces.
"""

import asyncio
import logging
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager, suppress
from functools import partial
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, Field, RootModel, ValidationError
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.audio import HIGHEST_RATE, LOWEST_RATE
from speechmodel_runtime.errors import SpeechRuntimeError
from wyoming.asr import Transcribe, Transcript
from wyoming.audio import AudioChunk, AudioStart, AudioStop
from wyoming.error import Error
from wyoming.event import Event, async_write_event
from wyoming.info import AsrModel, AsrProgram, Attribution, Describe, Info
from wyoming.ping import Ping, Pong

from speechmodel_inference.connections import ACCEPTED_AT_ONCE, LINGER_SECONDS, REFUSED_AT_ONCE
from speechmodel_inference.decoders import DecodingOptions, hot_words
from speechmodel_inference.errors import BadRequest, RequestError, ShuttingDown, TooManyConnections
from speechmodel_inference.languages import require_language
from speechmodel_inference.listening import queue_connections
from speechmodel_inference.live import Heard, LiveTranscription
from speechmodel_inference.prompts import prompt_warnings
from speechmodel_inference.routers.models import require_served
from speechmodel_inference.runtime_errors import of_runtime
from speechmodel_inference.services import Services
from speechmodel_inference.sockets import FAILED, NORMAL, close_code
from speechmodel_inference.wording import first_problem

log = logging.getLogger(__name__)

PATH = "wyoming"
"""The path in the metrics."""
LARGEST_HEADER, LARGEST_DATA, LARGEST_PAYLOAD = 1 << 16, 1 << 16, 1 << 20
"""Bytes of the parts of an event. Home Assistant sends chunks of 2 KiB."""
GONE = 1006
"""Code in the metrics of a connection that a client left in the middle of an event or a recording."""
_ATTRIBUTION = Attribution("speechmodel", "https://github.com/OHF-Voice/wyoming")


Data = TypeVar("Data", bound=BaseModel)


class _Header(BaseModel):
    """The first line of an event."""

    type: str
    data: dict[str, Any] | None = None
    data_length: Annotated[int, Field(ge=0, le=LARGEST_DATA)] | None = None
    payload_length: Annotated[int, Field(ge=0, le=LARGEST_PAYLOAD)] | None = None


class _Data(RootModel[dict[str, Any]]):
    """The data of an event that is not in its first line."""


class _Wishes(BaseModel):
    """The data of transcribe."""

    name: Annotated[str, Field(max_length=253)] | None = None
    language: Annotated[str, Field(max_length=64)] | None = None
    transcript_names: list[str] | None = None
    transcript_terms: list[str] | None = None

    @property
    def likely(self) -> str:
        """The names and terms as one text."""
        return " ".join([*(self.transcript_names or ()), *(self.transcript_terms or ())])


class _Format(BaseModel):
    """The format of audio-start."""

    rate: Annotated[int, Field(ge=LOWEST_RATE, le=HIGHEST_RATE)]
    width: Annotated[int, Field(ge=2, le=2)]
    channels: Annotated[int, Field(ge=1, le=8)]


@asynccontextmanager
async def serve_wyoming(services: Services, listening: socket.socket, end_seconds: float) -> AsyncIterator[None]:
    """Serve on a socket while the context lasts. Connections are closed at its end, which takes at most `end_seconds`.

    At most half of all connections are for Wyoming, which has no authentication: it cannot shut out clients of HTTP.
    """
    connections: set[asyncio.Task[None]] = set()
    talking: set[asyncio.Task[None]] = set()
    most = max(1, services.connections.most // 2)

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.current_task()
        assert connection is not None
        connections.add(connection)
        writer.transport.set_write_buffer_limits(0)  # drain() waits until the client has taken everything
        try:
            limit = (
                (most, "Wyoming connections") if len(talking) >= most else (services.connections.most, "connections")
            )
            if len(talking) < most and services.connections.admit(writer.transport):
                talking.add(connection)
                await _converse(reader, writer, services, end_seconds)
            else:
                services.telemetry.refused("wyoming")
                waits = len(connections) - len(talking) <= REFUSED_AT_ONCE
                with suppress(OSError):  # the client is gone, or goes on sending
                    await _refuse(reader, writer, TooManyConnections(*limit), LINGER_SECONDS if waits else 0)
        except asyncio.CancelledError:  # the server ends; asyncio of Python 3.11 would log it as an error
            pass
        finally:
            connections.discard(connection)
            talking.discard(connection)
            services.connections.left(writer.transport)
            if writer.transport.get_write_buffer_size():  # close() would keep the file until the client has read it
                writer.transport.abort()
            writer.close()

    server = await asyncio.start_server(connected, sock=listening, limit=LARGEST_HEADER, backlog=ACCEPTED_AT_ONCE)
    queue_connections(listening)
    try:
        yield
    finally:
        server.close()
        for connection in connections:
            connection.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _converse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, services: Services, end_seconds: float
) -> None:
    code = FAILED
    conversation = _Conversation(services)
    try:
        with conversation:
            while (event := await _event(reader, services.settings.next_message_seconds)) is not None:
                if (answer := await conversation.answer(event)) is not None:
                    async with asyncio.timeout(services.settings.upload_seconds):
                        await async_write_event(answer, writer)
        code = NORMAL
    except asyncio.CancelledError:  # the server ends
        code = NORMAL
        if conversation.hears:
            log.info("wyoming: closed a connection during a recording, because the server is shutting down")
            with suppress(OSError):
                await _refuse(reader, writer, ShuttingDown(), end_seconds)
        raise
    except RequestError as error:
        code = close_code(error)
        with suppress(OSError):  # the client is gone, or too slow
            await _refuse(reader, writer, error)
    except (ConnectionError, TimeoutError, asyncio.IncompleteReadError):  # it left, or does not read the answers
        code = GONE
        log.info("wyoming: the client left before the end of its audio")
    finally:
        services.telemetry.stream_ended(PATH, code)


async def _refuse(
    reader: asyncio.StreamReader, writer: asyncio.StreamWriter, error: RequestError, seconds: float = LINGER_SECONDS
) -> None:
    """Send an error and the end of the connection.

    Bytes that the client still sends are read for `seconds`: a connection that is closed before would be reset, and the
    client would not see the error. Raises TimeoutError after that time.
    """
    async with asyncio.timeout(seconds):
        await async_write_event(Error(error.message, error.code).event(), writer)
        writer.write_eof()
        while await reader.read(LARGEST_HEADER):
            pass


class _Conversation(ExitStack):
    """The events of a client so far. It holds a place of the queue while a recording arrives."""

    def __init__(self, services: Services) -> None:
        super().__init__()
        self._services, self._asked = services, _Wishes()
        self.hears = False
        """True from the beginning of a recording to its end."""
        self._live: LiveTranscription | None = None
        self._format = _Format(rate=SAMPLE_RATE, width=2, channels=1)
        self._texts: list[str] = []

    async def answer(self, event: Event) -> Event | None:
        """Return the answer to an event. Events of other services are ignored. Raises RequestError."""
        try:
            if Describe.is_type(event.type):
                return self._info()
            if Ping.is_type(event.type):
                return Pong(text=event.data.get("text")).event()
            if Transcribe.is_type(event.type):
                self._ask(_valid(_Wishes, event))
            elif AudioStart.is_type(event.type):
                await self._start(event)
            elif AudioChunk.is_type(event.type):
                if self._live is None:
                    await self._start(event)
                elif event.data and _valid(_Format, event) != self._format:
                    raise BadRequest(
                        "audio-chunk: its format differs from that of the audio before; send audio-stop and a new audio-start."
                    )
                await self._chunk(event.payload or b"")
            elif AudioStop.is_type(event.type):
                return await self._stop()
        except (SpeechRuntimeError, DecodingError) as error:
            raise of_runtime(error) from error
        return None

    def _ask(self, asked: _Wishes) -> None:
        version = self._services.lifecycle.version
        if asked.name:
            require_served(self._services, asked.name)
        if asked.language:
            require_language(asked.language, version.manifest.language)
        self._asked = asked
        for each in prompt_warnings(asked.likely, version, field="list of transcript_names and transcript_terms"):
            log.info("wyoming: %s: %s", each.kind, each.message)  # the protocol has no place for it

    async def _start(self, event: Event) -> None:
        self._services.lifecycle.asked()
        self.close()
        audio = _valid(_Format, event)
        version = self._services.lifecycle.version
        self.enter_context(self._services.queue.place())
        self.hears = True  # also while the detector is loaded, which takes a while for the first one
        options = DecodingOptions(hot_words=hot_words(self._asked.likely))
        self._live = await asyncio.to_thread(LiveTranscription, version, audio.rate, options, self._services.misheard)
        self._format, self._texts = audio, []

    async def _chunk(self, samples: bytes) -> None:
        assert self._live is not None
        if (channels := self._format.channels) > 1:
            whole = len(samples) - len(samples) % (2 * channels)
            several = np.frombuffer(samples[:whole], "<i2").reshape(-1, channels)
            samples = several.mean(axis=1).round().astype("<i2").tobytes()
        self._heard(await self._services.queue.run_stream(partial(self._live.feed, samples, partial=False)))

    async def _stop(self) -> Event:
        if self._live is not None:
            self._heard(await self._services.queue.run_stream(self._live.finish))
        text, language = " ".join(self._texts), self._services.lifecycle.version.manifest.language
        self._live, self._texts, self.hears = None, [], False
        self.close()
        return Transcript(text=text, language=language).event()

    def _heard(self, heard: Heard) -> None:
        self._services.telemetry.heard(heard.utterance_lengths)
        self._texts += [segment.text for segment in heard.ended if segment.text]

    def _info(self) -> Event:
        manifest = self._services.lifecycle.version.manifest
        name, language = self._services.settings.name, manifest.language
        model = AsrModel(
            name=name,
            description=f"{name} {manifest.version}",
            languages=list(dict.fromkeys([language, language.partition("-")[0]])),
            attribution=_ATTRIBUTION,
            installed=True,
            version=manifest.version,
        )
        program = AsrProgram(
            name="speechmodel",
            description="Speech recognition by a SpeechModel",
            models=[model],
            attribution=_ATTRIBUTION,
            installed=True,
            version=manifest.version,
        )
        return Info(asr=[program]).event()


def _valid(model: type[Data], event: Event) -> Data:
    """Return the data of an event. Raises BadRequest."""
    try:
        return model.model_validate(event.data)
    except ValidationError as error:
        place, wrong = first_problem(error)
        wanted = "; send 16-bit samples of up to 8 channels" if model is _Format else ""
        raise BadRequest(f"{event.type}: {place}: {wrong}{wanted}.") from error


async def _event(reader: asyncio.StreamReader, seconds: float) -> Event | None:
    """Return the next event, and None at the end. Raises BadRequest, also when it does not arrive in time."""
    try:
        async with asyncio.timeout(seconds):
            if not (line := await reader.readline()).strip():
                return None
            header = _Header.model_validate_json(line)
            data = await reader.readexactly(header.data_length or 0)
            payload = await reader.readexactly(header.payload_length or 0)
        more = _Data.model_validate_json(data).root if data else {}
    except TimeoutError as error:
        raise BadRequest(f"No event came for {seconds:g} s; connect again when there is audio.") from error
    except ValidationError as error:
        place, wrong = first_problem(error)
        raise BadRequest(f"{place or 'event'}: {wrong}.") from error
    except ValueError as error:
        raise BadRequest(f"The first line of an event has more than {LARGEST_HEADER} bytes.") from error
    return Event(header.type, (header.data or {}) | more, payload)
