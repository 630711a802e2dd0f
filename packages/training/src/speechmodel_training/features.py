"""Samples -> MFCC frames, exactly as the runtime computes them: the same TensorFlow ops on the same
windows.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW, full_windows
from speechmodel_stagekit.wav import read_pcm

COEFFICIENTS = 26
"""MFCC per frame, the energy-like coefficient 0 included."""
MEL_CHANNELS = 40
"""Channels of the filter bank. This and the limits below are those of DeepSpeech 0.9.3."""
LOWEST_HZ, HIGHEST_HZ = 20.0, SAMPLE_RATE / 2

Frames = npt.NDArray[np.float32]
"""Numbers over time, such as the features [frames, 26]."""
Samples = npt.NDArray[np.int16]
"""[samples] of a 16 kHz mono clip."""
_FULL_SCALE = 32768.0
"""The runtime's divisor for 16-bit samples."""


def clip_features(samples: Samples) -> Frames:
    """Return the features of a whole clip, [frame_count(len(samples)), 26]."""
    return coefficients(power_spectrogram(samples.astype(np.float32) / _FULL_SCALE))


def power_spectrogram(audio: Frames) -> Frames:
    """Return the power of `audio`, [samples] in -1...1, in [frame_count(samples), 257] frames and
    frequency bins.
    """
    padded = np.zeros(WINDOW + STRIDE * full_windows(len(audio)), np.float32)
    padded[: len(audio)] = audio
    with tf.device("CPU:0"):
        return np.asarray(_power(tf.constant(padded[:, None]))[0])


def coefficients(power: Frames) -> Frames:
    """Return the features of a power spectrogram, [frames, 26]."""
    with tf.device("CPU:0"):
        return np.asarray(_mfcc(tf.constant(power[None])))


def read_samples(path: Path) -> Samples:
    """Return the samples of a clip.

    Raises ArtefactMissing when its file is gone, cut or of another form.
    """
    return np.frombuffer(read_pcm(path), "<i2")


def spectral_features(audio: tf.Tensor) -> tf.Tensor:
    """Return the features [full windows, 26] of `audio`, [samples, 1] in -1...1.

    The exported graph uses it too.
    """
    return _mfcc(_power(audio))


def _power(audio: tf.Tensor) -> tf.Tensor:
    return tf.raw_ops.AudioSpectrogram(input=audio, window_size=WINDOW, stride=STRIDE, magnitude_squared=True)


def _mfcc(power: tf.Tensor) -> tf.Tensor:
    features = tf.raw_ops.Mfcc(
        spectrogram=power,
        sample_rate=SAMPLE_RATE,
        lower_frequency_limit=LOWEST_HZ,
        upper_frequency_limit=HIGHEST_HZ,
        filterbank_channel_count=MEL_CHANNELS,
        dct_coefficient_count=COEFFICIENTS,
    )
    return tf.raw_ops.Reshape(tensor=features, shape=[-1, COEFFICIENTS])
