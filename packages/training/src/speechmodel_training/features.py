"""Samples -> MFCC frames.

The exported graph has the ops AudioSpectrogram and Mfcc, which the runtime runs. Training computes
the same numbers with a Fourier transform and two matrix products, in a fifth of the time.
"""

from functools import cache
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
_SMALLEST = np.float32(1e-12)
"""Smallest energy of a channel that the logarithm is taken of, as in the op Mfcc."""
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
    windows = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STRIDE]
    spectrum = np.fft.rfft(windows * _HANN)
    power: Frames = np.square(spectrum.real) + np.square(spectrum.imag)
    return power


def coefficients(power: Frames) -> Frames:
    """Return the features of a power spectrogram, [frames, 26]."""
    energies = np.sqrt(power) @ _mel_bank()
    cepstrum: Frames = np.log(np.maximum(energies, _SMALLEST)) @ _cosines()
    return cepstrum


def read_samples(path: Path) -> Samples:
    """Return the samples of a clip.

    Raises ArtefactMissing when its file is gone, cut or of another form.
    """
    return np.frombuffer(read_pcm(path), "<i2")


def spectral_features(audio: tf.Tensor) -> tf.Tensor:
    """Return the features [full windows, 26] of `audio`, [samples, 1] in -1...1, by the ops of the
    exported graph.
    """
    features = tf.raw_ops.Mfcc(
        spectrogram=tf.raw_ops.AudioSpectrogram(input=audio, window_size=WINDOW, stride=STRIDE, magnitude_squared=True),
        sample_rate=SAMPLE_RATE,
        lower_frequency_limit=LOWEST_HZ,
        upper_frequency_limit=HIGHEST_HZ,
        filterbank_channel_count=MEL_CHANNELS,
        dct_coefficient_count=COEFFICIENTS,
    )
    return tf.raw_ops.Reshape(tensor=features, shape=[-1, COEFFICIENTS])


_HANN = (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(WINDOW) / WINDOW)).astype(np.float32)


@cache
def _mel_bank() -> Frames:
    """Return the weights of the filter bank, [257, 40]."""
    with tf.device("CPU:0"):
        bank = tf.signal.linear_to_mel_weight_matrix(
            MEL_CHANNELS, WINDOW // 2 + 1, SAMPLE_RATE, LOWEST_HZ, HIGHEST_HZ, dtype=tf.float64
        ).numpy()
    bank[:2] = 0  # the op Mfcc begins at the bin round(20 Hz / 31.25 Hz) + 1
    return np.asarray(bank, np.float32)


@cache
def _cosines() -> Frames:
    """Return the discrete cosine transform, [40, 26]."""
    with tf.device("CPU:0"):
        unit = tf.eye(MEL_CHANNELS, dtype=tf.float64)
        return np.asarray(tf.signal.mfccs_from_log_mel_spectrograms(unit)[:, :COEFFICIENTS], np.float32)
