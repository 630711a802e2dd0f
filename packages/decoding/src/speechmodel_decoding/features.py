"""MFCC features in numpy, equal to those of the ops AudioSpectrogram and Mfcc in the exported graph.

The runtime fills the samples that are left at the end of a stream with zeros to one more window,
even when none are left, so that a recording has one frame more than it has full windows.
"""

import numpy as np
import numpy.typing as npt
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW, frame_count, full_windows

COEFFICIENTS = 26
"""MFCC of each frame, coefficient 0 included."""
CONTEXT = 9
"""Frames before and after each frame that the network sees with it."""
SPAN = 2 * CONTEXT + 1

CHANNELS = 40
"""Triangles of the filter bank."""
LOWEST_HZ = 20.0
"""Lower limit of the filter bank. The upper one is half of the sample rate."""

_BINS = WINDOW // 2 + 1
FULL_SCALE = 32768.0
"""The runtime's divisor for 16-bit samples."""
_SMALLEST = 1e-12
"""Smallest energy of a channel that the logarithm is taken of."""

Pcm = npt.NDArray[np.int16]
Frames = npt.NDArray[np.float32]


def features(pcm: Pcm) -> Frames:
    """Return the MFCC of each frame, `[frames, 26]`, for 16 kHz samples of one channel."""
    padded = np.zeros(WINDOW + STRIDE * full_windows(len(pcm)))
    padded[: len(pcm)] = pcm / FULL_SCALE
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STRIDE][: frame_count(len(pcm))]
    power = np.abs(np.fft.rfft(windows * _HANN)).astype(np.float32) ** 2
    energies = np.sqrt(power.astype(np.float64)) @ _MEL_BANK
    cepstrum: Frames = (np.log(np.maximum(energies, _SMALLEST)) @ _COSINES).astype(np.float32)
    return cepstrum


def patches(frames: Frames) -> Frames:
    """Return each frame between its 9 predecessors and 9 successors, `[frames, 494]`, oldest first.
    Frames outside of the recording are zeros.
    """
    padded = np.pad(frames, ((CONTEXT, CONTEXT), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, SPAN, axis=0)
    return np.ascontiguousarray(windows.transpose(0, 2, 1)).reshape(len(frames), SPAN * COEFFICIENTS)


def _mel_bank() -> npt.NDArray[np.float64]:
    """Return the weights of 40 triangles, `[bins, channels]`, with centres at equal distances on the
    scale 1127 ln(1 + f / 700).
    """
    hz_of_bin = SAMPLE_RATE / 2 / (_BINS - 1)
    mel = _mel(np.arange(_BINS, dtype=np.float64) * hz_of_bin)
    low, high = _mel(np.array([LOWEST_HZ, SAMPLE_RATE / 2]))
    edges = np.linspace(low, high, CHANNELS + 2)
    rising = (mel[:, None] - edges[:-2]) / np.diff(edges)[:-1]
    falling = (edges[2:] - mel[:, None]) / np.diff(edges)[1:]
    bank: npt.NDArray[np.float64] = np.maximum(0, np.minimum(rising, falling))
    bank[: int(1.5 + LOWEST_HZ / hz_of_bin)] = 0  # bins below the lowest frequency
    return bank


def _mel(hz: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return 1127.0 * np.log1p(hz / 700.0)


_HANN = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)
_MEL_BANK = _mel_bank()
_COSINES = np.sqrt(2 / CHANNELS) * np.cos(
    np.pi / CHANNELS * np.arange(COEFFICIENTS) * (np.arange(CHANNELS)[:, None] + 0.5)
)
"""The discrete cosine transform, `[channels, 26]`."""
