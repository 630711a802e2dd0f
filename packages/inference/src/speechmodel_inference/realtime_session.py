"""One realtime transcription session: events of a client in, events of the server out."""

import asyncio
import base64
import binascii
import io
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from uuid import uuid4

import soundfile
from pydantic import ValidationError
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding import Utterance
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions, hot_words
from speechmodel_inference.errors import BadRequest, RequestError
from speechmodel_inference.languages import require_language
from speechmodel_inference.live import LiveAudio, StableWords
from speechmodel_inference.openai_types import error_object
from speechmodel_inference.prompts import prompt_warnings
from speechmodel_inference.raw_audio import as_pcm_wav
from speechmodel_inference.realtime_types import (
    CLIENT_EVENT,
    Append,
    AudioFormat,
    AudioInput,
    BetaSessionUpdate,
    Clear,
    Commit,
    Event,
    EventId,
    SessionUpdate,
    TranscriptionSettings,
    session_object,
)
from speechmodel_inference.recordings import transcribe_upload
from speechmodel_inference.routers.models import require_served
from speechmodel_inference.runtime_errors import of_runtime
from speechmodel_inference.services import Services
from speechmodel_inference.transcribing import Segment
from speechmodel_inference.upload import Upload
from speechmodel_inference.version import ServedVersion
from speechmodel_inference.wording import first_problem

Send = Callable[[dict[str, Any]], Awaitable[None]]
SAMPLE_BYTES = 2


class RealtimeSession:
    """Transcribes what a client appends: each utterance at its pause, or what the client commits.

    The caller holds a place or a preview of the queue.
    """

    def __init__(
        self, send: Send, services: Services, version: ServedVersion, *, beta: bool, audio: AudioInput | None = None
    ) -> None:
        """`audio` has the settings that the session begins with, if they are not the default ones."""
        self._send_event, self._services, self._version, self._beta = send, services, version, beta
        self._id, self._audio = new_id("sess"), audio or AudioInput()
        self._live: LiveAudio | None = None
        """The audio since the last commit, with turn detection."""
        self._buffer = bytearray()
        """The samples since the last commit, without turn detection."""
        self._appended = self._committed = 0
        """Samples that were appended, and those that a commit or clear has ended."""
        self._item: str | None = None
        """The item of the utterance that has begun."""
        self._stable = StableWords()
        """The words of that utterance that were sent."""
        self._last_item: str | None = None

    async def begin(self) -> None:
        """Send the session to the client."""
        await self._show("created", beta=self._beta)

    async def handle(self, text: str) -> None:
        """Handle one event. An event that cannot be used is answered by an error, and the session goes on."""
        try:
            match _parsed(text):
                case SessionUpdate(session=session):
                    self._update(session.audio.input)
                    await self._show("updated", beta=self._beta)
                case BetaSessionUpdate(session=session):
                    self._update(session.as_input())
                    await self._show("updated", beta=True)
                case Append(audio=audio):
                    await self._append(_samples(audio, self._audio.format))
                case Commit():
                    await self._commit()
                case Clear():
                    self._forget()
                    await self._send("input_audio_buffer.cleared")
        except RequestError as error:
            await self.refuse(error, _event_id(text))

    async def refuse(self, error: RequestError, event_id: str | None = None) -> None:
        """Send an error."""
        self._services.telemetry.failed_within(error)
        await self._send("error", error=error_object(error).model_dump() | {"event_id": event_id})

    # --- the session ---

    def _update(self, changes: AudioInput) -> None:
        audio = self._audio.updated(changes)
        if self._appended > self._committed and (audio.format, audio.turn_detection) != (
            self._audio.format,
            self._audio.turn_detection,
        ):
            raise BadRequest("session: commit or clear the audio before you change its format or turn_detection.")
        require_usable(audio, self._services)
        self._audio = audio

    async def _show(self, what: str, *, beta: bool) -> None:
        """Send the session. `warnings` beside it is an addition of this server, and there only if there is one."""
        name = "transcription_session" if beta else "session"
        unused = prompt_warnings(self._prompt, self._version, field="prompt")
        warnings = {"warnings": [each.model_dump(mode="json") for each in unused]} if unused else {}
        await self._send(f"{name}.{what}", session=session_object(self._id, self._audio, beta=beta), **warnings)

    @property
    def _prompt(self) -> str:
        wishes = self._audio.transcription
        return " ".join([wishes.prompt or "", *(wishes.keywords or ())]) if wishes else ""

    @property
    def _options(self) -> DecodingOptions:
        return DecodingOptions(hot_words=hot_words(self._prompt))

    # --- the audio ---

    async def _append(self, samples: bytes) -> None:
        if not samples:
            return
        detection = self._audio.turn_detection
        if detection is None:
            limit = self._services.settings.max_upload_bytes
            if len(self._buffer) + len(samples) > limit:
                raise BadRequest(f"audio: the buffer holds at most {limit} bytes; commit or clear it.", param="audio")
            self._buffer += samples
            self._appended += len(samples) // SAMPLE_BYTES
            return
        if self._live is None:
            # the first one loads the detector of speech
            self._live = await asyncio.to_thread(
                LiveAudio,
                self._version,
                self._audio.format.sample_rate,
                self._services.misheard,
                begins=detection.threshold,
                pause_seconds=detection.silence_duration_ms / 1000,
            )
        self._appended += len(samples) // SAMPLE_BYTES
        for utterance in await self._services.queue.run_stream(partial(_fed, self._live, samples)):
            await self._started(utterance)
            await self._send(
                "input_audio_buffer.speech_stopped",
                audio_end_ms=self._milliseconds(utterance.end_seconds),
                item_id=self._item,
            )
            await self._transcribe_utterances(self._live, [utterance])
        if self._item is None and (begun := self._live.current) is not None:
            await self._started(begun)
        if self._live.due():  # a step that decodes nothing would wait for the decodings of other streams
            await self._send_words_so_far(self._live)

    async def _send_words_so_far(self, live: LiveAudio) -> None:
        """Send the words of the utterance that lasts, as far as they no longer change."""
        text = await self._services.queue.run_stream(partial(live.words_so_far, self._options))
        if self._item is None or text is None:
            return  # if it cannot be decoded, the end of the utterance reports it
        if more := self._stable.heard(text):
            await self._delta(self._item, more)

    async def _started(self, utterance: Utterance) -> None:
        if self._item is None:
            self._item = new_id("item")
            begins = self._milliseconds(utterance.start_seconds)
            await self._send("input_audio_buffer.speech_started", audio_start_ms=begins, item_id=self._item)

    def _milliseconds(self, seconds: float) -> int:
        """Return a time since the last commit as milliseconds since the beginning of the session."""
        return round(1000 * (self._committed / self._audio.format.sample_rate + seconds))

    def _forget(self) -> None:
        self._buffer.clear()
        self._live, self._item, self._committed = None, None, self._appended
        self._stable = StableWords()

    async def _commit(self) -> None:
        if self._appended == self._committed:
            raise BadRequest(
                "The audio buffer is empty; append audio before you commit it.", code="input_audio_buffer_commit_empty"
            )
        if self._live is None:
            samples = bytes(self._buffer)
            self._forget()
            await self._transcribe_recording(samples)
        else:
            rest = await self._services.queue.run_stream(partial(_finished, self._live))
            live, item, stable = self._live, self._item, self._stable
            self._forget()
            self._item, self._stable = item, stable
            await self._transcribe_utterances(live, rest)

    # --- the words ---

    async def _transcribe_utterances(self, live: LiveAudio, utterances: list[Utterance]) -> None:
        """Send the item of utterances and their words."""
        item, stable, self._stable = await self._commit_item(), self._stable, StableWords()
        texts: list[str] = []
        try:
            for utterance in utterances:
                work = partial(live.decode, utterance, self._options)
                if text := (await self._services.queue.run_stream(work)).text:
                    more = f" {text}" if texts else stable.ended(text)
                    texts.append(text)
                    if more:
                        await self._delta(item, more)
        except (SpeechRuntimeError, DecodingError) as error:
            await self._failed(item, of_runtime(error))
        else:
            seconds = [len(each.pcm) / SAMPLE_RATE for each in utterances]
            self._services.telemetry.heard(seconds)
            await self._completed(item, " ".join(texts), sum(seconds))

    async def _transcribe_recording(self, samples: bytes) -> None:
        """Send the item of a buffer, its words as they are decoded, and then all of them."""
        item = await self._commit_item()
        loop, segments = asyncio.get_running_loop(), asyncio.Queue[Segment | None]()

        def heard(segment: Segment) -> None:
            loop.call_soon_threadsafe(segments.put_nowait, segment)

        upload = Upload(as_pcm_wav(samples, self._audio.format.sample_rate), "input_audio_buffer")
        never = loop.create_future()  # what the client sends meanwhile waits
        work = asyncio.create_task(
            transcribe_upload(upload, self._services, self._version, never, options=self._options, heard=heard)
        )
        work.add_done_callback(lambda _: segments.put_nowait(None))
        separator = ""
        try:
            while (segment := await segments.get()) is not None:
                if segment.text:
                    await self._delta(item, separator + segment.text)
                    separator = " "
            transcript = work.result()
            await self._completed(item, transcript.text, transcript.audio_seconds)
        except RequestError as error:
            await self._failed(item, error)
        finally:
            work.cancel()

    async def _commit_item(self) -> str:
        item = self._item or new_id("item")
        shown = {
            "id": item,
            "object": "realtime.item",
            "type": "message",
            "status": "completed",
            "role": "user",
            "content": [{"type": "input_audio", "transcript": None}],
        }
        before, self._last_item, self._item = self._last_item, item, None
        await self._send("input_audio_buffer.committed", item_id=item, previous_item_id=before)
        for name in ("created",) if self._beta else ("added", "done"):
            await self._send(f"conversation.item.{name}", item=shown, previous_item_id=before)
        return item

    async def _delta(self, item: str, text: str) -> None:
        await self._words("delta", item, delta=text)

    async def _completed(self, item: str, text: str, seconds: float) -> None:
        await self._words("completed", item, transcript=text, usage={"type": "duration", "seconds": round(seconds, 3)})

    async def _failed(self, item: str, error: RequestError) -> None:
        self._services.telemetry.failed_within(error)
        await self._words("failed", item, error=error_object(error).model_dump())

    async def _words(self, what: str, item: str, **fields: object) -> None:
        await self._send(f"conversation.item.input_audio_transcription.{what}", item_id=item, content_index=0, **fields)

    async def _send(self, kind: str, **fields: object) -> None:
        await self._send_event({"type": kind, "event_id": new_id("event"), **fields})


def require_usable(audio: AudioInput, services: Services) -> None:
    """Raise ModelNotFound or BadRequest for a session that asks for another model or another language."""
    wishes = audio.transcription or TranscriptionSettings()
    if wishes.model:
        require_served(services, wishes.model)
    if wishes.language:
        require_language(wishes.language, services.lifecycle.version.manifest.language)


def _parsed(text: str) -> Event:
    """Return the event. Raises BadRequest."""
    try:
        return CLIENT_EVENT.validate_json(text)
    except ValidationError as error:
        place, wrong = first_problem(error, behind=1)  # the type of the event
        raise BadRequest(
            f"{place or 'event'}: {wrong}.",
            code="invalid_value" if place else "invalid_event",
            param=place or None,
        ) from error


def _event_id(text: str) -> str | None:
    """Return the id that a client gave its event, if it can be read."""
    try:
        return EventId.model_validate_json(text).event_id
    except ValidationError:
        return None


def _samples(audio: str, of: AudioFormat) -> bytes:
    """Return 16-bit little-endian samples. Raises BadRequest."""
    try:
        raw = base64.b64decode("".join(audio.split()), validate=True)  # MIME breaks lines
    except (binascii.Error, ValueError) as error:
        raise BadRequest("audio: it is not valid base64.", code="invalid_value", param="audio") from error
    if of.type == "audio/pcm":
        if len(raw) % SAMPLE_BYTES:
            raise BadRequest("audio: odd number of bytes; send 16-bit samples.", code="invalid_value", param="audio")
        return raw
    law = "ULAW" if of.type == "audio/pcmu" else "ALAW"
    samples, _ = soundfile.read(
        io.BytesIO(raw), dtype="int16", format="RAW", subtype=law, samplerate=of.sample_rate, channels=1
    )
    return samples.astype("<i2").tobytes()  # type: ignore[no-any-return] # soundfile has no types


def _fed(live: LiveAudio, samples: bytes) -> list[Utterance]:
    return list(live.feed(samples))


def _finished(live: LiveAudio) -> list[Utterance]:
    return list(live.finish())


def new_id(kind: str) -> str:
    """Return a new id, such as sess_… for the kind sess."""
    return f"{kind}_{uuid4().hex}"
