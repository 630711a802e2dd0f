"""Transcripts of the runtime."""

from dataclasses import dataclass, replace
from typing import Any

from speechmodel_api.alphabet import spoken

from speechmodel_runtime.errors import DecodingFailed
from speechmodel_runtime.library import CandidateTranscript, Library, TokenMetadata


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
    """Never contains the catch-all label. It is empty for audio in which only that was recognised."""
    confidence: float
    """Log score of the beam. About 0 is best; only candidates of the same audio are comparable."""
    tokens: tuple[Token, ...]
    """The labels of `text` in order."""
    emitted: str
    """The labels that the network emitted: `text` with the catch-all labels and the spaces beside them."""
    alternatives: tuple["Transcript", ...] = ()
    """The next best candidates, best first, if they were requested."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the text."""
        return tuple(token.text for token in self.tokens)

    @property
    def times(self) -> list[int]:
        """The frame of each label of the text, 20 ms each."""
        return [token.timestep for token in self.tokens]


def take_transcript(library: Library, metadata: Any) -> Transcript:
    """Copy a `Metadata *` of the runtime and free it.

    Raises DecodingFailed when it is NULL or empty.
    """
    if not metadata:
        raise DecodingFailed("the runtime gave no result; read its message on standard error")
    try:
        contents = metadata.contents
        candidates = [take_candidate(contents.transcripts[index]) for index in range(contents.num_transcripts)]
    finally:
        library.calls.DS_FreeMetadata(metadata)
    if not candidates:
        raise DecodingFailed("the runtime gave no transcript of the audio; read its message on standard error")
    return replace(candidates[0], alternatives=tuple(candidates[1:]))


def take_candidate(candidate: CandidateTranscript) -> Transcript:
    """Copy a candidate of the runtime, without the catch-all label."""
    emitted = [_token(candidate.tokens[index]) for index in range(candidate.num_tokens)]
    tokens = [emitted[place] for place in spoken([token.text for _, token in emitted])]
    return Transcript(
        text=_joined(tokens),
        confidence=candidate.confidence,
        tokens=tuple(token for _, token in tokens),
        emitted=_joined(emitted),
    )


RawToken = tuple[bytes, Token]
"""The bytes of a label, and the token of which they are the text."""


def _token(token: TokenMetadata) -> RawToken:
    return token.text, Token(token.text.decode(errors="replace"), token.timestep, token.start_time)


def _joined(tokens: list[RawToken]) -> str:
    return b"".join(text for text, _ in tokens).decode(errors="replace")
