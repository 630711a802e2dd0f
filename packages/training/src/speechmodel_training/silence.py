"""Where speech begins in a clip, and how loud it is."""

from dataclasses import dataclass

import numpy as np

from speechmodel_training.audio import STRIDE, WINDOW, frame_count
from speechmodel_training.features import Samples

QUIET, LOUD = 10, 80
"""Percentiles of a clip's frames by loudness: the one is background even in a clip that is mostly speech; the other is speech, even in
one that ends with the clunk of a handset. Where less is spoken it is lower, which finds speech earlier and makes noise fainter."""
SPEECH_LOUDNESS = 0.3
"""Of the way from quiet to loud, in decibels."""
SPEECH_FRAMES = 3
"""60 ms in a row: a click is shorter."""


@dataclass(frozen=True)
class Speech:
    """What is known of the speech in a clip without understanding it."""

    silent_frames: int
    """Frames before it: 0 when it begins at once, or when nothing in the clip stands out."""
    loudness: float
    """Root mean square of a loud frame, in decibels over a step of 16 bit: 90 is full scale."""


def find_speech(samples: Samples) -> Speech:
    """Where speech begins and how loud it is."""
    frames = frame_count(len(samples))
    padded = np.zeros(WINDOW + STRIDE * (frames - 1), np.float32)
    padded[: len(samples)] = samples
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STRIDE]
    loudness = 20 * np.log10(1 + np.sqrt(np.mean(np.square(windows), axis=1)))
    quiet, loud = np.percentile(loudness, [QUIET, LOUD])
    speech = loudness > quiet + SPEECH_LOUDNESS * (loud - quiet)
    lasting = np.convolve(speech, np.ones(SPEECH_FRAMES), "valid") == SPEECH_FRAMES
    return Speech(int(lasting.argmax()), float(loud))
