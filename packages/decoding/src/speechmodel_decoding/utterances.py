"""Cut audio at pauses into utterances, as it arrives: the cost grows linearly with its length, and the
memory does not grow.

Shortest use:

    cutter = Cutter()
    for block in blocks:
        for utterance in cutter.feed(block):
            print(utterance.start_seconds, decode(utterance.pcm))
    for utterance in cutter.finish():
        ...
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE

from speechmodel_decoding.features import Pcm
from speechmodel_decoding.speech_detector import CHUNK, SpeechDetector

BEGINS = 0.3
"""Probability from which a chunk begins speech. Each of 337 recordings of speech reaches 0.55, and noise and
hum at most 0.07."""
CONTINUES = 0.2
"""Probability from which a chunk continues speech."""
PAUSE_SECONDS = 0.6
"""Silence that ends an utterance. Of 337 recordings of one phrase, none has a pause of 0.3 s."""
MARGIN_SECONDS = 0.3
"""Audio that is kept after the last speech of an utterance: half of the shortest pause."""
LEAD_SECONDS = 0.3
"""Audio that is kept before the first speech, where there is so much. Faint consonants are in it."""
LONGEST_SECONDS = 30.0
"""Longest utterance. Longer speech without a pause is cut where it is least probable that somebody speaks."""

SHORT_SECONDS = 10.0
"""Recordings up to this length are decoded as one when a phrase of the grammar fits, or nobody pauses."""

Decoded = TypeVar("Decoded")

_MARGIN = round(MARGIN_SECONDS * SAMPLE_RATE / CHUNK)
_LEAD = round(LEAD_SECONDS * SAMPLE_RATE / CHUNK)
_LONGEST = round(LONGEST_SECONDS * SAMPLE_RATE / CHUNK)


@dataclass(frozen=True)
class Utterance:
    """Speech between two pauses."""

    start_seconds: float
    """Time of its first sample in the audio."""
    pcm: Pcm
    """Its samples, int16 at 16 kHz."""

    @property
    def end_seconds(self) -> float:
        """Time after its last sample in the audio."""
        return self.start_seconds + len(self.pcm) / SAMPLE_RATE


class Cutter:
    """Cuts one stream of audio, int16 `[samples]` of one channel at 16 kHz.

    `begins` is the probability from which a chunk begins speech. What continues it is lower in the same proportion
    as by default. A silence of `pause_seconds` ends an utterance.
    """

    def __init__(self, begins: float = BEGINS, pause_seconds: float = PAUSE_SECONDS) -> None:
        self._detector = SpeechDetector()
        self._begins, self._continues = begins, begins * CONTINUES / BEGINS
        self._pause = round(pause_seconds * SAMPLE_RATE / CHUNK)
        self._margin = min(_MARGIN, self._pause)
        self._chunks: list[Pcm] = []
        self._probabilities: list[float] = []
        self._first = 0
        """Number of the chunk that `_chunks` begins with."""
        self._last_speech: int | None = None
        """Index in `_chunks` of the last chunk with speech. None before speech."""

    @property
    def speaking(self) -> bool:
        """True from the beginning of an utterance to its end."""
        return self._last_speech is not None

    @property
    def silent(self) -> bool:
        """True when an utterance has begun and its newest chunk has no speech."""
        return self._last_speech is not None and self._last_speech < len(self._chunks) - 1

    @property
    def settled(self) -> bool:
        """True when an utterance has begun and its margin is over. Then `current` is what a pause, or the end of
        the audio, yields. It changes only if somebody speaks before, or if it reaches LONGEST_SECONDS.
        """
        return self._last_speech is not None and len(self._chunks) >= self._margin_end(self._last_speech)

    @property
    def samples(self) -> int:
        """Samples of `current`, without the cost of joining them. 0 in a pause."""
        return 0 if self._last_speech is None else CHUNK * self._known_end(self._last_speech)

    @property
    def current(self) -> Utterance | None:
        """The utterance that has begun, as far as it is known, and at most to its margin. None in a pause."""
        return None if self._last_speech is None else self._utterance(self._known_end(self._last_speech))

    def feed(self, pcm: Pcm) -> Iterator[Utterance]:
        """Take the next samples, any number of them, and yield each utterance that ends in them."""
        for chunk, probability in self._detector.feed(pcm):
            self._chunks.append(chunk)
            self._probabilities.append(probability)
            if probability >= (self._continues if self.speaking else self._begins):
                self._last_speech = len(self._chunks) - 1
            if self._last_speech is None:
                self._forget(len(self._chunks) - _LEAD)
            elif len(self._chunks) - 1 - self._last_speech >= self._pause:
                yield self._cut(self._margin_end(self._last_speech))
                self._last_speech = None
            elif len(self._chunks) >= _LONGEST:
                end = _LONGEST // 2 + int(np.argmin(self._probabilities[_LONGEST // 2 :])) + 1
                yield self._cut(end)
                self._last_speech = len(self._chunks) - 1 if self._chunks else None

    def finish(self) -> Iterator[Utterance]:
        """Yield the utterance that the end of the audio ends, if there is one. It ends at its margin, as at a pause,
        so the silence after it changes nothing. Nothing may be fed afterwards.
        """
        if self._last_speech is not None:
            if not self.settled:
                self._chunks.append(self._detector.finish())
            yield self._utterance(self._known_end(self._last_speech))

    def _margin_end(self, last_speech: int) -> int:
        """Return the number of chunks up to the end of the margin, also if it has not been heard yet."""
        return last_speech + 1 + self._margin

    def _known_end(self, last_speech: int) -> int:
        return min(len(self._chunks), self._margin_end(last_speech))

    def _cut(self, end: int) -> Utterance:
        utterance = self._utterance(end)
        self._forget(end)
        return utterance

    def _utterance(self, end: int) -> Utterance:
        return Utterance(self._first * CHUNK / SAMPLE_RATE, np.concatenate(self._chunks[:end]))

    def _forget(self, chunks: int) -> None:
        """Drop so many of the oldest chunks."""
        if chunks > 0:
            del self._chunks[:chunks], self._probabilities[:chunks]
            self._first += chunks


def cut_at_pauses(pcm: Pcm) -> list[Utterance]:
    """Return the utterances of a recording. It is empty when nobody speaks."""
    cutter = Cutter()
    return [*cutter.feed(pcm), *cutter.finish()]


def decode_short(
    pcm: Pcm, decode: Callable[[Utterance], Decoded], accepted: Callable[[Decoded], bool]
) -> list[Decoded]:
    """Return a recording of up to SHORT_SECONDS as `decode` decodes it: as one, or if that is not `accepted`
    and somebody pauses, its utterances. It is empty when nobody speaks, however well a phrase fits the noise.
    """
    utterances = cut_at_pauses(pcm)
    if not utterances:
        return []
    whole = decode(Utterance(0.0, pcm))
    if accepted(whole) or len(utterances) == 1:
        return [whole]
    return [decode(utterance) for utterance in utterances]
