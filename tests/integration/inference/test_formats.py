"""Recordings as browsers and phones make them, through the server."""

import io

import av
import numpy as np
import pytest
import soundfile
from speechmodel_runtime import load
from support.servers import BOTH_ENGINES, OK_ESPEJO, Server

FRAGMENTS = {"movflags": "frag_keyframe+empty_moov+default_base_moof"}
"""A file that is written while it is recorded: its header has no length, as from MediaRecorder of Safari."""


def encoded(
    container: str, codec: str, rate: int, options: dict[str, str] | None = None, *, seekable: bool = True
) -> bytes:
    """Return the clip as FFmpeg writes it. A file that is not seekable keeps the header of its beginning."""
    file = io.BytesIO()
    if not seekable:
        file.seekable = lambda: False  # type: ignore[method-assign]
    with av.open(file, "w", format=container, options=options or {}) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        frame = av.AudioFrame.from_ndarray(load(OK_ESPEJO, sample_rate=rate)[None], format="s16", layout="mono")
        frame.sample_rate = rate
        for packet in (*stream.encode(frame), *stream.encode(None)):
            output.mux(packet)
    return file.getvalue()


@pytest.mark.parametrize(
    "audio",
    [
        encoded("mp4", "aac", 44_100, FRAGMENTS),
        encoded("ipod", "aac", 44_100),
        encoded("adts", "aac", 44_100),
        encoded("caf", "pcm_s16be", 44_100),
        encoded("webm", "libopus", 48_000, {"live": "1"}, seekable=False),
    ],
    ids=["Safari", "m4a", "aac", "caf", "webm"],
)
@BOTH_ENGINES
def test_what_browsers_and_phones_record_is_understood(audio: bytes, server: Server) -> None:
    answer = server.transcribe(audio, response_format="verbose_json").json()
    assert "espejo" in answer["text"]
    assert answer["warnings"] == []


def saved(container: str, subtype: str) -> bytes:
    """Return the clip, three times, as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, np.tile(load(OK_ESPEJO), 3), 16_000, format=container, subtype=subtype)
    return file.getvalue()


WHOLE = {
    "Safari": encoded("mp4", "aac", 44_100, FRAGMENTS),
    "aac": encoded("adts", "aac", 44_100),
    "flac": saved("FLAC", "PCM_16"),
    "ogg": saved("OGG", "VORBIS"),
    "opus": saved("OGG", "OPUS"),
    "webm": encoded("webm", "libopus", 48_000),
    "webm of a browser": encoded("webm", "libopus", 48_000, {"live": "1"}, seekable=False),
    "aiff": saved("AIFF", "PCM_16"),
    "au": saved("AU", "PCM_16"),
    "w64": saved("W64", "PCM_16"),
    "caf": saved("CAF", "PCM_16"),
    "caf of FFmpeg": encoded("caf", "pcm_s16be", 44_100),
}


@pytest.mark.parametrize("kind", WHOLE)
def test_what_is_left_of_a_cut_file_is_understood_with_a_warning(kind: str, server: Server) -> None:
    whole = WHOLE[kind]
    answer = server.transcribe(whole, response_format="verbose_json").json()
    assert (answer["warnings"], len(answer["text"]) > 0) == ([], True)
    cut = server.transcribe(whole[: round(0.77 * len(whole))], response_format="verbose_json").json()
    assert [each["kind"] for each in cut["warnings"]] == ["CutShort"]
    assert 0.3 * answer["duration"] < cut["duration"] < 0.9 * answer["duration"]


@pytest.mark.parametrize("kind", ["Safari", "aac", "flac"])
def test_one_damaged_byte_costs_a_part_of_the_audio_only(kind: str, server: Server) -> None:
    """Some bytes are in no packet, or change a packet into another one that can be decoded, so several are tried."""
    whole, kinds = WHOLE[kind], set()
    seconds = server.transcribe(whole, response_format="verbose_json").json()["duration"]
    for at in range(len(whole) // 2, len(whole) // 2 + 12):
        damaged = bytearray(whole)
        damaged[at] ^= 0x55
        answer = server.transcribe(bytes(damaged), response_format="verbose_json")
        assert answer.status_code == 200
        kinds |= {each["kind"] for each in answer.json()["warnings"]}
        assert answer.json()["duration"] > 0.8 * seconds
    assert "Damaged" in kinds


def test_a_cut_file_without_any_audio_is_refused(server: Server) -> None:
    answer = server.transcribe(WHOLE["aac"][:50])
    assert (answer.status_code, "is not readable audio" in answer.json()["error"]["message"]) == (400, True)


def test_a_recording_of_a_telephone_is_heard_as_its_samples_are(server: Server) -> None:
    """The small network of the tests does not understand the words at 8 kHz, so only their equality is asserted."""
    amr, wav = encoded("amr", "libopencore_amrnb", 8_000), io.BytesIO()
    with av.open(io.BytesIO(amr), "r") as file:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in file.decode(audio=0)])
    soundfile.write(wav, samples, 8_000, format="WAV", subtype="FLOAT")
    heard, expected = (server.transcribe(each, response_format="verbose_json").json() for each in (amr, wav.getvalue()))
    assert heard["text"] == expected["text"] != ""
    assert heard["warnings"] == []
    assert heard["duration"] == pytest.approx(expected["duration"])


@BOTH_ENGINES
def test_channels_that_cancel_each_other_are_understood_with_a_warning(server: Server) -> None:
    clip, file = load(OK_ESPEJO), io.BytesIO()
    soundfile.write(file, np.stack([clip, -clip], axis=1), 16_000, format="WAV")
    answer = server.transcribe(file.getvalue(), response_format="verbose_json").json()
    assert (answer["text"], [each["kind"] for each in answer["warnings"]]) == ("ok espejo", ["OppositePhase"])


def test_a_header_without_a_length_is_understood_with_a_warning(server: Server) -> None:
    wav = bytearray(OK_ESPEJO.read_bytes())
    at = wav.index(b"data") + 4
    wav[4:8] = wav[at : at + 4] = bytes(4)
    answer = server.transcribe(bytes(wav), response_format="verbose_json").json()
    assert (answer["text"], [each["kind"] for each in answer["warnings"]]) == ("ok espejo", ["LengthUnknown"])
