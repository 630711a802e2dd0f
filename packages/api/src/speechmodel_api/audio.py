"""Audio as DeepSpeech 0.9.3 takes it, and how many feature frames it makes of a clip.

Training, the checks of prepare and the runtime must agree on these numbers.
"""

from itertools import pairwise

SAMPLE_RATE = 16_000
"""Samples per second; one channel, 16 bit."""
WINDOW = 512
"""Samples per feature window: 32 ms."""
STRIDE = 320
"""Samples from the start of one window to the start of the next: 20 ms."""
SPEECH_LEVEL = -22.0
"""Loudness of the speech in a prepared clip, in decibels relative to full scale. It is usual for
recordings, and leaves their peaks room."""


def full_windows(samples: int) -> int:
    """Return the number of windows that fit inside a clip of `samples` samples."""
    return max((samples - WINDOW) // STRIDE + 1, 0)


def frame_count(samples: int) -> int:
    """Return the number of feature frames that the runtime makes of `samples` samples: one per full
    window, and one more.

    At the end of a stream the runtime fills the rest with zeros to a whole window, even when
    nothing is left.
    """
    return full_windows(samples) + 1


def frames_needed(transcript: str) -> int:
    """Return the fewest frames that CTC can align with `transcript`: one per label, and a blank
    between equal neighbours.
    """
    return len(transcript) + sum(left == right for left, right in pairwise(transcript))
