"""Doubts about recordings that can be used."""

import io
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speechmodel_runtime import decode
from speechmodel_runtime.errors import AudioEmpty, AudioUnreadable
from speechmodel_runtime.mixing import choose_mix
from speechmodel_runtime.readers import Block, Header

RATE = 16_000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
SAMPLES = np.rint(TONE * 32_768).astype("<i2")


def wav(announced: int | None = None, samples: np.ndarray = SAMPLES, before: bytes = b"", behind: bytes = b"") -> bytes:
    """A wav file with any length in its header, and chunks before and bytes behind the samples."""
    data = samples.tobytes()
    chunks = struct.pack("<4sIHHIIHH", b"fmt ", 16, 1, 1, RATE, 2 * RATE, 2, 16) + before
    chunks += struct.pack("<4sI", b"data", len(data) if announced is None else announced) + data + behind
    return struct.pack("<4sI4s", b"RIFF", 4 + len(chunks), b"WAVE") + chunks


def kinds(content: bytes) -> list[str]:
    return [warning.kind for warning in decode(io.BytesIO(content), name="x.wav").warnings]


def stored(samples: np.ndarray, subtype: str = "PCM_16") -> bytes:
    file = io.BytesIO()
    soundfile.write(file, samples, RATE, format="WAV", subtype=subtype)
    return file.getvalue()


def test_a_good_recording_raises_no_doubt() -> None:
    assert kinds(wav()) == []


@pytest.mark.parametrize("announced", [0, 0xFFFFFFFF, 0x7FFFF000, 0x7FFFFFFF])
def test_a_wav_file_whose_length_is_unknown_is_read_to_its_end(announced: int) -> None:
    audio = decode(io.BytesIO(wav(announced)))
    assert np.array_equal(audio.pcm, SAMPLES)
    assert [warning.kind for warning in audio.warnings] == ["LengthUnknown"]
    assert "all 1.00 s" in audio.warnings[0].message


@pytest.mark.parametrize(
    ("announced", "doubts"),
    [(0xFFFF_FFFF, []), (0x7F00_0008, []), (0, []), (8 + 2 * RATE, []), (8 + 6 * RATE, ["CutShort"])],
)
def test_an_aiff_file_is_cut_only_if_its_header_knows_the_length(announced: int, doubts: list[str]) -> None:
    file = io.BytesIO()
    soundfile.write(file, SAMPLES, RATE, format="AIFF", subtype="PCM_16")
    content = bytearray(file.getvalue())
    at = content.index(b"SSND") + 4
    content[at : at + 4] = struct.pack(">I", announced)
    assert kinds(bytes(content)) == doubts


@pytest.mark.parametrize("share", [0.25, 1 / 3, 0.8])
def test_a_wav_file_whose_header_announces_too_little_is_read_to_its_end(share: float) -> None:
    audio = decode(io.BytesIO(wav(2 * int(RATE * share))))
    assert np.array_equal(audio.pcm, SAMPLES)
    assert [warning.kind for warning in audio.warnings] == ["LengthUnknown"]
    assert f"its header announces only {share:.2f} s, so all 1.00 s up to its end are used" in audio.warnings[0].message


@pytest.mark.parametrize(
    "behind",
    [
        struct.pack("<4sI", b"LIST", 5000) + b"INFO" + bytes(4996),
        struct.pack("<4sI", b"odd ", 8001) + bytes(range(1, 255)) * 31 + bytes(127),
        b"ID3\x03" + bytes(range(256)) * 40,
        b"TAG" + b"title" * 2000,
        bytes(9000),
        b"\x01\xff\x02\xfe" * 100,
    ],
    ids=["chunk", "unpadded chunk", "ID3v2", "ID3v1", "zeros", "a few bytes"],
)
def test_what_is_no_sample_behind_the_samples_is_left(behind: bytes) -> None:
    audio = decode(io.BytesIO(wav(2 * len(SAMPLES), behind=behind)))
    assert np.array_equal(audio.pcm, SAMPLES)
    assert [warning.kind for warning in audio.warnings] == []


def test_a_wav_file_with_nothing_but_a_note_behind_an_empty_recording_is_empty() -> None:
    note = struct.pack("<4sI4s", b"LIST", 4, b"INFO")
    for content in (wav(0, SAMPLES[:0]), wav(0, SAMPLES[:0], behind=note)):
        with pytest.raises(AudioEmpty, match="no samples"):
            decode(io.BytesIO(content))


def test_a_chunk_that_is_not_padded_costs_nothing() -> None:
    odd = struct.pack("<4sI", b"LIST", 17) + b"INFOISFT\x05\x00\x00\x00Lavf\x00"
    for before in (odd, odd + b"\x00"):
        assert np.array_equal(decode(io.BytesIO(wav(before=before))).pcm, SAMPLES)


def test_a_file_that_is_shorter_than_its_header_says_is_reported_with_both_lengths() -> None:
    (warning,) = decode(io.BytesIO(wav(2 * RATE * 3))).warnings
    assert warning.kind == "CutShort"
    assert warning.message == "its header announces 3.00 s, but only 1.00 s are there; copy it again"
    assert kinds(wav(2 * RATE + 100)) == []


def test_two_wav_files_in_one_are_refused_with_the_place_of_the_second() -> None:
    with pytest.raises(AudioUnreadable, match=r"x\.wav: holds two wav files, the second from byte 32044 on"):
        decode(io.BytesIO(wav() + wav()), name="x.wav")


def test_two_chunks_of_samples_are_refused_with_the_place_of_the_second() -> None:
    chunk = struct.pack("<4sI", b"data", 2 * RATE) + SAMPLES.tobytes()
    with pytest.raises(
        AudioUnreadable, match=r"x\.wav: holds two chunks of samples, the second from byte 32044 on; save"
    ):
        decode(io.BytesIO(wav(behind=chunk)), name="x.wav")


def test_a_header_without_the_bits_of_a_sample_is_understood() -> None:
    content = bytearray(wav())
    content[16:36] = struct.pack("<I", 14) + content[20:34]
    assert np.array_equal(decode(io.BytesIO(bytes(content))).pcm, SAMPLES)


@pytest.mark.parametrize("size", [0, 9_000, 65_535])
def test_a_header_without_the_bits_whose_samples_have_an_impossible_size_is_refused(size: int) -> None:
    content = bytearray(wav())
    content[16:36] = struct.pack("<I", 14) + content[20:32] + struct.pack("<H", size)
    with pytest.raises(AudioUnreadable, match=r"x\.wav: has a damaged header, .* the bits of a sample; record"):
        decode(io.BytesIO(bytes(content)), name="x.wav")


@pytest.mark.parametrize(("scale", "divisor"), [(2.0**15, 32_768), (2.0**23, 8_388_608), (2.0**31, 2_147_483_648)])
@pytest.mark.parametrize("subtype", ["FLOAT", "DOUBLE"])
def test_floating_point_samples_with_the_values_of_integers_are_divided(
    scale: float, divisor: int, subtype: str
) -> None:
    audio = decode(io.BytesIO(stored(TONE * scale, subtype)))
    assert np.abs(audio.pcm - SAMPLES.astype(int)).max() <= 1
    assert [warning.kind for warning in audio.warnings] == ["IntegerScale"]
    assert f"divided by {divisor}" in audio.warnings[0].message


def test_floating_point_samples_that_are_only_loud_are_not_divided() -> None:
    assert kinds(stored(TONE * 4, "FLOAT")) == ["Clipped"]


@pytest.mark.parametrize("gain", [-1.0, -0.6])
def test_of_channels_that_cancel_each_other_the_louder_is_used(gain: float) -> None:
    for first, second, channel in ((TONE, gain * TONE, 1), (-gain * 0.9 * TONE, -TONE, 2)):
        audio = decode(io.BytesIO(stored(np.stack([first, second], axis=1))))
        assert np.abs(audio.pcm).max() == np.abs(SAMPLES).max()
        assert [warning.kind for warning in audio.warnings] == ["OppositePhase"]
        assert f"only channel {channel} is used" in audio.warnings[0].message


@pytest.mark.parametrize(("subtype", "times"), [("WAV PCM_16", 0), ("WAV FLOAT", 1)])
def test_a_recording_whose_channel_is_given_is_decoded_for_the_mix_only_if_its_scale_may_be_wrong(
    subtype: str, times: int
) -> None:
    decoded = []

    def blocks() -> Iterator[Block]:
        decoded.append(True)
        yield np.zeros((RATE, 2), np.float32)

    mix = choose_mix(Header(RATE, 2, RATE, subtype), blocks, channel=1)
    assert (mix.weights.tolist(), len(decoded)) == ([0, 1], times)


def test_channels_that_have_little_in_common_are_averaged_without_a_word() -> None:
    noise = np.random.default_rng(0).normal(0, 0.1, (RATE, 2))
    for stereo in (noise, np.stack([TONE, 0 * TONE], axis=1), np.stack([TONE, TONE], axis=1)):
        assert kinds(stored(stereo)) == []


@pytest.mark.parametrize("subtype", ["PCM_16", "ULAW", "ALAW", "FLOAT"])
def test_a_recording_that_was_too_loud_is_called_clipped(subtype: str) -> None:
    loud = stored(np.clip(3 * TONE, -1, 1), subtype)
    assert kinds(loud) == ["Clipped"]
    assert kinds(stored(1.9 * TONE, subtype)) == []


def test_a_recording_of_nothing_is_called_silent() -> None:
    assert kinds(stored(np.full(RATE, 0.0001))) == ["Silent"]
    assert kinds(stored(0.002 * TONE)) == []


def test_a_doubt_about_a_file_says_nothing_about_the_next(tmp_path: Path) -> None:
    (tmp_path / "a.wav").write_bytes(wav(0))
    (tmp_path / "b.wav").write_bytes(wav())
    assert decode(tmp_path / "a.wav").warnings and not decode(tmp_path / "b.wav").warnings
