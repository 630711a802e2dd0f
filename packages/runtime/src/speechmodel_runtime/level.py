"""The level of speech: every recording is brought to one loudness before it is trained or decoded.

The features of DeepSpeech 0.9.3 contain the loudness, so a model recognises little at another
distance from the microphone than that of its recordings. Loudness is measured where the speech is:
a pause, a click and hum count little.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW, frame_count

from speechmodel_runtime.audio import Pcm

LOWEST_HERTZ, HIGHEST_HERTZ = 200, 4_000
"""The band in which speech is measured. Hum and rumble are below it, and telephones transmit nothing
above it."""
LOUD_SECONDS, LOUD_SHARE = 0.2, 0.2
"""The loudest frames are those of 0.2 s, or of a fifth of a shorter recording. A click or the clunk
of a handset is shorter."""
SPEECH_RANGE = 32.0
"""Decibels below the loudest frames at which a frame counts as background at most."""
LOUD = 80
"""Percentile of the frames of speech that is their loudness, as in the training program."""
LEAST_CONTRAST = 5.0
"""Decibels from the background to the loudest frames of a recording with speech. White noise has 1 to
2 and pink noise 2 to 3; of 600 spoken digits that were cut tightly, the least had 6.6."""
FAINTEST = -70.0
"""dBFS. Fainter recordings have no speech that could be recognised, and are left alone."""
TOLERANCE = 0.1
"""Decibels by which a recording may differ from the level and is still returned unchanged."""
FAINT_SHARE = 0.3
"""Least loudness at the beginning and end of speech, as a share of the way from the background to
the loudest frames in decibels. Consonants are fainter than vowels."""
LASTING_FRAMES = 3
"""Frames in a row that begin or end speech: 60 ms, longer than a click."""
FLOOR = 50.0
"""Decibels from the level of speech down to the white noise that is added to it."""
LIMITER_SECONDS = 0.005
"""Length of the parts of a recording that are turned down together where a click would be clipped."""
LIMITER_ROUNDS = 4
"""Attempts to reach the level beside turned down clicks. If none does, the loudest peak limits the
gain of the whole recording."""

_PEAK = 32_767
_FAINT = 1e-3
_FRAMES_AT_ONCE = 2_000


@dataclass(frozen=True)
class Speech:
    """The speech in a recording, found by its loudness alone."""

    loudness: float
    """dBFS of its loud frames."""
    seconds: float
    """Time from its beginning to its end, with the pauses in it."""


def level(pcm: Pcm, dbfs: float | None) -> Pcm:
    """Return `pcm`, samples at 16 kHz, with its speech at the loudness `dbfs`: decibels relative to
    full scale. None stands for models whose recordings were not brought to one level.

    White noise is added FLOOR decibels below that, the same every time; no sample is clipped. Nothing
    but the noise changes in a recording without speech, and in the result of this function.
    """
    if dbfs is None:
        return pcm
    measured = loudness(pcm)
    if measured is None or abs(dbfs - measured) <= TOLERANCE:
        return _with_floor(pcm, dbfs)
    samples = pcm.astype(np.float32)
    peak = float(np.abs(samples).max())
    gain = dbfs - measured
    for _ in range(LIMITER_ROUNDS):
        levelled = _rounded(_limited(samples * _factor(gain)))
        reached = loudness(levelled)
        if reached is None:
            break
        if abs(dbfs - reached) <= TOLERANCE:
            return _with_floor(levelled, dbfs)
        gain += dbfs - reached
    return _with_floor(_rounded(samples * min(_factor(dbfs - measured), max(1.0, _PEAK / peak))), dbfs)


def without_floor(pcm: Pcm, dbfs: float | None) -> Pcm:
    """Return `pcm`, a result of level(), without the noise that level() added, up to rounding."""
    return pcm if dbfs is None else _rounded(pcm.astype(np.float32) - _floor(len(pcm), dbfs))


def loudness(pcm: Pcm) -> float | None:
    """Return the loudness of the speech in `pcm`, samples at 16 kHz, in dBFS. None means that no
    part of it is speech.
    """
    found = speech(pcm)
    return None if found is None else found.loudness


def speech(pcm: Pcm) -> Speech | None:
    """Return the speech in `pcm`, samples at 16 kHz. None means that no part of it is speech."""
    frames = _frame_loudness(pcm)
    loudest = np.sort(frames)[-_loud_frames(len(frames))]
    background = max(np.percentile(frames, 10), loudest - SPEECH_RANGE)
    if loudest - background < LEAST_CONTRAST:
        return None
    loud = frames >= (loudest + background) / 2
    found = float(np.percentile(frames[loud], LOUD))
    faint = frames >= background + FAINT_SHARE * (loudest - background)
    return Speech(found, _extent(faint)) if found >= FAINTEST else None


def _factor(decibels: float) -> float:
    return float(10 ** (decibels / 20))


def _extent(spoken: NDArray[np.bool_]) -> float:
    """Return the seconds from the first to the last of LASTING_FRAMES spoken frames in a row, or of the
    spoken frames if there are no such rows.
    """
    row = min(LASTING_FRAMES, len(spoken))
    lasting = np.flatnonzero(np.convolve(spoken, np.ones(row), "valid") == row)
    if not len(lasting):
        row, lasting = 1, np.flatnonzero(spoken)
    return float((lasting[-1] - lasting[0] + row) * STRIDE / SAMPLE_RATE)


def _loud_frames(frames: int) -> int:
    return max(1, min(round(LOUD_SECONDS * SAMPLE_RATE / STRIDE), round(LOUD_SHARE * frames)))


def _frame_loudness(pcm: Pcm) -> NDArray[np.float64]:
    """Return the power of each frame between LOWEST_HERTZ and HIGHEST_HERTZ, in dBFS `[frames]`.

    A sine is as loud as its root mean square.
    """
    frames = frame_count(len(pcm))
    padded = np.zeros(WINDOW + STRIDE * (frames - 1), np.float32)
    padded[: len(pcm)] = pcm[: len(padded)] / np.float32(32_768)
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STRIDE]
    hann = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    first, last = (round(hertz * WINDOW / SAMPLE_RATE) for hertz in (LOWEST_HERTZ, HIGHEST_HERTZ))
    power = np.concatenate(
        [
            np.square(np.abs(np.fft.rfft(windows[start : start + _FRAMES_AT_ONCE] * hann)[:, first : last + 1])).sum(
                axis=1
            )
            for start in range(0, frames, _FRAMES_AT_ONCE)
        ]
    )
    power = 2 * power / (WINDOW * np.square(hann).sum())
    loud: NDArray[np.float64] = 10 * np.log10(np.maximum(power.astype(np.float64), (_FAINT / 32_768) ** 2))
    return loud


def _limited(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return `samples` turned down around those beyond full scale, and unchanged elsewhere.

    The factor of a part is the smallest of its own and its neighbours', and changes linearly from
    the middle of a part to the next, so it is small enough everywhere.
    """
    if np.abs(samples).max() <= _PEAK:
        return samples
    part = round(LIMITER_SECONDS * SAMPLE_RATE)
    padded = np.pad(np.abs(samples), (0, -len(samples) % part)).reshape(-1, part)
    needed = np.minimum(1, _PEAK / np.maximum(padded.max(axis=1), 1))
    around = np.pad(needed, 1, mode="edge")
    factors = np.minimum(np.minimum(around[:-2], around[2:]), needed)
    middles = part * (np.arange(len(factors)) + 0.5)
    limited: NDArray[np.float32] = samples * np.interp(np.arange(len(samples)), middles, factors).astype(np.float32)
    return limited


def _with_floor(pcm: Pcm, dbfs: float) -> Pcm:
    """Return `pcm` with white noise FLOOR decibels below `dbfs`.

    Features are logarithms, so digital silence is as far from a quiet room as the room from speech,
    and so is what a telephone does not transmit: there, the steps of 16 bits are all that is left, and
    they grow when a faint recording is made louder.
    """
    return _rounded(pcm.astype(np.float32) + _floor(len(pcm), dbfs))


def _floor(samples: int, dbfs: float) -> NDArray[np.float32]:
    """Return the noise. The numbers are those of a generator that numpy keeps as it is."""
    noise = np.random.RandomState(0).standard_normal(samples) * (32_768 * _factor(dbfs - FLOOR))
    return noise.astype(np.float32)


def _rounded(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples), -_PEAK, _PEAK).astype(np.int16)
    return pcm
