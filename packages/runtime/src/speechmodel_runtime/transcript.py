"""Transcripts of the runtime."""

from dataclasses import dataclass, replace
from typing import Any

from speechmodel_runtime.errors import DecodingFailed
from speechmodel_runtime.library import CandidateTranscript, Library


@dataclass(frozen=True)
class Token:
    """One label of a transcript."""

    text: str
    """The label. In bytes-mode models it is a part of a character, shown as U+FFFD."""
    timestep: int
    """Index of the feature frame, 20 ms each, in which the label was emitted."""
    start_seconds: float
    """Seconds from the start of the audio: timestep x 0.02."""


@dataclass(frozen=True)
class Transcript:
    """A candidate transcript of the audio."""

    text: str
    confidence: float
    """Log score of the beam. About 0 is best; only candidates of the same audio are comparable."""
    tokens: tuple[Token, ...]
    """The labels of `text` in order."""
    alternatives: tuple["Transcript", ...] = ()
    """The next best candidates, best first, if they were requested."""


def take_transcript(library: Library, metadata: Any) -> Transcript:
    """Copy a `Metadata *` of the runtime and free it.

    Raises DecodingFailed when it is NULL or empty.
    """
    if not metadata:
        raise DecodingFailed("the runtime gave no result; read its message on standard error")
    try:
        contents = metadata.contents
        candidates = [_transcript(contents.transcripts[index]) for index in range(contents.num_transcripts)]
    finally:
        library.calls.DS_FreeMetadata(metadata)
    if not candidates:
        raise DecodingFailed("the runtime gave no transcript of the audio; read its message on standard error")
    return replace(candidates[0], alternatives=tuple(candidates[1:]))


def _transcript(candidate: CandidateTranscript) -> Transcript:
    tokens = [candidate.tokens[index] for index in range(candidate.num_tokens)]
    return Transcript(
        text=b"".join(token.text for token in tokens).decode(errors="replace"),
        confidence=candidate.confidence,
        tokens=tuple(Token(token.text.decode(errors="replace"), token.timestep, token.start_time) for token in tokens),
    )
