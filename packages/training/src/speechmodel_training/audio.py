"""The numbers that training and the DeepSpeech 0.9.3 runtime must agree on: audio, windows, features, context."""

SAMPLE_RATE = 16_000
"""Samples per second; mono, 16 bit."""
WINDOW = 512
"""Samples per window: 32 ms."""
STRIDE = 320
"""Samples from window to window: 20 ms."""
COEFFICIENTS = 26
"""MFCC per frame, the energy-like coefficient 0 included."""
MEL_CHANNELS = 40
LOWEST_HZ = 20.0
HIGHEST_HZ = SAMPLE_RATE / 2
CONTEXT = 9
"""Frames that the network sees before and after the one that it classifies."""
SPAN = 2 * CONTEXT + 1
PATCH = SPAN * COEFFICIENTS
"""Inputs of the network per frame: 494, oldest frame first."""


def frame_count(samples: int) -> int:
    """Frames that the runtime makes of a clip: one per full window, and always one more.

    When a stream is finished the runtime fills what is left with zeros to a whole window, even when nothing is left.
    """
    return full_windows(samples) + 1


def full_windows(samples: int) -> int:
    """Windows that lie wholly inside of a clip."""
    return max((samples - WINDOW) // STRIDE + 1, 0)
