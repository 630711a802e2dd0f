"""Changes of the samples of a clip: float32 `[samples]`, -1...1."""

import numpy as np
import numpy.typing as npt
import soxr
from speechmodel_api.audio import SAMPLE_RATE

Signal = npt.NDArray[np.float32]
"""[samples] of a 16 kHz mono clip, -1...1."""

_REFLECTIONS = 12
"""Echoes of a reverberation. The last is at least 6 dB below the first, and mostly inaudible."""
_PEAK_DBFS = 3.0103
"""dBFS of a clip with a peak of 1, as DeepSpeech counts: a sine of full scale has 0 dBFS."""


def changed_speed(signal: Signal, factor: float) -> Signal:
    """Return the clip played `factor` times as fast: shorter and higher, as a tape would be."""
    return fitted(soxr.resample(signal, SAMPLE_RATE * factor, SAMPLE_RATE, "MQ"), speed_length(len(signal), factor))


def speed_length(samples: int, factor: float) -> int:
    """Return the samples of a clip of `samples` samples after changed_speed()."""
    return max(round(samples / factor), 1)


def resampled(signal: Signal, rate: float) -> Signal:
    """Return the clip as it is after recording at `rate` Hz: nothing is left above half of that."""
    narrow = soxr.resample(signal, SAMPLE_RATE, rate, "MQ")
    return fitted(soxr.resample(narrow, rate, SAMPLE_RATE, "MQ"), len(signal))


def reverberated(signal: Signal, delay: float, decay: float, chance: np.random.Generator) -> Signal:
    """Return the clip with echoes, each about `delay` ms after the one before and `decay` dB
    fainter, at the same loudness as before.
    """
    times = np.cumsum(delay * chance.uniform(0.5, 1.5, _REFLECTIONS)) * SAMPLE_RATE / 1000
    response = np.zeros(int(times[-1]) + 1, np.float32)
    response[0] = 1
    signs = chance.choice([-1.0, 1.0], _REFLECTIONS)
    np.add.at(response, times.astype(int), signs * 10 ** (-decay * np.arange(1, _REFLECTIONS + 1) / 20))
    size = 1 << (len(signal) + len(response)).bit_length()
    echoed = np.fft.irfft(np.fft.rfft(signal, size) * np.fft.rfft(response, size), size)[: len(signal)]
    return (echoed * (_rms(signal) / max(_rms(echoed), 1e-9))).astype(np.float32)


def amplified(signal: Signal, db: float) -> Signal:
    """Return the clip, louder by `db` decibels. What exceeds full scale is clipped at the end."""
    return signal * np.float32(10 ** (db / 20))


def peak_gain(signal: Signal, dbfs: float) -> float:
    """Return the decibels that bring the peak of the clip to `dbfs`; 3.0103 is full scale."""
    peak = float(np.abs(signal).max(initial=0))
    return dbfs - _PEAK_DBFS - 20 * float(np.log10(peak)) if peak else 0.0


def padded(signal: Signal, before: int, after: int) -> Signal:
    """Return the clip between `before` and `after` samples of digital silence."""
    return np.pad(signal, (before, after))


def fitted(signal: Signal, length: int) -> Signal:
    """Return the clip with `length` samples, cut at the end or filled with silence."""
    return np.pad(signal[:length], (0, max(length - len(signal), 0))).astype(np.float32, copy=False)


def _rms(signal: npt.NDArray[np.floating]) -> float:
    return float(np.sqrt(np.mean(np.square(signal)))) if len(signal) else 0.0
