"""The onset of speech in a clip, and its loudness."""

from dataclasses import dataclass

import numpy as np
from speechmodel_api.audio import STRIDE, WINDOW, frame_count

from speechmodel_training.features import Samples

QUIET, LOUD = 10, 80
"""Percentiles of a clip's frames by loudness. The quiet one is background even in a clip that is
mostly speech; the loud one is speech even in a clip that ends with the clunk of a handset. With
little speech in a clip it is lower, which gives an earlier onset and fainter noise."""
SPEECH_LOUDNESS = 0.3
"""Threshold of speech, as a share of the way from quiet to loud in decibels."""
SPEECH_FRAMES = 3
"""Frames in a row that must be loud: 60 ms, longer than a click."""


@dataclass(frozen=True)
class Speech:
    """Speech in a clip, detected by loudness alone."""

    onset: int
    """Frames before the speech. 0 when it begins at once, or when no part of the clip is clearly
    louder."""
    loudness: float
    """Root mean square of a loud frame, in decibels over a step of 16 bit: 90 is full scale."""


def detect_speech(samples: Samples) -> Speech:
    """Return the onset and the loudness of the speech in `samples`."""
    starts = STRIDE * np.arange(frame_count(len(samples)))
    power = np.concatenate([[0], np.cumsum(np.square(samples, dtype=np.float64))])
    ends = np.minimum(starts + WINDOW, len(samples))
    loudness = 20 * np.log10(1 + np.sqrt((power[ends] - power[np.minimum(starts, ends)]) / WINDOW))
    quiet, loud = np.percentile(loudness, [QUIET, LOUD])
    speech = loudness > quiet + SPEECH_LOUDNESS * (loud - quiet)
    lasting = np.convolve(speech, np.ones(SPEECH_FRAMES), "valid") == SPEECH_FRAMES
    return Speech(int(lasting.argmax()), float(loud))
