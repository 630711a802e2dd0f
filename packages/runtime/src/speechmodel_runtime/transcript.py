"""What the runtime heard."""

from dataclasses import dataclass, replace
from typing import Any

from speechmodel_runtime.errors import DecodingFailed
from speechmodel_runtime.library import CandidateTranscript, Library


@dataclass(frozen=True)
class Token:
    """One label of a transcript."""

    text: str
    """The label; in bytes-mode models a part of a character, shown as U+FFFD."""
    timestep: int
    """Index of the feature frame, 20 ms each, in which the label was emitted."""
    start_seconds: float
    """timestep x 0.02, from the start of the audio."""


@dataclass(frozen=True)
class Transcript:
    """One reading of the audio."""

    text: str
    confidence: float
    """Log score of the beam: about 0 is best; comparable only among readings of the same audio."""
    tokens: tuple[Token, ...]
    """The labels of `text` in order."""
    alternatives: tuple["Transcript", ...] = ()
    """The next best readings, best first, if they were asked for."""


def take_transcript(library: Library, metadata: Any) -> Transcript:
    """Copy a `Metadata *` that the runtime gave and free it; DecodingFailed when it is NULL or empty."""
    if not metadata:
        raise DecodingFailed("the runtime gave no result; its own message is on standard error")
    try:
        contents = metadata.contents
        readings = [_reading(contents.transcripts[index]) for index in range(contents.num_transcripts)]
    finally:
        library.calls.DS_FreeMetadata(metadata)
    if not readings:
        raise DecodingFailed("the runtime gave no reading of the audio")
    return replace(readings[0], alternatives=tuple(readings[1:]))


def _reading(candidate: CandidateTranscript) -> Transcript:
    tokens = [candidate.tokens[index] for index in range(candidate.num_tokens)]
    return Transcript(
        text=b"".join(token.text for token in tokens).decode(errors="replace"),
        confidence=candidate.confidence,
        tokens=tuple(Token(token.text.decode(errors="replace"), token.timestep, token.start_time) for token in tokens),
    )
