"""From a recording to its words: it is read in blocks, cut at its pauses, brought to one level and decoded.

The server and `speechmodel transcribe` share this module.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import chain

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE, WINDOW
from speechmodel_decoding import SHORT_SECONDS, Candidate, Cutter, Utterance, cut_at_pauses, decode_short
from speechmodel_runtime import AudioWarning, Pcm, level, read_pcm
from speechmodel_runtime.audio import Source
from speechmodel_runtime.model import require_window

from speechmodel_inference.decoders import DecodedUtterance, DecodingOptions, SpokenWord, VersionDecoder, require_client


@dataclass(frozen=True)
class Segment:
    """The speech between two pauses. Times are in seconds from the beginning of the recording."""

    start_seconds: float
    end_seconds: float
    text: str
    """Empty for speech that is rejected."""
    words: tuple[SpokenWord, ...]
    candidates: tuple[Candidate, ...]
    """Phrases of the grammar, or free texts, that fit, the best first, also when it was rejected. Empty in free text of
    a version without confidences."""
    utterance_seconds: tuple[float, float]
    """Beginning and end of what was decoded, with the silence around the speech."""

    @property
    def accepted(self) -> Candidate | None:
        """The candidate that was recognised. None for anything else, and without candidates."""
        return self.candidates[0] if self.candidates and self.text else None


@dataclass(frozen=True)
class Transcript:
    """The words of a recording and its length."""

    audio_seconds: float
    segments: tuple[Segment, ...]
    """The utterances in their order, those that are rejected too."""
    warnings: tuple[AudioWarning, ...] = ()
    """The reasons to doubt the recording."""

    @property
    def text(self) -> str:
        """The words of all segments, joined by spaces. Empty when nothing was recognised."""
        return " ".join(segment.text for segment in self.segments if segment.text)

    @property
    def words(self) -> tuple[SpokenWord, ...]:
        """The words of all segments."""
        return tuple(word for segment in self.segments for word in segment.words)

    @property
    def accepted(self) -> tuple[Candidate, ...]:
        """The candidates that were recognised, one for each segment that has text."""
        return tuple(segment.accepted for segment in self.segments if segment.accepted is not None)

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The candidates of a recording of one segment. Empty for more segments."""
        return self.segments[0].candidates if len(self.segments) == 1 else ()


def transcribe(
    source: Source,
    decoder: VersionDecoder,
    *,
    speech_level: float | None,
    name: str,
    max_seconds: float | None = None,
    options: DecodingOptions,
    heard: Callable[[Segment], None] = lambda _: None,
) -> Transcript:
    """Return the words in an audio file of any format that the runtime reads.

    `heard` is called with each segment once it is decoded. Raises AudioError or DecodingFailed of the runtime,
    AcousticModelError, and ClientLeft soon after `options.abandoned` is set.
    """
    segments, samples = [], 0

    def counted(blocks: Iterator[Pcm]) -> Iterator[Pcm]:
        nonlocal samples
        for block in blocks:
            samples += len(block)
            yield block

    with read_pcm(
        source,
        name=name,
        max_seconds=max_seconds,
        sample_rate=decoder.sample_rate,
        use_damaged=True,
        require_reader=lambda: require_client(options.abandoned),
    ) as reader:
        work = _Work(decoder, speech_level, name, options)
        for segment in work.segments(counted(reader.blocks())):
            segments.append(segment)
            heard(segment)
        return Transcript(samples / decoder.sample_rate, tuple(segments), reader.warnings)


@dataclass(frozen=True)
class _Work:
    decoder: VersionDecoder
    speech_level: float | None
    name: str
    options: DecodingOptions

    def segments(self, blocks: Iterator[Pcm]) -> Iterator[Segment]:
        beginning: list[Pcm] = []
        while sum(map(len, beginning)) <= SHORT_SECONDS * SAMPLE_RATE:
            if (block := next(blocks, None)) is None:
                yield from self._short(level(np.concatenate(beginning), self.speech_level))
                return
            beginning.append(block)
        cutter = Cutter()
        for block in chain(beginning, blocks):
            yield from map(self._levelled, cutter.feed(block))
        yield from map(self._levelled, cutter.finish())

    def _short(self, pcm: Pcm) -> Iterator[Segment]:
        require_window(len(pcm), self.name, window=WINDOW, sample_rate=SAMPLE_RATE)
        if self.decoder.has_grammar:
            yield from decode_short(pcm, self._decoded, lambda segment: bool(segment.text))
            return
        found = cut_at_pauses(pcm)
        yield from map(self._decoded, found if len(found) > 1 else [Utterance(0.0, pcm)] * len(found))

    def _levelled(self, utterance: Utterance) -> Segment:
        return self._decoded(Utterance(utterance.start_seconds, level(utterance.pcm, self.speech_level)))

    def _decoded(self, utterance: Utterance) -> Segment:
        return segment_of(utterance, self.decoder.decode(utterance.pcm, name=self.name, options=self.options))


def segment_of(utterance: Utterance, decoded: DecodedUtterance) -> Segment:
    """Return the segment of an utterance. It begins and ends with its words, if there are any."""
    start = utterance.start_seconds
    words = tuple(
        SpokenWord(word.text, round(start + word.start_seconds, 2), round(start + word.end_seconds, 2), word.confidence)
        for word in decoded.words
    )
    begins, ends = (words[0].start_seconds, words[-1].end_seconds) if words else (start, utterance.end_seconds)
    decoded_seconds = (start, utterance.end_seconds)
    return Segment(round(begins, 2), round(ends, 2), decoded.text, words, decoded.candidates, decoded_seconds)
