"""Samples -> the mel spectrogram that the embedding was trained on.

The numbers are those of the embedding's own front end: windows of 25 ms every 10 ms, 32 bands from 60 to 3800 Hz with
triangles of equal area (Slaney), decibels of 16-bit samples, not more than 80 below the loudest, divided by 10, plus 2.
"""

from functools import cache

import numpy as np
import numpy.typing as npt
from speechmodel_api.audio import SAMPLE_RATE, STRIDE

BANDS = 32
HOPS_PER_FRAME = 2
MARGIN = 74
"""Hops of 10 ms that n frames need more than 2 n: an embedding is made of 76."""

Pcm = npt.NDArray[np.int16]
Spectrogram = npt.NDArray[np.float32]
"""`[hops of 10 ms, 32]`."""

_FFT, _WINDOW, _HOP = 512, 400, 160
_LOWEST_HZ, _HIGHEST_HZ = 60.0, 3800.0
_RANGE_DB = 80.0
_LEAST_POWER = 1e-10
_SILENCE = (MARGIN * _HOP + _FFT - _HOP) // 2
"""Samples of silence before and after a recording, so that the middle of an embedding is that of its frame."""


def frame_count(samples: int) -> int:
    """Return the number of frames of a recording: one for each 20 ms that have begun, at least one."""
    return max(-(-samples // STRIDE), 1)


def spectrogram(pcm: Pcm) -> Spectrogram:
    """Return the spectrogram of a recording, `[2 * frame_count(samples) + 74, 32]`, with silence around it.

    `pcm` is int16 `[samples]` of one channel at 16 kHz.
    """
    hops = HOPS_PER_FRAME * frame_count(len(pcm)) + MARGIN
    padded = np.zeros((hops - 1) * _HOP + _FFT, np.float32)
    padded[_SILENCE : _SILENCE + len(pcm)] = pcm
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::_HOP]
    spectrum = np.fft.rfft(windows * _window())
    power = (np.square(spectrum.real) + np.square(spectrum.imag)).astype(np.float32)
    decibels = 10 * np.log10(np.maximum(power @ _mel_bank(), _LEAST_POWER))
    made: Spectrogram = (np.maximum(decibels, decibels.max() - _RANGE_DB) / 10 + 2).astype(np.float32)
    return made


@cache
def _window() -> npt.NDArray[np.float32]:
    """Return the window, `[512]`: 25 ms of Hann's in the middle."""
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(_WINDOW) / _WINDOW)
    return np.pad(hann, (_FFT - _WINDOW) // 2).astype(np.float32)


@cache
def _mel_bank() -> npt.NDArray[np.float32]:
    """Return the weights of the bands, `[257, 32]`."""
    edges = _hertz(np.linspace(_mel(_LOWEST_HZ), _mel(_HIGHEST_HZ), BANDS + 2))
    lower, centre, upper = edges[:-2], edges[1:-1], edges[2:]
    frequencies = np.fft.rfftfreq(_FFT, 1 / SAMPLE_RATE)[:, None]
    triangles = np.minimum((frequencies - lower) / (centre - lower), (upper - frequencies) / (upper - centre))
    return (np.maximum(triangles, 0) * 2 / (upper - lower)).astype(np.float32)


def _mel(hertz: float) -> float:
    """Return Slaney's mel: linear below 1000 Hz, logarithmic above."""
    return float(hertz * 3 / 200 if hertz < 1000 else 15 + 27 * np.log(hertz / 1000) / np.log(6.4))


def _hertz(mel: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
