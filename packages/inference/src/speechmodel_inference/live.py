"""Speech that is transcribed while it arrives: raw samples in, the words of an utterance out at its pause."""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import soxr
from speechmodel_api.audio import SAMPLE_RATE, WINDOW
from speechmodel_decoding import Cutter, Utterance
from speechmodel_decoding.errors import DecodingError
from speechmodel_decoding.utterances import BEGINS, PAUSE_SECONDS
from speechmodel_runtime import Pcm, level
from speechmodel_runtime.errors import SpeechRuntimeError

from speechmodel_inference.decoders import DecodingOptions
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.transcribing import Segment, segment_of
from speechmodel_inference.version import ServedVersion

PARTIAL_SECONDS = 0.5
"""New speech after which the words so far are decoded again."""
NEW_SHARE = 0.1
"""Share of an utterance that must be new before it is decoded again, so that its cost stays a fixed multiple of its
length. It holds for words so far, and by itself for pauses, which are at least 0.32 s apart."""


@dataclass(frozen=True)
class Heard:
    """The words in the samples that were fed last."""

    ended: tuple[Segment, ...] = ()
    """The utterances that ended in them."""
    partial: str | None = None
    """The words so far of the utterance that has begun. None when they were not decoded again."""

    @property
    def utterance_lengths(self) -> list[float]:
        """The length of each utterance that ended, in seconds."""
        return [end - begin for begin, end in (segment.utterance_seconds for segment in self.ended)]


@dataclass(frozen=True)
class _Decoding:
    """The newest decoding of an utterance that has not ended."""

    start_seconds: float
    samples: int
    options: DecodingOptions
    segment: Segment

    def is_of(self, utterance: Utterance, options: DecodingOptions) -> bool:
        """Return True if decoding an utterance of the same stream would give the same words."""
        begins_and_ends_there = (self.start_seconds, self.samples) == (utterance.start_seconds, len(utterance.pcm))
        return begins_and_ends_there and self.options == options


class LiveAudio:
    """Cuts one stream of 16-bit samples, little-endian and of one channel, at its pauses, and decodes its utterances.

    The end of an utterance is known once its margin is over, before the pause or the audio ends. It is decoded then, so
    that its words do not have to be waited for. For one thread at a time.
    """

    def __init__(
        self,
        version: ServedVersion,
        sample_rate: int,
        misheard: MisheardInbox | None = None,
        *,
        begins: float = BEGINS,
        pause_seconds: float = PAUSE_SECONDS,
    ) -> None:
        self._version, self._misheard = version, misheard
        self._cutter = Cutter(begins, pause_seconds)
        self._resampler = (
            None if sample_rate == SAMPLE_RATE else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "int16")
        )
        self._odd = b""
        self._fed = 0
        """Samples at 16 kHz that were fed."""
        self._newest: _Decoding | None = None
        self._decoded = 0
        """Samples of the current utterance when its words were decoded last."""
        self._decoded_in_pause = 0
        """Samples of the current utterance when its words were decoded last after its margin."""
        self._not_before = 0.0
        """Value of `_fed` from which words so far may be decoded again. It grows by the time that a decoding took, with its
        wait for a run of the network, so that a stream does not fall behind somebody who speaks."""

    @property
    def current(self) -> Utterance | None:
        """The utterance that has begun. None in a pause."""
        return self._cutter.current

    @property
    def settled(self) -> bool:
        """True when an utterance has begun and its margin is over."""
        return self._cutter.settled

    def feed(self, raw: bytes) -> Iterator[Utterance]:
        """Take the next bytes, any number of them, and yield each utterance that ends in them."""
        raw = self._odd + raw
        whole = len(raw) - len(raw) % 2
        self._odd = raw[whole:]
        samples = np.frombuffer(raw[:whole], "<i2").astype(np.int16)
        resampled = self._resampled(samples, last=False)
        self._fed += len(resampled)
        for utterance in self._cutter.feed(resampled):
            self._decoded = self._decoded_in_pause = 0
            yield utterance

    def due(self, *, partial: bool = True) -> bool:
        """Return True when words_so_far() is worth its cost: the margin of an utterance is over, or enough of it is
        new. Without `partial`, only the former counts. Within a margin nothing is due, because its end is near.
        """
        if self._fed < self._not_before:
            return False
        samples = self._cutter.samples
        enough = max(1, NEW_SHARE * samples)
        if self.settled and samples - self._decoded_in_pause >= enough:
            return True
        within_margin = self._cutter.silent and not self.settled
        new = samples - self._decoded
        return partial and not within_margin and new >= max(SAMPLE_RATE * PARTIAL_SECONDS, enough)

    def words_so_far(self, options: DecodingOptions) -> str | None:
        """Decode the utterance that has begun, and return its words.

        Return None in a pause, and also if it cannot be decoded: then decode() tries again, and raises the error.
        """
        current = self.current
        if current is None:
            return None
        self._decoded, began = len(current.pcm), time.monotonic()
        if self.settled:
            self._decoded_in_pause = self._decoded
        if not self.settled:  # they are no answer yet
            options = options.of_text_alone
        try:
            segment = decode_utterance(self._version, current, options)
        except (SpeechRuntimeError, DecodingError):
            return None
        finally:
            self._not_before = self._fed + SAMPLE_RATE * (time.monotonic() - began)
        self._newest = _Decoding(current.start_seconds, len(current.pcm), options, segment)
        return segment.text

    def decode(self, utterance: Utterance, options: DecodingOptions) -> Segment:
        """Return the words of an utterance that has ended, and put it into the inbox if it is doubtful.

        Call it once for each utterance that feed() and finish() yield. It takes no time if the utterance was decoded
        after its margin with the same options.
        """
        newest, self._newest = self._newest, None
        if newest is not None and newest.is_of(utterance, options):
            segment = newest.segment
        else:
            segment = decode_utterance(self._version, utterance, options)
        if self._misheard is not None:
            self._misheard.utterance(self._version, utterance.pcm, segment)
        return segment

    def finish(self) -> Iterator[Utterance]:
        """Yield the utterance that the end of the audio ends. Nothing may be fed afterwards."""
        yield from self._cutter.feed(self._resampled(np.zeros(0, np.int16), last=True))
        yield from self._cutter.finish()

    def _resampled(self, samples: Pcm, *, last: bool) -> Pcm:
        return samples if self._resampler is None else self._resampler.resample_chunk(samples, last=last)


class LiveTranscription:
    """Transcribes one stream of samples, as LiveAudio takes them. For one thread at a time."""

    def __init__(
        self,
        version: ServedVersion,
        sample_rate: int,
        options: DecodingOptions,
        misheard: MisheardInbox | None = None,
    ) -> None:
        self._audio, self._options = LiveAudio(version, sample_rate, misheard), options

    def feed(self, raw: bytes, *, partial: bool = True) -> Heard:
        """Take the next bytes, any number of them, and return the words in them. Without `partial`, nothing is decoded
        while somebody speaks.
        """
        ended = self._decoded(self._audio.feed(raw))
        due = self._audio.due(partial=partial)
        return Heard(ended, self._audio.words_so_far(self._options) if due else None)

    def finish(self) -> Heard:
        """Return the words of the last utterance. Nothing may be fed afterwards."""
        return Heard(self._decoded(self._audio.finish()))

    def _decoded(self, utterances: Iterator[Utterance]) -> tuple[Segment, ...]:
        return tuple(self._audio.decode(utterance, self._options) for utterance in utterances)


class StableWords:
    """The words of one utterance that are sent while it lasts and cannot be taken back: those with which two
    decodings in a row begin. Sent parts joined are a text.
    """

    def __init__(self) -> None:
        self._before: list[str] = []
        self._sent: list[str] = []

    def heard(self, text: str) -> str:
        """Return what is sent after a decoding of the utterance so far: nothing, or more words."""
        words = text.split()
        agreed = [
            word for word, before in takewhile(lambda pair: pair[0] == pair[1], zip(words, self._before, strict=False))
        ]
        self._before = words
        return self._more(agreed)

    def ended(self, text: str) -> str:
        """Return what is sent after the last decoding. Nothing if its words are not those that were sent."""
        return self._more(text.split())

    def _more(self, words: list[str]) -> str:
        sent = self._sent
        if words[: len(sent)] != sent or len(words) == len(sent):
            return ""
        separator = " " if sent else ""
        self._sent = words
        return separator + " ".join(words[len(sent) :])


def decode_utterance(version: ServedVersion, utterance: Utterance, options: DecodingOptions) -> Segment:
    """Return the words of an utterance of a stream, which may be shorter than a window of the model."""
    padded = np.pad(utterance.pcm, (0, max(0, WINDOW - len(utterance.pcm))))
    levelled = level(padded, version.manifest.speech_level)
    decoded = version.decoder.decode(levelled, name="stream", options=options)
    return segment_of(Utterance(utterance.start_seconds, levelled), decoded)
