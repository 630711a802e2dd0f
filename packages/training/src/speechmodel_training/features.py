"""Samples -> MFCC frames, exactly as the runtime computes them: the same TensorFlow ops on the same windows."""

import wave
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from speechmodel_stagekit.errors import ArtefactMissing

from speechmodel_training.audio import (
    COEFFICIENTS,
    HIGHEST_HZ,
    LOWEST_HZ,
    MEL_CHANNELS,
    SAMPLE_RATE,
    STRIDE,
    WINDOW,
    full_windows,
)

Frames = npt.NDArray[np.float32]
"""[frames, 26]"""
Samples = npt.NDArray[np.int16]
"""Of a 16 kHz mono clip."""
_FULL_SCALE = 32768.0
"""The runtime's divisor for 16-bit samples."""
_HEADER_BYTES = 44
"""Least that a wav file has before its samples."""


def clip_features(samples: Samples) -> Frames:
    """[frame_count(len(samples)), 26]"""
    audio = samples.astype(np.float32) / _FULL_SCALE
    padded = np.zeros(WINDOW + STRIDE * full_windows(len(audio)), np.float32)
    padded[: len(audio)] = audio
    with tf.device("CPU:0"):
        return np.asarray(spectral_features(tf.constant(padded[:, None])))


def read_samples(path: Path) -> Samples:
    """The samples of a 16 kHz mono 16-bit wav file; ArtefactMissing when it is gone or something else."""
    with _opened(path) as clip:
        raw = clip.readframes(clip.getnframes())
        if len(raw) != 2 * clip.getnframes():
            raise _cut(path, clip)
        return np.frombuffer(raw, "<i2")


def sample_count(path: Path) -> int:
    """Samples by the header of a 16 kHz mono 16-bit wav file; ArtefactMissing also when the file is too short to hold them."""
    with _opened(path) as clip:
        if _HEADER_BYTES + 2 * clip.getnframes() > path.stat().st_size:
            raise _cut(path, clip)
        return clip.getnframes()


def spectral_features(audio: tf.Tensor) -> tf.Tensor:
    """[samples, 1] in -1...1 -> [full windows, 26]; part of the exported graph as well."""
    power = tf.raw_ops.AudioSpectrogram(input=audio, window_size=WINDOW, stride=STRIDE, magnitude_squared=True)
    coefficients = tf.raw_ops.Mfcc(
        spectrogram=power,
        sample_rate=SAMPLE_RATE,
        lower_frequency_limit=LOWEST_HZ,
        upper_frequency_limit=HIGHEST_HZ,
        filterbank_channel_count=MEL_CHANNELS,
        dct_coefficient_count=COEFFICIENTS,
    )
    return tf.raw_ops.Reshape(tensor=coefficients, shape=[-1, COEFFICIENTS])


def _cut(path: Path, clip: wave.Wave_read) -> ArtefactMissing:
    problem = f"{path} is cut: its header promises {clip.getnframes()} samples; prepare makes the dataset again"
    return ArtefactMissing("ArtefactDamaged", problem)


def _opened(path: Path) -> wave.Wave_read:
    advice = "prepare makes the dataset again"
    try:
        clip = wave.open(str(path), "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise ArtefactMissing("ArtefactMissing", f"{path} is missing; {advice}") from error
    except (wave.Error, EOFError) as error:
        raise ArtefactMissing("ArtefactDamaged", f"{path} is no wav file ({error}); {advice}") from error
    found = (clip.getframerate(), clip.getnchannels(), 8 * clip.getsampwidth())
    if found != (SAMPLE_RATE, 1, 16):
        clip.close()
        rate, channels, bits = found
        raise ArtefactMissing(
            "ArtefactDamaged",
            f"{path} has {rate} Hz, {channels} channels, {bits} bit instead of 16000 Hz mono 16 bit; {advice}",
        )
    return clip
