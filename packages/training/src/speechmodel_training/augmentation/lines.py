"""Effects of a telephone line and of a codec on a clip: float32 `[samples]`, -1...1."""

import io

import numpy as np
import soundfile
import soxr
from speechmodel_api.audio import SAMPLE_RATE

from speechmodel_training.augmentation.signal import Signal, fitted

_TELEPHONE_RATE = 8000
_MU = 255.0
"""Companding of G.711."""
_SLOWEST, _FASTEST = 8_000, 160_000
"""bit/s: the ends of libsndfile's compression level for mp3 at 16 kHz (MPEG-2 layer III)."""
_MP3_DELAY = 1105
"""Samples that an encoder and a decoder of mp3 add before the sound: 576 + 529 in LAME. libsndfile
removes them, and those after the sound, if the first frame of the file has room to say so: from 40
kbit/s on."""


def telephone(signal: Signal, lowest: float) -> Signal:
    """Return the clip after an 8 kHz line with mu-law, which carries nothing below `lowest` Hz."""
    narrow = soxr.resample(signal, SAMPLE_RATE, _TELEPHONE_RATE, "MQ")
    size = 1 << len(narrow).bit_length()  # a length with a large prime factor takes ten times as long
    spectrum = np.fft.rfft(narrow, size)
    spectrum[: round(lowest * size / _TELEPHONE_RATE)] = 0
    limited = np.clip(np.fft.irfft(spectrum, size)[: len(narrow)], -1, 1)
    return fitted(
        soxr.resample(_companded(limited.astype(np.float32)), _TELEPHONE_RATE, SAMPLE_RATE, "MQ"), len(signal)
    )


def mp3(signal: Signal, bitrate: float) -> Signal:
    """Return the clip after mp3 at the bit rate nearest to `bitrate`, 16,000 to 160,000 bit/s."""
    encoded = io.BytesIO()
    level = (_FASTEST - bitrate) / (_FASTEST - _SLOWEST)
    soundfile.write(
        encoded,
        np.clip(signal, -1, 1),
        SAMPLE_RATE,
        format="MP3",
        subtype="MPEG_LAYER_III",
        bitrate_mode="CONSTANT",
        compression_level=level,
    )
    encoded.seek(0)
    decoded, _ = soundfile.read(encoded, dtype="float32")
    return fitted(decoded[_MP3_DELAY:] if len(decoded) > len(signal) else decoded, len(signal))


def _companded(signal: Signal) -> Signal:
    """Return the clip in the 255 steps of 8-bit mu-law."""
    compressed = np.rint(127 * np.sign(signal) * np.log1p(_MU * np.abs(signal)) / np.log1p(_MU)) / 127
    expanded: Signal = (np.sign(compressed) * np.expm1(np.abs(compressed) * np.log1p(_MU)) / _MU).astype(np.float32)
    return expanded
