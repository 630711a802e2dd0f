"""Speech that is transcribed while it arrives: raw samples in, the words of an utterance out at its pause."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile

import numpy as np
import soxr
from speechmodel_api.audio import SAMPLE_RATE, WINDOW
from speechmodel_decoding import Cutter, Utterance
from speechmodel_decoding.utterances import BEGINS, PAUSE_SECONDS
from speechmodel_runtime import Pcm, level

from speechmodel_inference.decoders import DecodingOptions
from speechmodel_inference.misheard import MisheardInbox
from speechmodel_inference.transcribing import Segment, segment_of
from speechmodel_inference.version import ServedVersion

PARTIAL_SECONDS = 0.5
"""New speech after which the words so far are decoded again. In an utterance of more than 5 s it is a tenth of
it, so that the cost of an utterance stays a fixed multiple of its length. It is at least the time that the last
decoding took, with its wait for a run of the network, so that a stream does not fall behind somebody who speaks."""


@dataclass(frozen=True)
class Heard:
    """The words in the samples that were fed last."""

    ended: tuple[Segment, ...] = ()
    """The utterances that ended in them."""
    partial: str | None = None
    """The words so far of the utterance that has begun. None when they were not decoded again."""


class LiveAudio:
    """Cuts one stream of 16-bit samples, little-endian and of one channel, at its pauses. For one thread at a time."""

    def __init__(self, sample_rate: int, begins: float = BEGINS, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._cutter = Cutter(begins, pause_seconds)
        self._resampler = (
            None if sample_rate == SAMPLE_RATE else soxr.ResampleStream(sample_rate, SAMPLE_RATE, 1, "int16")
        )
        self._odd = b""
        self._decoded = 0
        """Samples of the current utterance when its words were decoded last."""
        self._took = 0.0
        """Seconds that this decoding took."""

    @property
    def current(self) -> Utterance | None:
        """The utterance that has begun. None in a pause."""
        return self._cutter.current

    def feed(self, raw: bytes) -> Iterator[Utterance]:
        """Take the next bytes, any number of them, and yield each utterance that ends in them."""
        raw = self._odd + raw
        whole = len(raw) - len(raw) % 2
        self._odd = raw[whole:]
        samples = np.frombuffer(raw[:whole], "<i2").astype(np.int16)
        for utterance in self._cutter.feed(self._resampled(samples, last=False)):
            self._decoded = 0
            yield utterance

    @property
    def due(self) -> bool:
        """True when an utterance has begun, and enough of it is new to decode it again."""
        samples = self._cutter.samples
        enough = max(SAMPLE_RATE * max(PARTIAL_SECONDS, self._took), samples / 10)
        return samples > 0 and samples - self._decoded >= enough

    def words_so_far(self, decode: Callable[[Utterance], Segment]) -> str:
        """Return the words of the utterance that has begun, which takes as long as `decode`. Nothing in a pause."""
        current = self.current
        if current is None:
            return ""
        self._decoded, began = len(current.pcm), time.monotonic()
        text = decode(current).text
        self._took = time.monotonic() - began
        return text

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
        self._version, self._options, self._misheard = version, options, misheard
        self._audio = LiveAudio(sample_rate)

    def feed(self, raw: bytes, *, partial: bool = True) -> Heard:
        """Take the next bytes, any number of them, and return the words in them."""
        ended = tuple(self._ended(self._audio.feed(raw)))
        return Heard(ended, self._partial() if partial else None)

    def finish(self) -> Heard:
        """Return the words of the last utterance. Nothing may be fed afterwards."""
        return Heard(tuple(self._ended(self._audio.finish())))

    def _ended(self, utterances: Iterator[Utterance]) -> Iterator[Segment]:
        for utterance in utterances:
            segment = decode_utterance(self._version, utterance, self._options)
            if self._misheard is not None:
                self._misheard.utterance(self._version, utterance.pcm, segment)
            yield segment

    def _partial(self) -> str | None:
        if not self._audio.due:
            return None
        options = DecodingOptions(hot_words=self._options.hot_words)
        return self._audio.words_so_far(lambda utterance: decode_utterance(self._version, utterance, options))


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
