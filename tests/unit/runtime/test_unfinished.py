"""Files whose end is missing, by the signs in their format."""

import io

import av
import numpy as np
import pytest
from speechmodel_runtime import read_pcm
from speechmodel_runtime.errors import AudioUnreadable
from support.places import ROOT

RECORDED = {path.name: path.read_bytes() for path in (ROOT / "tests/fixtures/media_recorder").glob("*.*[!d]")}
"""Recordings by Chromium."""
RATE = 48_000
SAMPLES = (8_000 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)).astype(np.int16)


def encoded(
    container: str, codec: str, samples: np.ndarray = SAMPLES, rate: int = RATE, *, pipe: bool = False, **options: str
) -> bytes:
    file = io.BytesIO()
    if pipe:
        file.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(file, "w", format=container, options=options) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return file.getvalue()


WHOLE = RECORDED | {
    "webm of FFmpeg, live": encoded("webm", "libopus", live="1"),
    "webm of FFmpeg, on a pipe": encoded("webm", "libopus", pipe=True),
    "matroska": encoded("matroska", "libopus"),
    "mp4 of Safari": encoded("mp4", "aac", movflags="frag_keyframe+empty_moov+default_base_moof"),
    "m4a": encoded("ipod", "aac"),
    "mpegts": encoded("mpegts", "mp2"),
    "mov": encoded("mov", "pcm_s16le"),
}


def kinds(content: bytes) -> list[str]:
    with read_pcm(io.BytesIO(content), name="x", use_damaged=True) as reader:
        assert sum(len(block) for block in reader.blocks())
        return [str(warning.kind) for warning in reader.warnings if warning.kind != "Clipped"]


@pytest.mark.parametrize("kind", WHOLE)
def test_a_whole_file_raises_no_doubt(kind: str) -> None:
    assert len(RECORDED) == 4
    assert kinds(WHOLE[kind]) == []


@pytest.mark.parametrize("behind", [bytes(5000), b"TAG" + b"title" * 25, b"\xff" * 40], ids=["zeros", "tag", "ones"])
@pytest.mark.parametrize("kind", ["pieces.webm", "whole.webm", "pieces.mp4", "whole.mp4"])
def test_what_a_program_has_appended_raises_no_doubt(kind: str, behind: bytes) -> None:
    assert kinds(RECORDED[kind] + behind) == []


@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_that_is_cut_within_a_part_is_reported(kind: str) -> None:
    whole, between, reported = WHOLE[kind], 0, 0
    for length in range(len(whole) // 3, len(whole), len(whole) // 23):
        try:
            between += kinds(whole[:length]) != ["CutShort"]
            reported += 1
        except AudioUnreadable:  # a file whose header is behind its samples has nothing that can be decoded
            assert kind in ("m4a", "mov", "whole.mp4", "pieces.mp4")
    assert between <= 1, "a cut between two parts leaves no sign"
    assert reported or kind in ("m4a", "mov")


def test_the_message_says_from_when_on_audio_may_be_missing() -> None:
    whole = RECORDED["pieces.webm"]
    with read_pcm(io.BytesIO(whole[: len(whole) // 2]), name="x", use_damaged=True) as reader:
        seconds = sum(len(block) for block in reader.blocks()) / 16_000
        (message,) = [warning.message for warning in reader.warnings if warning.kind == "CutShort"]
    place = f"{seconds:.2f} s"
    assert message == f"the file ends within one of its parts, so audio may be missing after {place}; copy it again"


def test_a_whole_aac_file_whose_bit_rate_changes_is_not_called_cut() -> None:
    noise = np.random.default_rng(0).normal(0, 1, (2, 8 * 16_000))
    quiet_then_loud = np.concatenate([2 * noise[0], 6_000 * noise[1]]).astype(np.int16)
    assert kinds(encoded("adts", "aac", quiet_then_loud, 16_000)) == []
