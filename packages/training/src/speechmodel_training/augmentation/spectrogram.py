"""Changes of a power spectrogram, float32 `[frames, bins]`, and those that exist in every domain:
there, `[frames, values]` are features, and `[samples, 1]` is a signal.
"""

import numpy as np
import numpy.typing as npt

Spectrogram = npt.NDArray[np.float32]
"""[frames, 257] in power, or another table of numbers over time."""

_TILT_PIVOT = 32
"""Bin that a tilt leaves as it is: 1 kHz."""


def shifted_pitch(spectrogram: Spectrogram, pitch: float) -> Spectrogram:
    """Return the frequency axis stretched by `pitch`: pitch and formants move together, as between
    a long vocal tract and a short one.

    Bins that come from above the highest frequency repeat its power.
    """
    return _read_columns(spectrogram, np.arange(spectrogram.shape[1]) / pitch)


def changed_tempo(spectrogram: Spectrogram, factor: float) -> Spectrogram:
    """Return the time axis compressed by `factor`: faster speech at the same pitch."""
    frames = tempo_length(len(spectrogram), factor)
    return _read_columns(spectrogram.T, np.linspace(0, len(spectrogram) - 1, frames)).T


def tempo_length(frames: int, factor: float) -> int:
    """Return the frames of a clip of `frames` frames after changed_tempo()."""
    return max(round(frames / factor), 1)


def warped(
    spectrogram: Spectrogram, times: int, frequencies: int, wt: float, wf: float, chance: np.random.Generator
) -> Spectrogram:
    """Return both axes stretched here and compressed there: `times` and `frequencies` points move by
    up to half of `wt` and `wf` of their distances.
    """
    across = _read_columns(spectrogram, _warp(spectrogram.shape[1], frequencies, wf, chance))
    return _read_columns(across.T, _warp(len(spectrogram), times, wt, chance)).T


def tilted(spectrogram: Spectrogram, slope: float) -> Spectrogram:
    """Return the clip through an equaliser that rises by `slope` decibels per octave, as microphones
    differ. Nothing changes at 1 kHz.
    """
    octaves = np.log2(np.maximum(np.arange(spectrogram.shape[1]), 1) / _TILT_PIVOT)
    return spectrogram * (10 ** (slope * octaves / 10)).astype(np.float32)


def masked_columns(values: Spectrogram, count: int, size: int, chance: np.random.Generator) -> Spectrogram:
    """Return `values` with `count` bands of up to `size` neighbouring columns set to zero."""
    return masked_rows(values.T, count, size, chance).T


def masked_rows(values: Spectrogram, count: int, size: int, chance: np.random.Generator) -> Spectrogram:
    """Return `values` with `count` spans of up to `size` neighbouring rows set to zero."""
    masked = values.copy()
    for _ in range(count):
        start = chance.integers(len(values))
        masked[start : start + size] = 0
    return masked


def dropped(values: Spectrogram, rate: float, chance: np.random.Generator) -> Spectrogram:
    """Return `values` with a share of `rate` set to zero."""
    return values * (chance.random(values.shape, np.float32) >= rate)


def added(values: Spectrogram, stddev: float, chance: np.random.Generator) -> Spectrogram:
    """Return `values` plus normal noise."""
    return values + np.float32(stddev) * chance.standard_normal(values.shape, np.float32)


def multiplied(values: Spectrogram, stddev: float, chance: np.random.Generator) -> Spectrogram:
    """Return `values` times normal noise around 1."""
    return values * (1 + np.float32(stddev) * chance.standard_normal(values.shape, np.float32))


def _warp(length: int, points: int, width: float, chance: np.random.Generator) -> npt.NDArray[np.float64]:
    """Return where to read for each of `length` places."""
    fixed = np.linspace(0, length - 1, points + 2)
    moved = fixed.copy()
    moved[1:-1] += chance.uniform(-0.5, 0.5, points) * width * (fixed[1] - fixed[0])
    return np.interp(np.arange(length), fixed, moved)


def _read_columns(values: Spectrogram, places: npt.NDArray[np.float64]) -> Spectrogram:
    """Return the columns at fractional `places`, interpolated linearly."""
    places = np.clip(places, 0, values.shape[1] - 1)
    left = places.astype(int)
    right = np.minimum(left + 1, values.shape[1] - 1)
    share = (places - left).astype(np.float32)
    read: Spectrogram = values[:, left] * (1 - share) + values[:, right] * share
    return read
