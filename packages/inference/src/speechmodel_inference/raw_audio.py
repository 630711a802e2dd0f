"""Raw samples, which have no header that could be read: audio/L16 (RFC 2586) by any of its names, and audio/basic (RFC 2046)."""

import io
import wave
from dataclasses import dataclass
from email.message import Message
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechmodel_inference.errors import BadRequest

L16 = ("audio/l16", "audio/x-l16", "audio/pcm", "audio/raw", "audio/x-raw")
"""Types of 16-bit samples. OpenAI's realtime sessions call them audio/pcm."""
BASIC = "audio/basic"
"""The type of mu-law samples of one channel at 8 kHz, and of files of the kind AU, which begin with AU_MAGIC."""
AU_MAGIC = b".snd"
_RATES = range(4_000, 768_001)
_CHANNELS = range(1, 9)
_LOOKED_AT = 1 << 17


@dataclass(frozen=True)
class RawFormat:
    """The parameters of raw samples."""

    rate: int
    """Hz."""
    channels: int = 1
    mu_law: bool = False


def raw_format(content_type: str | None) -> RawFormat | None:
    """Return the format of samples of the types L16 and BASIC, and None for another type.

    A type of L16 must have a rate, and may have a number of channels: `audio/L16; rate=16000`. Raises BadRequest
    when the rate is missing or a number is out of range.
    """
    header = Message()
    header["content-type"] = content_type or ""
    kind = header.get_content_type()
    if kind == BASIC:
        return RawFormat(8_000, mu_law=True)
    if kind not in L16:
        return None
    return RawFormat(_number(header, "rate", _RATES), _number(header, "channels", _CHANNELS, default=1))


def as_wav(raw: bytes, of: RawFormat) -> BinaryIO:
    """Return a file that the runtime reads, with raw samples. A sample that is not whole is left out.

    Samples are big-endian by the RFC and little-endian in most programs, so the order in which they change
    least is taken.
    """
    if of.mu_law:
        return _of_mu_law(raw)
    raw = raw[: len(raw) - len(raw) % (2 * of.channels)]
    samples = min((np.frombuffer(raw, order).reshape(-1, of.channels) for order in ("<i2", ">i2")), key=_roughness)
    wav = io.BytesIO()
    soundfile.write(wav, samples.astype(np.int16), of.rate, format="WAV", subtype="PCM_16")
    wav.seek(0)
    return wav


def _of_mu_law(raw: bytes) -> BinaryIO:
    if raw.startswith(AU_MAGIC):
        return io.BytesIO(raw)
    wav = io.BytesIO()
    samples, rate = soundfile.read(
        io.BytesIO(raw), dtype="int16", samplerate=8_000, channels=1, format="RAW", subtype="ULAW"
    )
    soundfile.write(wav, samples, rate, format="WAV", subtype="PCM_16")
    wav.seek(0)
    return wav


def as_pcm_wav(samples: bytes, rate: int) -> BinaryIO:
    """Return a wav file with 16-bit little-endian samples of one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as wav:
        wav.setnchannels(1)
        wav.setsampwidth(2)
        wav.setframerate(rate)
        wav.writeframes(samples)
    file.seek(0)
    return file


def _number(header: Message, name: str, allowed: range, default: int | None = None) -> int:
    given = header.get_param(name, None if default is None else str(default))
    if isinstance(given, str) and given.isdecimal() and int(given) in allowed:
        return int(given)
    kind = header.get_content_type()
    raise BadRequest(
        f"file: the type {kind} needs a {name} from {allowed.start} to {allowed[-1]}, as in '{kind}; rate=16000'.",
        code="invalid_value",
        param="file",
    )


def _roughness(samples: NDArray[np.int16]) -> float:
    """Return the sum of the steps from each sample to the next, among the first of them."""
    return float(np.abs(np.diff(samples[:_LOOKED_AT].astype(np.float64), axis=0)).sum())
