"""Raw samples of the media type audio/L16 (RFC 2586), which have no header that could be read."""

import io
from email.message import Message
from typing import BinaryIO

import numpy as np
import soundfile
from numpy.typing import NDArray

from speechmodel_inference.errors import BadRequest

L16 = "audio/l16"
_RATES = range(4_000, 768_001)
_CHANNELS = range(1, 9)
_LOOKED_AT = 1 << 17


def as_wav(file: BinaryIO, content_type: str | None) -> BinaryIO:
    """Return a wav file with the samples of `file` if its type is audio/L16, and else `file`.

    The type must have a rate, and may have a number of channels: `audio/L16; rate=16000`. Samples are
    big-endian by the RFC and little-endian in most programs, so the order in which they change least is
    taken. Raises BadRequest when the rate is missing or a number is out of range.
    """
    header = Message()
    header["content-type"] = content_type or ""
    if header.get_content_type() != L16:
        return file
    rate = _number(header, "rate", _RATES)
    channels = _number(header, "channels", _CHANNELS, default=1)
    with file:
        raw = file.read()
    raw = raw[: len(raw) - len(raw) % (2 * channels)]
    samples = min((np.frombuffer(raw, order).reshape(-1, channels) for order in ("<i2", ">i2")), key=_roughness)
    wav = io.BytesIO()
    soundfile.write(wav, samples.astype(np.int16), rate, format="WAV", subtype="PCM_16")
    wav.seek(0)
    return wav


def _number(header: Message, name: str, allowed: range, default: int | None = None) -> int:
    given = header.get_param(name, None if default is None else str(default))
    if isinstance(given, str) and given.isdecimal() and int(given) in allowed:
        return int(given)
    raise BadRequest(
        f"file: the type audio/L16 needs a {name} from {allowed.start} to {allowed[-1]}, as in 'audio/L16; rate=16000'.",
        code="invalid_value",
        param="file",
    )


def _roughness(samples: NDArray[np.int16]) -> float:
    """Return the sum of the steps from each sample to the next, among the first of them."""
    return float(np.abs(np.diff(samples[:_LOOKED_AT].astype(np.float64), axis=0)).sum())
