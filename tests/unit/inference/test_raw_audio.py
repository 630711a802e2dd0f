"""Raw samples of the media type audio/L16."""

import io

import numpy as np
import pytest
import soundfile
from speechmodel_inference.errors import BadRequest
from speechmodel_inference.raw_audio import RawFormat, as_wav, raw_format

RATE = 8_000
TONE = np.rint(9_000 * np.sin(2 * np.pi * 200 * np.arange(RATE) / RATE)).astype(np.int16)


@pytest.mark.parametrize("order", ["<i2", ">i2"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("odd", [b"", b"\x01"], ids=["whole", "cut"])
def test_samples_keep_their_values_rate_and_channels(order: str, channels: int, odd: bytes) -> None:
    samples = np.stack([TONE // (1 + channel) for channel in range(channels)], axis=1)
    given = raw_format(f"Audio/L16;rate={RATE}; channels={channels}")
    assert given is not None
    wav = as_wav(samples.astype(order).tobytes() + odd, given)
    read, rate = soundfile.read(wav, dtype="int16", always_2d=True)
    assert rate == RATE
    assert np.array_equal(read, samples)


@pytest.mark.parametrize("kind", [None, "", "audio/wav", "application/octet-stream", "audio/L16x; rate=8000"])
def test_other_types_have_a_header(kind: str | None) -> None:
    assert raw_format(kind) is None


@pytest.mark.parametrize("given", ["", "; rate=fast", "; rate=1", "; rate=99999999", "; rate=8000; channels=0"])
def test_numbers_that_are_missing_or_out_of_range_are_refused(given: str) -> None:
    for kind in ("audio/l16", "audio/pcm"):
        with pytest.raises(BadRequest, match=rf"{kind} needs a (rate|channels) from .*, as in '{kind}; rate=16000'"):
            raw_format(f"{kind}{given}")


@pytest.mark.parametrize("kind", ["audio/pcm", "audio/x-l16", "audio/raw", "audio/x-raw"])
def test_other_names_of_raw_samples_are_known(kind: str) -> None:
    assert raw_format(f"{kind}; rate=24000") == RawFormat(24_000)


def test_mu_law_samples_and_au_files_are_audio_basic() -> None:
    given, raw, au = raw_format("audio/basic"), io.BytesIO(), io.BytesIO()
    assert given is not None
    soundfile.write(raw, TONE, RATE, format="RAW", subtype="ULAW")
    soundfile.write(au, TONE, RATE, format="AU", subtype="ULAW")
    expected, _ = soundfile.read(io.BytesIO(au.getvalue()), dtype="int16")
    for content in (raw.getvalue(), au.getvalue()):
        read, rate = soundfile.read(as_wav(content, given), dtype="int16")
        assert rate == RATE
        assert np.array_equal(read, expected)


def test_no_samples_are_a_wav_file_without_samples() -> None:
    assert soundfile.info(as_wav(b"", RawFormat(8000))).frames == 0
