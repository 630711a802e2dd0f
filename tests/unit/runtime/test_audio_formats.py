"""Recordings of phones, browsers and telephone systems, which libsndfile does not read."""

import io
import os
import threading
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_runtime import WarningKind, decode, load, read_pcm
from speechmodel_runtime.errors import AudioEmpty, AudioTooLong, AudioUnreadable

FORMATS = [
    ("mp4", "aac", 44_100, "mov aac"),
    ("ipod", "alac", 44_100, "mov alac"),
    ("webm", "libopus", 48_000, "matroska opus"),
    ("adts", "aac", 22_050, "aac aac"),
    ("amr", "libopencore_amrnb", 8_000, "amr amrnb"),
    ("3gp", "aac", 16_000, "mov aac"),
    ("asf", "wmav2", 44_100, "asf wmav2"),
    ("wv", "wavpack", 44_100, "wv wavpack"),
]


def encoded(container: str, codec: str, rate: int, seconds: float = 1.0, channels: int = 1) -> bytes:
    """A tone of 440 Hz as FFmpeg writes it, on a pipe as a browser does if the format allows it."""
    file = io.BytesIO()
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(rate * seconds)) / rate)
    with av.open(file, "w", format=container) as out:
        stream = out.add_stream(codec, rate=rate, layout="mono" if channels == 1 else "stereo")
        assert isinstance(stream, av.AudioStream)
        stream.bit_rate = 12_200 if codec == "libopencore_amrnb" else 64_000
        frame = av.AudioFrame.from_ndarray(
            np.repeat(samples[None].astype(np.float32), channels, axis=0), "fltp", stream.layout.name
        )
        frame.sample_rate = rate
        sizes = av.AudioResampler(stream.format, stream.layout, rate, frame_size=stream.codec_context.frame_size)
        for part in (*sizes.resample(frame), *sizes.resample(None)):
            out.mux(stream.encode(part))
        out.mux(stream.encode(None))
    return file.getvalue()


def filmed(seconds: float, filmed_seconds: float) -> bytes:
    """A tone with a picture that lasts longer or shorter, as of a camera."""
    file = io.BytesIO()
    with av.open(file, "w", format="matroska") as out:
        tone = out.add_stream("pcm_s16le", rate=16_000, layout="mono")
        picture = out.add_stream("mjpeg", rate=10)
        assert isinstance(tone, av.AudioStream) and isinstance(picture, av.VideoStream)
        picture.width, picture.height, picture.pix_fmt = 32, 32, "yuvj420p"
        for _ in range(int(10 * filmed_seconds)):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8))))
        out.mux(picture.encode(None))
        samples = (8_000 * np.sin(2 * np.pi * 440 * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(samples[None], "s16", "mono")
        frame.sample_rate = 16_000
        out.mux(tone.encode(frame))
        out.mux(tone.encode(None))
    return file.getvalue()


def loudest_frequency(pcm: np.ndarray) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(pcm * np.hanning(len(pcm)))))) * 16_000 / len(pcm)


@pytest.mark.parametrize(("container", "codec", "rate", "called"), FORMATS)
def test_recordings_of_phones_and_browsers_are_read_whatever_their_name(
    container: str, codec: str, rate: int, called: str, tmp_path: Path
) -> None:
    path = tmp_path / "recording.wav"
    path.write_bytes(encoded(container, codec, rate))
    audio = decode(path)
    assert loudest_frequency(audio.pcm) == pytest.approx(440, abs=2)
    assert len(audio.pcm) == pytest.approx(16_000, abs=2_000)
    assert np.abs(audio.pcm[4_000:12_000].astype(int)).max() == pytest.approx(16_384, rel=0.2)
    assert (audio.info.format, audio.info.sample_rate, audio.warnings) == (called, rate, ())


def raw(subtype: str, rate: int) -> bytes:
    """A second of the tone of `encoded` without a header, as libsndfile writes it."""
    file = io.BytesIO()
    samples = 0.5 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)
    endian = "LITTLE" if subtype == "PCM_16" else None
    soundfile.write(file, samples, rate, format="RAW", subtype=subtype, endian=endian)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content", "called", "rate"),
    [
        ("prompt.gsm", raw("GSM610", 8_000), "gsm gsm", 8_000),
        ("prompt.GSM", raw("GSM610", 8_000), "gsm gsm", 8_000),
        ("prompt.ulaw", raw("ULAW", 8_000), "mulaw pcm_mulaw", 8_000),
        ("prompt.ul", raw("ULAW", 8_000), "mulaw pcm_mulaw", 8_000),
        ("prompt.alaw", raw("ALAW", 8_000), "alaw pcm_alaw", 8_000),
        ("prompt.al", raw("ALAW", 8_000), "alaw pcm_alaw", 8_000),
        ("prompt.sln", raw("PCM_16", 8_000), "s16le pcm_s16le", 8_000),
        ("prompt.sln16", raw("PCM_16", 16_000), "s16le pcm_s16le", 16_000),
        ("prompt.sln44", raw("PCM_16", 44_100), "s16le pcm_s16le", 44_100),
        ("prompt.g722", encoded("g722", "g722", 16_000), "g722 g722", 16_000),
    ],
)
def test_telephone_files_without_a_header_are_read_by_their_ending(
    name: str, content: bytes, called: str, rate: int
) -> None:
    audio = decode(io.BytesIO(content), name=name)
    assert loudest_frequency(audio.pcm) == pytest.approx(440, abs=2)
    assert len(audio.pcm) == pytest.approx(16_000, abs=400)
    assert np.abs(audio.pcm[4_000:12_000].astype(int)).max() == pytest.approx(16_384, rel=0.2)
    assert (audio.info.format, audio.info.sample_rate, audio.warnings) == (called, rate, ())


def test_silence_of_a_telephone_is_not_taken_for_an_mp3() -> None:
    audio = decode(io.BytesIO(b"\xff" * 8_000), name="silence.ulaw")
    assert (audio.info.format, audio.info.frames) == ("mulaw pcm_mulaw", 8_000)


@pytest.mark.parametrize(
    ("kind", "subtype"),
    [("WAV", "GSM610"), ("AU", "ULAW"), ("AIFF", "PCM_16"), ("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("CAF", "PCM_16")],
)
def test_a_file_with_a_header_and_the_ending_of_a_telephone_file_is_read_by_its_header(kind: str, subtype: str) -> None:
    file = io.BytesIO()
    soundfile.write(file, np.zeros(2_000), 16_000, format=kind, subtype=subtype)
    assert decode(file, name="prompt.ulaw").info.format == f"{kind} {subtype}"


@pytest.mark.parametrize("filmed_seconds", [1, 5])
def test_a_picture_that_lasts_longer_than_the_sound_raises_no_doubt(filmed_seconds: int) -> None:
    audio = decode(io.BytesIO(filmed(3, filmed_seconds)), name="x.mkv")
    assert len(audio.pcm) == 3 * 16_000
    assert audio.warnings == ()


def test_text_with_the_ending_of_a_telephone_file_is_refused() -> None:
    with pytest.raises(AudioUnreadable, match=r"x\.al: is text instead of a recording"):
        decode(io.BytesIO(b"import os\n" * 100), name="x.al")


def test_a_file_without_a_header_and_a_telling_ending_is_refused() -> None:
    with pytest.raises(AudioUnreadable, match=r"prompt\.raw: is not readable audio"):
        load(io.BytesIO(raw("PCM_16", 8_000)), name="prompt.raw")


def test_stereo_of_a_phone_is_averaged(tmp_path: Path) -> None:
    audio = decode(io.BytesIO(encoded("mp4", "aac", 44_100, channels=2)))
    assert audio.info.channels == 2
    assert loudest_frequency(audio.pcm) == pytest.approx(440, abs=2)


def test_a_long_recording_of_a_browser_stops_at_the_limit() -> None:
    content = encoded("webm", "libopus", 48_000, seconds=4)
    assert len(load(io.BytesIO(content), max_seconds=5)) == pytest.approx(64_000, abs=1_000)
    with pytest.raises(AudioTooLong, match="longer than 2 s"):
        load(io.BytesIO(content), max_seconds=2)


def of_libsndfile(kind: str, subtype: str, seconds: float = 4.0) -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, round(16_000 * seconds))
    soundfile.write(file, noise, 16_000, format=kind, subtype=subtype)
    return file.getvalue()


LONG = {
    "wav": of_libsndfile("WAV", "PCM_16"),
    "flac": of_libsndfile("FLAC", "PCM_16"),
    "ogg": of_libsndfile("OGG", "VORBIS"),
    "opus": of_libsndfile("OGG", "OPUS"),
    "mp3": of_libsndfile("MP3", "MPEG_LAYER_III"),
    "caf": of_libsndfile("CAF", "PCM_16"),
    "m4a": encoded("ipod", "alac", 44_100, seconds=4),
    "mp4": encoded("mp4", "aac", 44_100, seconds=4),
    "wma": encoded("asf", "wmav2", 44_100, seconds=4),
}
"""Four seconds in formats whose header has the length."""


@pytest.mark.parametrize("name", LONG)
def test_a_recording_that_announces_too_much_is_refused_before_it_is_decoded(name: str) -> None:
    with pytest.raises(AudioTooLong, match="longer than 2 s"), read_pcm(io.BytesIO(LONG[name]), max_seconds=2):
        pass
    for most in (4.2, None):
        with read_pcm(io.BytesIO(LONG[name]), max_seconds=most) as reader:
            assert sum(map(len, reader.blocks())) == pytest.approx(64_000, abs=3_000)


@pytest.mark.parametrize("name", ["wav", "flac", "caf"])
def test_a_recording_that_was_cut_below_the_limit_is_used_whatever_it_announces(name: str) -> None:
    cut = LONG[name][: len(LONG[name]) * 3 // 8]
    with read_pcm(io.BytesIO(cut), max_seconds=2, use_damaged=True) as reader:
        assert 8_000 < sum(map(len, reader.blocks())) < 32_000
        assert [each.kind for each in reader.warnings] == [WarningKind.CUT_SHORT]


def test_a_recording_of_a_phone_that_was_cut_below_the_limit_is_used_whatever_it_announces(tmp_path: Path) -> None:
    path = tmp_path / "take.mp4"
    with (
        av.open(io.BytesIO(LONG["mp4"]), "r") as given,
        av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as out,
    ):
        stream = out.add_stream_from_template(given.streams.audio[0])
        for packet in given.demux(given.streams.audio[0]):
            if packet.size:
                packet.stream = stream
                out.mux(packet)
    cut = path.read_bytes()[: path.stat().st_size // 2]
    with read_pcm(io.BytesIO(cut), max_seconds=3, use_damaged=True) as reader:
        assert 8_000 < sum(map(len, reader.blocks())) < 48_000
        assert reader.warnings[0].kind is WarningKind.CUT_SHORT


def test_a_recording_of_a_phone_that_was_cut_is_refused_with_the_place() -> None:
    content = encoded("adts", "aac", 44_100, seconds=4)
    with pytest.raises(AudioUnreadable, match=r"cut\.aac: is damaged after 2\.\d\d s"):
        load(io.BytesIO(content[: len(content) // 2]), name="cut.aac")
    with pytest.raises(AudioUnreadable, match=r"cut\.mp4: is not readable audio"):
        load(io.BytesIO(encoded("mp4", "aac", 44_100)[:200]), name="cut.mp4")


def test_an_ogg_file_without_its_last_page_is_used_with_a_warning() -> None:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, 64_000)
    soundfile.write(file, noise, 16_000, format="OGG", subtype="VORBIS")
    whole = file.getvalue()
    assert [each.kind for each in decode(io.BytesIO(whole)).warnings] == []
    audio = decode(io.BytesIO(whole[: whole.rindex(b"OggS")]))
    assert [each.kind for each in audio.warnings] == ["CutShort"]


def test_a_playlist_opens_no_other_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("secret.ts").write_bytes(encoded("mpegts", "aac", 44_100))
    assert len(load("secret.ts"))
    with pytest.raises(AudioUnreadable, match="is not readable audio"):
        load(io.BytesIO(b"ffconcat version 1.0\nfile secret.ts\n"))


def test_a_recording_comes_through_a_pipe(tmp_path: Path) -> None:
    pipe, content = tmp_path / "pipe", encoded("mp4", "aac", 44_100)
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(content,))
    writer.start()
    pcm = load(pipe)
    writer.join()
    assert np.array_equal(pcm, load(io.BytesIO(content)))


@given(cut=st.integers(0, 6000), junk=st.binary(max_size=64))
@settings(max_examples=60, deadline=None)
def test_no_bytes_make_it_fail_otherwise_than_by_an_audio_error(cut: int, junk: bytes) -> None:
    raw = encoded("webm", "libopus", 48_000, 0.2)
    try:
        assert load(io.BytesIO(raw[:cut] + junk + raw[cut + len(junk) :]), name="x").dtype == np.int16
    except (AudioUnreadable, AudioEmpty) as error:
        assert error.name == "x"
