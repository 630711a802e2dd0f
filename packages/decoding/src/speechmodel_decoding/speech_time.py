"""The time that a phrase was spoken in, and the score that counts it.

Speech that is no phrase of the set often fits one for a moment, and the network gives blanks for the
rest of it. The log probability of the phrase says nothing about the rest, but its length does.
"""

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE, STRIDE

from speechmodel_decoding.decoder import Phrase
from speechmodel_decoding.features import Pcm
from speechmodel_decoding.speech_detector import CHUNK, SpeechDetector

LOUD_CHUNKS, LOUD_SHARE = 6, 0.2
"""The loudest chunks are those of 0.19 s, or a fifth of a shorter recording."""
BACKGROUND_DB = 15.0
"""Decibels below the loudest chunks at which speech is that of other people in the background. Other
voices 20 dB below a phrase are not counted, and its consonants have no sound for long."""


def speech_seconds(pcm: Pcm) -> float:
    """Return the expected seconds of speech in a recording, int16 `[samples]` of one channel at 16 kHz:
    the probability of speech, summed over the chunks that are not background.
    """
    chunks = list(SpeechDetector().feed(pcm))
    if not chunks:
        return 0.0
    power = np.array([np.square(chunk.astype(np.float64)).mean() for chunk, _ in chunks])
    loud = np.sort(power)[-max(1, min(LOUD_CHUNKS, round(LOUD_SHARE * len(power))))]
    foreground = power >= loud * 10 ** (-BACKGROUND_DB / 10)
    probabilities = np.array([probability for _, probability in chunks])
    return float(probabilities[foreground].sum()) * CHUNK / SAMPLE_RATE


def timed_score(phrase: Phrase, seconds: float) -> float:
    """Return the score of a phrase times the seconds of speech for each of its characters. 0 is best.

    The time from its first to its last character counts at least. Otherwise, noise in which nobody
    speaks would have the best score.
    """
    spoken = (phrase.spans[-1].last + 1 - phrase.spans[0].first) * STRIDE / SAMPLE_RATE
    return phrase.score * max(seconds, spoken) / len(phrase.spans)
