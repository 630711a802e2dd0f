"""WebSocket /vosk, and / for Vosk's own clients: the protocol of the Vosk server.

See https://alphacephei.com/vosk/server: a JSON object `config`, then raw samples, then `{"eof": 1}`. Each
message with samples is answered by one object: `partial`, or `text` with `result` once somebody pauses.
`warnings` beside them is an addition.
`{"reset": 1}` is answered by the text so far, and the stream goes on.
"""

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, WebSocket, WebSocketDisconnect
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding.errors import DecodingError
from speechmodel_runtime.audio import HIGHEST_RATE, LOWEST_RATE
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions, SpokenWord, hot_words
from speechmodel_inference.errors import BadRequest, RequestError
from speechmodel_inference.live import Heard, LiveTranscription
from speechmodel_inference.prompts import prompt_warnings
from speechmodel_inference.runtime_errors import of_runtime
from speechmodel_inference.services import Services
from speechmodel_inference.sockets import Messages, close_code, log_left, read_ahead, received, subprotocol
from speechmodel_inference.transcribing import Segment
from speechmodel_inference.wording import first_problem

router = APIRouter()


class Config(BaseModel):
    """The object `config`. Unknown fields are ignored, and a field that is null is absent."""

    model_config = ConfigDict(extra="ignore")

    sample_rate: Annotated[float, Field(ge=LOWEST_RATE, le=HIGHEST_RATE)] = SAMPLE_RATE
    """Hz of the samples."""
    phrase_list: list[str] = []
    """Phrases whose words are more likely, in free text with a scorer. The first 100 words count."""
    max_alternatives: Annotated[int, Field(ge=0, le=20)] = 0
    """Most candidates. 0 answers with one text."""

    @property
    def phrases(self) -> str:
        """The phrases as one text."""
        return " ".join(self.phrase_list)

    @model_validator(mode="before")
    @classmethod
    def _without_nulls(cls, given: Any) -> Any:
        return {name: value for name, value in given.items() if value is not None} if isinstance(given, dict) else given


class Control(BaseModel):
    """A message in JSON."""

    model_config = ConfigDict(extra="ignore")

    config: Config | None = None
    eof: bool = False
    reset: bool = False


@router.websocket("/vosk")
@router.websocket("/")
async def vosk(socket: WebSocket) -> None:
    """Transcribe one stream."""
    services: Services = socket.app.state.services
    await socket.accept(subprotocol(socket))
    try:
        try:
            with services.queue.place():
                async with read_ahead(socket) as messages:
                    await _converse(socket, messages, services)
        except RequestError as error:
            await socket.send_json({"error": error.message})
            await socket.close(close_code(error))
    except WebSocketDisconnect as error:
        log_left("/vosk", error)


async def _converse(socket: WebSocket, messages: Messages, services: Services) -> None:
    version, config = services.lifecycle.version, Config()
    live: LiveTranscription | None = None
    shown = ""

    def final(segments: tuple[Segment, ...]) -> dict[str, Any]:
        unused = prompt_warnings(config.phrases, version, field="phrase_list")
        return _final(segments, config) | (
            {"warnings": [each.model_dump(mode="json") for each in unused]} if unused else {}
        )

    while True:
        message = await received(messages, services.settings.next_message_seconds)
        if (text := message.get("text")) is not None:
            control = _control(text)
            if control.eof:
                last = await _run(services, live.finish) if live else Heard()
                await socket.send_json(final(last.ended))
                await socket.close()
                return
            if control.reset:
                last = await _run(services, live.finish) if live else Heard()
                live, shown = None, ""
                await socket.send_json(final(last.ended))
            if control.config is not None and control.config != config:
                if live is not None:
                    raise BadRequest(
                        "config: its settings cannot change within a sentence; send them before the first samples, or after reset."
                    )
                config = control.config
            continue
        if live is None:
            words = hot_words(config.phrases)
            options = DecodingOptions(alternatives=max(1, config.max_alternatives), hot_words=words)
            # the first one loads the detector of speech
            live = await asyncio.to_thread(
                LiveTranscription, version, round(config.sample_rate), options, services.misheard
            )
        heard = await _run(services, partial(live.feed, message["bytes"]))
        shown = "" if heard.ended else shown if heard.partial is None else heard.partial
        await socket.send_json(final(heard.ended) if heard.ended else {"partial": shown})


def _control(text: str) -> Control:
    try:
        return Control.model_validate_json(text)
    except ValidationError as error:
        place, wrong = first_problem(error)
        raise BadRequest(f"{place or 'message'}: {wrong}.") from error


async def _run(services: Services, work: Callable[[], Heard]) -> Heard:
    """Run `work` in a thread of streams."""
    try:
        heard = await services.queue.run_stream(work)
    except (SpeechRuntimeError, DecodingError) as error:
        raise of_runtime(error) from error
    services.telemetry.heard(heard.utterance_lengths)
    return heard


def _final(segments: tuple[Segment, ...], config: Config) -> dict[str, Any]:
    text = " ".join(segment.text for segment in segments if segment.text)
    words = [_word(word) for segment in segments for word in segment.words]
    if not config.max_alternatives:
        return {"text": text} | ({"result": words} if words else {})
    candidates = segments[0].candidates if len(segments) == 1 and text else ()
    others = [{"text": each.text, "confidence": each.confidence} for each in candidates[1:]]
    accepted = [segment.accepted for segment in segments if segment.accepted is not None]
    confidence = min((each.confidence for each in accepted), default=1.0)
    return {"alternatives": [{"text": text, "confidence": confidence, "result": words}, *others]}


def _word(word: SpokenWord) -> dict[str, Any]:
    confidence = 1.0 if word.confidence is None else round(word.confidence, 4)
    return {"word": word.text, "start": word.start_seconds, "end": word.end_seconds, "conf": confidence}
