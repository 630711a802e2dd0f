"""Files that libsndfile reads in part or not at all, and that are read whole."""

import io

import av
import numpy as np
import pytest
import soundfile
from speechmodel_runtime import decode
from speechmodel_runtime.errors import AudioUnreadable
from speechmodel_runtime.partly_read import MOST_PAGES, ffmpeg_format

RATE = 16_000


class Pipe:
    """A file that is written from its beginning to its end only."""

    def __init__(self) -> None:
        self.content = b""

    def write(self, more: bytes) -> int:
        self.content += more
        return len(more)


class Counted(io.BytesIO):
    """A file that counts how often it is read."""

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        return super().read(size)


def tone(frequency: int) -> np.ndarray:
    return 0.4 * np.sin(2 * np.pi * frequency * np.arange(RATE) / RATE)


def stored(container: str, subtype: str, frequency: int = 440) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, tone(frequency), RATE, format=container, subtype=subtype)
    return file.getvalue()


def flac_of_a_pipe() -> bytes:
    pipe = Pipe()
    with av.open(pipe, "w", format="flac") as out:
        stream = out.add_stream("flac", rate=RATE, layout="mono")
        frame = av.AudioFrame.from_ndarray((tone(440) * 32_768).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = RATE
        out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return pipe.content


def tag(length: int) -> bytes:
    """A tag ID3v2 that holds this many bytes."""
    return b"ID3\x03\x00\x00" + bytes(length >> shift & 0x7F for shift in (21, 14, 7, 0)) + bytes(length)


TAG_BEHIND = b"TAG" + bytes(125)
"""A tag ID3v1."""


def frequencies(pcm: np.ndarray) -> list[float]:
    """The loudest frequency in each half."""
    halves = np.array_split(pcm.astype(float), 2)
    return [float(np.argmax(np.abs(np.fft.rfft(half * np.hanning(len(half)))))) * RATE / len(half) for half in halves]


@pytest.mark.parametrize("before", [b"", tag(300_000)], ids=["alone", "behind a tag"])
def test_a_flac_file_that_does_not_say_its_length_is_read_to_its_end(before: bytes) -> None:
    audio = decode(io.BytesIO(before + flac_of_a_pipe()))
    assert np.array_equal(audio.pcm, (tone(440) * 32_768).astype(np.int16))
    assert (audio.info.format, audio.warnings) == ("flac flac", ())


@pytest.mark.parametrize(
    ("container", "subtype", "between"),
    [
        ("OGG", "OPUS", b""),
        ("OGG", "VORBIS", b""),
        ("MP3", "MPEG_LAYER_III", b""),
        ("MP3", "MPEG_LAYER_III", TAG_BEHIND),
        ("MP3", "MPEG_LAYER_III", TAG_BEHIND + tag(2_000)),
    ],
)
def test_files_that_were_joined_are_read_whole(container: str, subtype: str, between: bytes) -> None:
    audio = decode(io.BytesIO(stored(container, subtype, 440) + between + stored(container, subtype, 880)))
    assert len(audio.pcm) == pytest.approx(2 * RATE, abs=3_000)
    assert frequencies(audio.pcm) == pytest.approx([440, 880], abs=3)
    assert audio.warnings == ()


@pytest.mark.parametrize("subtype", ["OPUS", "VORBIS"])
def test_joined_ogg_files_behind_a_tag_are_told_from_one(subtype: str) -> None:
    one, two = stored("OGG", subtype), stored("OGG", subtype) + stored("OGG", subtype, 880)
    assert [ffmpeg_format(io.BytesIO(tag(2_000) + content)) for content in (one, two)] == [None, "ogg"]


def test_an_ogg_file_of_very_many_pages_is_left_to_ffmpeg() -> None:
    page = b"OggS" + bytes(23)
    file = Counted(page * (MOST_PAGES + 100_000))
    assert ffmpeg_format(file) == "ogg"
    assert file.reads < 2 * MOST_PAGES + 10
    assert ffmpeg_format(io.BytesIO(page * (MOST_PAGES - 1))) is None


def test_joined_files_of_several_kinds_are_refused_with_the_place() -> None:
    with pytest.raises(AudioUnreadable, match=r"x\.ogg: is damaged after 1\.\d\d s"):
        decode(io.BytesIO(stored("OGG", "OPUS") + stored("OGG", "VORBIS")), name="x.ogg")


@pytest.mark.parametrize(("container", "subtype"), [("FLAC", "PCM_16"), ("OGG", "VORBIS"), ("MP3", "MPEG_LAYER_III")])
def test_other_files_are_read_by_libsndfile(container: str, subtype: str) -> None:
    content = stored(container, subtype)
    behind = TAG_BEHIND if container == "MP3" else b""
    assert decode(io.BytesIO(content + behind)).info.format == f"{container} {subtype}"
    for cut in (5, 30, 60):
        with pytest.raises(AudioUnreadable):
            decode(io.BytesIO(content[:cut]))


@pytest.mark.parametrize("length", [10, 300_000])
def test_a_tag_before_a_wav_file_costs_no_samples(length: int) -> None:
    audio = decode(io.BytesIO(tag(length) + stored("WAV", "PCM_16")))
    assert np.array_equal(audio.pcm, decode(io.BytesIO(stored("WAV", "PCM_16"))).pcm)
    assert audio.warnings == ()
