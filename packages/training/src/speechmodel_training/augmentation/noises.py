"""Sounds that are added to a clip, in proportion to its speech: float32 `[samples]`."""

from collections.abc import Sequence

import numpy as np
from speechmodel_api.audio import SAMPLE_RATE

from speechmodel_training.augmentation.signal import Signal

_HARMONICS = 6
"""Overtones of a hum. Power supplies hum mostly in the first few."""


def mixed(signal: Signal, noise: Signal, *, speech: float, snr: float) -> Signal:
    """Return `signal` with `noise` added, whose root mean square is `snr` decibels below `speech`,
    the root mean square of the loud frames.
    """
    power = float(np.sqrt(np.mean(np.square(noise)))) if len(noise) else 0.0
    return signal + noise * np.float32(speech * 10 ** (-snr / 20) / power) if power else signal


def hiss(length: int, chance: np.random.Generator) -> Signal:
    """Return white noise."""
    return chance.standard_normal(length, np.float32)


def hum(length: int, frequency: float, chance: np.random.Generator) -> Signal:
    """Return a tone of `frequency` Hz with overtones of random strength, as power supplies hum."""
    seconds = np.arange(length, dtype=np.float32) / SAMPLE_RATE
    strengths = chance.uniform(0, 1, _HARMONICS) / np.arange(1, _HARMONICS + 1)
    phases = chance.uniform(0, 2 * np.pi, _HARMONICS)
    harmonics = 2 * np.pi * frequency * np.arange(1, _HARMONICS + 1)
    angles = np.outer(harmonics.astype(np.float32), seconds) + phases.astype(np.float32)[:, None]
    mixed: Signal = strengths.astype(np.float32) @ np.sin(angles)
    return mixed


def babble(length: int, voices: Sequence[Signal], chance: np.random.Generator) -> Signal:
    """Return `voices` at once, equally loud, each repeated from a random place on."""
    mix = np.zeros(length, np.float32)
    for voice in voices:
        power = float(np.sqrt(np.mean(np.square(voice)))) if len(voice) else 0.0
        if power:
            mix += np.resize(np.roll(voice, chance.integers(len(voice))), length) / np.float32(power)
    return mix
