"""OpenAI's wire types of realtime transcription sessions, in both forms of its API.

The beta form has flat sessions and events whose name begins with `transcription_session`; the later form (GA)
has `session.audio.input`. See https://platform.openai.com/docs/api-reference/realtime.
"""

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, model_validator
from pydantic_core import PydanticCustomError
from speechmodel_decoding.utterances import BEGINS, LEAD_SECONDS, PAUSE_SECONDS
from speechmodel_runtime.audio import HIGHEST_RATE, LOWEST_RATE


class WireType(BaseModel):
    """A part of a client's event. Unknown fields are ignored."""

    model_config = ConfigDict(extra="ignore", frozen=True)


_BETA_FIELDS = {
    "input_audio_format": "audio.input.format",
    "input_audio_transcription": "audio.input.transcription",
    "turn_detection": "audio.input.turn_detection",
}
"""Fields of the beta form, and those that have taken their place."""


class AudioFormat(WireType):
    """The encoding of audio in events: 16-bit samples, or mu-law or A-law at 8 kHz, of one channel."""

    type: Literal["audio/pcm", "audio/pcmu", "audio/pcma"] = "audio/pcm"
    rate: Annotated[int, Field(ge=LOWEST_RATE, le=HIGHEST_RATE)] | None = None
    """Hz of 16-bit samples, 24,000 if it is not given. OpenAI takes no others; they are an addition of this server for
    browsers, whose microphones have other rates."""

    @property
    def sample_rate(self) -> int:
        """Hz."""
        return (self.rate or 24_000) if self.type == "audio/pcm" else 8_000

    @property
    def beta_name(self) -> str:
        """The name in the beta form."""
        return {"audio/pcm": "pcm16", "audio/pcmu": "g711_ulaw", "audio/pcma": "g711_alaw"}[self.type]


SEMANTIC_VAD = "semantic_vad"
PAUSE_MS_OF = {"high": 300, "medium": 600, "auto": 600, "low": 1500}
"""Milliseconds of silence that end an utterance by the eagerness of `semantic_vad`. Nothing here tells from the words whether
somebody has finished, so a client that asks for it gets pauses of another length. Auto is medium, as at OpenAI."""


class TurnDetection(WireType):
    """Cut the audio at pauses, also for `semantic_vad`. The other fields of OpenAI's types are accepted, and have no effect."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0.1, le=0.9)] = BEGINS
    """Probability of speech from which an utterance begins. Noise and hum reach 0.07."""
    silence_duration_ms: Annotated[int, Field(ge=200, le=5000)] = round(1000 * PAUSE_SECONDS)
    """Silence that ends an utterance."""

    @model_validator(mode="before")
    @classmethod
    def _as_pauses(cls, given: Any) -> Any:
        """Take a field that is null for one that is absent, and `semantic_vad` for pauses."""
        if not isinstance(given, dict):
            return given
        given = {name: value for name, value in given.items() if value is not None}
        if given.get("type") != SEMANTIC_VAD:
            return given
        eagerness = given.get("eagerness", "auto")
        if not isinstance(eagerness, str) or eagerness not in PAUSE_MS_OF:
            raise PydanticCustomError(
                "eagerness", "eagerness must be one of {known}", {"known": ", ".join(PAUSE_MS_OF)}
            )
        return {"type": "server_vad", "silence_duration_ms": PAUSE_MS_OF[eagerness]}


LONGEST_PROMPT = 4_096
"""Characters of a prompt: it is searched for words for each utterance."""


class TranscriptionSettings(WireType):
    """The wishes of a client."""

    model: str | None = None
    language: str | None = None
    prompt: Annotated[str, Field(max_length=LONGEST_PROMPT)] | None = None
    """Words that are more likely, as in TranscriptionFields."""
    keywords: Annotated[list[Annotated[str, Field(max_length=LONGEST_PROMPT)]], Field(max_length=100)] | None = None
    """More of such words."""


class AudioInput(WireType):
    """How audio is sent and transcribed. In an update, fields that are absent stay as they are."""

    format: AudioFormat = AudioFormat()
    transcription: TranscriptionSettings | None = None
    turn_detection: TurnDetection | None = TurnDetection(type="server_vad")
    """None leaves it to the client to commit the audio."""

    def updated(self, changes: "AudioInput") -> "AudioInput":
        """Return the settings after an update."""
        return self.model_copy(update={name: getattr(changes, name) for name in changes.model_fields_set})


class _Audio(WireType):
    input: AudioInput = AudioInput.model_construct(_fields_set=set())


class Session(WireType):
    """A session in the GA form."""

    type: Literal["transcription"] = "transcription"
    audio: _Audio = _Audio()

    @model_validator(mode="before")
    @classmethod
    def _in_this_form(cls, given: Any) -> Any:
        """Refuse fields of the beta form, which would have no effect."""
        if not isinstance(given, dict):
            return given
        for name in (each for each in _BETA_FIELDS if each in given):
            raise PydanticCustomError(
                "beta_field",
                "{name} is a field of the beta API; set {instead}, or send transcription_session.update",
                {"name": name, "instead": _BETA_FIELDS[name]},
            )
        return given


class BetaSession(WireType):
    """A session in the beta form."""

    input_audio_format: Literal["pcm16", "g711_ulaw", "g711_alaw"] = "pcm16"
    input_audio_transcription: TranscriptionSettings | None = None
    turn_detection: TurnDetection | None = None

    def as_input(self) -> AudioInput:
        """Return the fields that are present in the GA form."""
        kinds = {"pcm16": "audio/pcm", "g711_ulaw": "audio/pcmu", "g711_alaw": "audio/pcma"}
        found: dict[str, Any] = {
            "format": {"type": kinds[self.input_audio_format]},
            "transcription": self.input_audio_transcription,
            "turn_detection": self.turn_detection,
        }
        names = {"format": "input_audio_format", "transcription": "input_audio_transcription"}
        return AudioInput.model_validate(
            {name: value for name, value in found.items() if names.get(name, name) in self.model_fields_set}
        )


class ExpiresAfter(WireType):
    """The lifetime of a short-lived key. Sessions that have begun outlast it."""

    anchor: Literal["created_at"] = "created_at"
    seconds: Annotated[int, Field(ge=10, le=7200)] = 600


class ClientSecretRequest(WireType):
    """A request for a short-lived key in the GA form."""

    expires_after: ExpiresAfter = ExpiresAfter()
    session: Session = Session()


class _BetaClientSecret(WireType):
    expires_after: ExpiresAfter = ExpiresAfter()


class BetaClientSecretRequest(BetaSession):
    """A request for a short-lived key in the beta form."""

    client_secret: _BetaClientSecret = _BetaClientSecret()


class SessionUpdate(WireType):
    """Change the session, in the GA form."""

    type: Literal["session.update"]
    session: Session


class BetaSessionUpdate(WireType):
    """Change the session, in the beta form."""

    type: Literal["transcription_session.update"]
    session: BetaSession


class Append(WireType):
    """Add audio to the buffer."""

    type: Literal["input_audio_buffer.append"]
    audio: str
    """Samples in base64."""


class Commit(WireType):
    """Transcribe what is in the buffer."""

    type: Literal["input_audio_buffer.commit"]


class Clear(WireType):
    """Forget what is in the buffer."""

    type: Literal["input_audio_buffer.clear"]


Event: TypeAlias = SessionUpdate | BetaSessionUpdate | Append | Commit | Clear
CLIENT_EVENT: TypeAdapter[Event] = TypeAdapter(Annotated[Event, Field(discriminator="type")])
"""Reads an event of a client."""


class EventId(WireType):
    """The id that a client may give any event."""

    event_id: str | None = None


def session_object(session_id: str, audio: AudioInput, *, beta: bool) -> dict[str, Any]:
    """Return a session as it is sent: what is in effect, not what was asked for."""
    detection = (
        {
            "type": "server_vad",
            "threshold": audio.turn_detection.threshold,
            "prefix_padding_ms": round(1000 * LEAD_SECONDS),
            "silence_duration_ms": audio.turn_detection.silence_duration_ms,
        }
        if audio.turn_detection
        else None
    )
    transcription = audio.transcription.model_dump(exclude_none=True) if audio.transcription else None
    found = {"id": session_id, "object": "realtime.transcription_session"}
    if beta:
        return found | {
            "modalities": ["text"],
            "input_audio_format": audio.format.beta_name,
            "input_audio_transcription": transcription,
            "turn_detection": detection,
        }
    kind = {"type": audio.format.type} | (
        {"rate": audio.format.sample_rate} if audio.format.type == "audio/pcm" else {}
    )
    return found | {
        "type": "transcription",
        "audio": {
            "input": {
                "format": kind,
                "transcription": transcription,
                "noise_reduction": None,
                "turn_detection": detection,
            }
        },
    }
