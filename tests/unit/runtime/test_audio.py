import errno
import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_runtime import decode, load, save
from speechmodel_runtime.errors import AudioEmpty, AudioMissing, AudioTooLong, AudioUnreadable

RATES = (8000, 11025, 16000, 22050, 44100, 48000, 96000)


def tone(rate: int, seconds: float = 1.0, frequency: float = 440.0) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * frequency * np.arange(int(rate * seconds)) / rate)


def loudest_frequency(pcm: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(pcm * np.hanning(len(pcm))))
    return float(np.argmax(spectrum)) * 16000 / len(pcm)


def test_a_clip_in_the_runtimes_own_format_comes_out_bit_for_bit(fixtures: Path) -> None:
    clip = next((fixtures / "clips").glob("*.wav"))
    expected, _ = soundfile.read(clip, dtype="int16")
    assert np.array_equal(load(clip), expected)
    assert decode(clip).warnings == ()


@pytest.mark.parametrize("rate", RATES)
@pytest.mark.parametrize(
    ("container", "encoding"),
    [("WAV", "PCM_16"), ("WAV", "PCM_U8"), ("WAV", "PCM_24"), ("WAV", "FLOAT"), ("WAV", "ULAW"), ("FLAC", "PCM_16")],
)
def test_any_rate_and_encoding_becomes_16_khz_of_the_same_sound(
    rate: int, container: str, encoding: str, tmp_path: Path
) -> None:
    path = tmp_path / "tone"
    soundfile.write(path, tone(rate), rate, format=container, subtype=encoding)
    pcm = load(path)
    assert pcm.dtype == np.int16
    assert abs(len(pcm) - 16000) <= 1
    assert loudest_frequency(pcm) == pytest.approx(440, abs=1)
    assert np.abs(pcm.astype(int)).max() == pytest.approx(16384, rel=0.05)


@pytest.mark.parametrize(("container", "rate"), [("OGG", 16000), ("OGG", 48000), ("MP3", 16000), ("MP3", 44100)])
def test_lossy_formats_are_read_from_memory_whatever_their_name(container: str, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(rate), rate, format=container)
    file.seek(0)
    pcm = load(file, name="recording.bin")
    assert loudest_frequency(pcm) == pytest.approx(440, abs=1)


def test_channels_are_averaged(tmp_path: Path) -> None:
    path = tmp_path / "stereo.wav"
    soundfile.write(path, np.array([[1000, 3000], [-200, -400]], np.int16), 16000)
    assert load(path).tolist() == [2000, -300]


def test_too_loud_samples_are_clipped_not_wrapped(tmp_path: Path) -> None:
    path = tmp_path / "loud.wav"
    soundfile.write(path, np.array([1.5, -1.5, 0.0]), 16000, subtype="FLOAT")
    assert load(path).tolist() == [32767, -32768, 0]


@given(length=st.integers(12, 60_000), rate=st.sampled_from(RATES))
@settings(max_examples=30)
def test_no_length_is_lost_in_resampling(length: int, rate: int) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(length, np.int16), rate, format="WAV")
    file.seek(0)
    assert abs(len(load(file)) - length * 16000 / rate) <= 1


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(AudioMissing, match=r"gone\.wav: cannot be read \(No such file"):
        load(tmp_path / "gone.wav")


@pytest.mark.parametrize("content", [b"hello, this is text and no sound at all", b"RIFF\x00\x00", bytes(4000)])
def test_a_file_that_is_not_audio_is_named(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "notes.wav"
    path.write_bytes(content)
    with pytest.raises(AudioUnreadable, match=r"notes\.wav: is not readable audio"):
        load(path)


def test_an_empty_file_and_one_without_samples_are_empty(tmp_path: Path) -> None:
    nothing = tmp_path / "nothing.wav"
    nothing.write_bytes(b"")
    with pytest.raises(AudioEmpty, match="0 bytes"):
        load(nothing)
    soundfile.write(nothing, np.zeros(0, np.int16), 16000)
    with pytest.raises(AudioEmpty, match="no samples"):
        load(nothing)


@pytest.mark.parametrize("rate", [44_100, 48_000, 96_000])
def test_so_few_samples_that_none_is_left_at_16_khz_are_empty(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "click.wav"
    soundfile.write(path, np.full(1, 9000, np.int16), rate)
    with pytest.raises(AudioEmpty, match=r"click\.wav: .*record it again"):
        load(path)


def test_samples_that_are_not_numbers_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "nan.wav"
    soundfile.write(path, np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(AudioUnreadable, match="not numbers"):
        load(path)


def test_a_rate_below_speech_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "slow.wav"
    soundfile.write(path, np.zeros(100), 100)
    with pytest.raises(AudioUnreadable, match="100 Hz"):
        load(path)


@pytest.mark.parametrize("rate", [768_001, 1_000_000_000, 2**31 - 1])
def test_a_rate_that_no_recorder_has_is_refused(rate: int, tmp_path: Path) -> None:
    path = tmp_path / "absurd.wav"
    soundfile.write(path, tone(16_000), rate)
    with pytest.raises(AudioUnreadable, match=rf"absurd\.wav: .*{rate} Hz.* at most 768000"):
        load(path)


def test_the_highest_rate_of_a_recorder_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "studio.wav"
    soundfile.write(path, tone(768_000), 768_000)
    assert loudest_frequency(load(path)) == pytest.approx(440, abs=1)


def test_audio_beyond_the_limit_is_refused_and_up_to_it_taken(tmp_path: Path) -> None:
    path = tmp_path / "long.wav"
    soundfile.write(path, np.zeros(16000 * 3, np.int16), 16000)
    assert len(load(path, max_seconds=3)) == 48000
    with pytest.raises(AudioTooLong, match="longer than"):
        load(path, max_seconds=2.5)


def test_a_header_that_promises_a_year_of_audio_costs_no_memory(tmp_path: Path) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(16000, np.int16), 16000, format="FLAC")
    raw = bytearray(file.getvalue())
    (bits,) = struct.unpack(">Q", raw[18:26])
    raw[18:26] = struct.pack(">Q", bits & ~((1 << 36) - 1) | (1 << 36) - 1)  # the 36 bits of STREAMINFO's sample count
    path = tmp_path / "boast.flac"
    path.write_bytes(raw)
    try:
        audio = decode(path)
    except AudioUnreadable as error:
        assert "boast.flac: is damaged" in str(error)
    else:
        assert (len(audio.pcm), [warning.kind for warning in audio.warnings]) == (16000, ["CutShort"])


@given(cut=st.integers(0, 4000), junk=st.binary(max_size=64))
@settings(max_examples=60)
def test_no_bytes_make_it_fail_otherwise_than_by_an_audio_error(cut: int, junk: bytes) -> None:
    file = io.BytesIO()
    soundfile.write(file, tone(16000, 0.1), 16000, format="FLAC")
    raw = file.getvalue()
    damaged = raw[:cut] + junk + raw[cut + len(junk) :]
    try:
        assert load(io.BytesIO(damaged), name="x").dtype == np.int16
    except (AudioUnreadable, AudioEmpty) as error:
        assert error.name == "x"


def test_saved_audio_is_read_back_unchanged_and_written_the_same_each_time(tmp_path: Path) -> None:
    pcm = np.arange(-2000, 2000, dtype=np.int16)
    save(tmp_path / "a.wav", pcm)
    save(tmp_path / "b.wav", pcm)
    assert np.array_equal(load(tmp_path / "a.wav"), pcm)
    assert (tmp_path / "a.wav").read_bytes() == (tmp_path / "b.wav").read_bytes()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a disk that is always full")
def test_a_full_disk_is_reported_as_such() -> None:
    with pytest.raises(OSError) as full:
        save(Path("/dev/full"), np.zeros(16000, np.int16))
    assert full.value.errno == errno.ENOSPC
