"""Copies of a clip as they are heard in a room: quieter, in hiss, and among other voices.

The threshold is set on them too. On clips as they were recorded alone, it would reject everything
that is said less clearly.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from speechmodel_runtime import Pcm, level, without_floor

QUIETER_DB = 12.0
"""A voice at four times the distance."""
NOISE_DB = 10.0
"""Level of hiss and of other voices below the clip: as much as training adds at most."""
VOICES = 3


def as_heard(pcm: Pcm, others: Sequence[Pcm], *, seed: int, dbfs: float | None) -> list[Pcm]:
    """Return a prepared clip and its rough copies as they are decoded: the server first brings every
    recording to the loudness `dbfs`, see level(). The noise that level() adds is in each of them once.
    """
    bare = without_floor(pcm, dbfs)
    return [pcm, *(level(copy, dbfs) for copy in rough_copies(bare, others, seed))]


def rough_copies(pcm: Pcm, others: Sequence[Pcm], seed: int) -> list[Pcm]:
    """Return a quieter copy, one in hiss, and one among the voices of `others` if there are any.

    Equal arguments give equal copies.
    """
    draw = np.random.default_rng(seed)
    samples = pcm.astype(np.float64)
    copies = [samples * 10 ** (-QUIETER_DB / 20), _with_noise(samples, draw.normal(size=len(samples)))]
    if others:
        chosen = draw.choice(len(others), size=min(VOICES, len(others)), replace=False)
        voices = np.stack([np.resize(others[index], len(samples)) for index in chosen])
        copies.append(_with_noise(samples, voices.sum(axis=0, dtype=np.float64)))
    return [np.clip(np.rint(copy), -32768, 32767).astype(np.int16) for copy in copies]


def _with_noise(samples: npt.NDArray[np.float64], noise: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    ratio = np.sqrt(np.mean(samples**2)) / max(float(np.sqrt(np.mean(np.square(noise, dtype=np.float64)))), 1e-9)
    noisy: npt.NDArray[np.float64] = samples + noise * ratio * 10 ** (-NOISE_DB / 20)
    return noisy
