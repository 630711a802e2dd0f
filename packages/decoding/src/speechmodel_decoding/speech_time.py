"""The time that a phrase was spoken in, and the score that counts it.

Speech that is no phrase of the set often fits one for a moment, and the network gives blanks for the
rest of it. The log probability of the phrase says nothing about the rest, but its length does.
"""

from speechmodel_api.audio import SAMPLE_RATE, STRIDE

from speechmodel_decoding.decoder import Phrase
from speechmodel_decoding.features import Pcm
from speechmodel_decoding.speech_detector import CHUNK, SpeechDetector


def speech_seconds(pcm: Pcm) -> float:
    """Return the expected seconds of speech in a recording, int16 `[samples]` of one channel at 16 kHz:
    the probability of speech, summed over its time.
    """
    return sum(probability for _, probability in SpeechDetector().feed(pcm)) * CHUNK / SAMPLE_RATE


def timed_score(phrase: Phrase, seconds: float) -> float:
    """Return the score of a phrase times the seconds of speech for each of its characters. 0 is best.

    The time from its first to its last character counts at least. Otherwise, noise in which nobody
    speaks would have the best score.
    """
    spoken = (phrase.spans[-1].last + 1 - phrase.spans[0].first) * STRIDE / SAMPLE_RATE
    return phrase.score * max(seconds, spoken) / len(phrase.spans)
