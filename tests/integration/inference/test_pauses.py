"""Recordings with pauses: each phrase is a segment, and long recordings need little memory."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES
from support.servers import INTENTS, OK_ESPEJO, WITHOUT_INTENT, Server, Start, VersionFolder

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"
"""espejo llama a mi hijo"""


def quiet(seconds: float) -> Pcm:
    return np.random.default_rng(0).normal(0, 15, round(seconds * 16_000)).astype(np.int16)


def flac(*parts: Pcm) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, np.concatenate(parts), 16_000, format="FLAC")
    return file.getvalue()


@pytest.fixture(scope="module")
def lenient_server(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server with a grammar. The model of the fixture has never heard silence before speech, so that it is
    unsure of phrases behind a pause.
    """
    base = tmp_path_factory.mktemp("lenient")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(*WITHOUT_INTENT, intents=INTENTS, threshold=-10.0, quien=("hija", "hijo", "nuera"))
    with Server(folder.path, base / "server.log", {}) as server:
        yield server.until_ready()


@pytest.mark.parametrize("pause", [2.0, 12.0], ids=["in a short recording", "in a long one"])
@pytest.mark.parametrize("kind", ["server", "lenient_server"])
def test_two_phrases_are_two_segments(kind: str, pause: float, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    first, second = load(OK_ESPEJO), load(HIJO)
    silence = np.zeros(round(pause * 16_000), np.int16)
    answer = server.transcribe(flac(first, silence, second), response_format="verbose_json").json()
    before, behind = answer["segments"]
    assert answer["text"] == f"{before['text']} {behind['text']}"
    assert before["text"] == "ok espejo"
    assert behind["text"].endswith("spejo llama a mi hijo")
    begins = len(first) / 16_000 + pause
    assert before["end"] <= len(first) / 16_000
    assert begins - 0.3 <= behind["start"] < behind["end"] <= answer["duration"]
    assert [word["word"] for word in answer["words"]] == answer["text"].split()
    starts = [word["start"] for word in answer["words"]]
    assert starts == sorted(starts)
    if kind == "lenient_server":
        assert behind["text"] == "espejo llama a mi hijo"
        assert (behind["slots"], answer["slots"]) == ({"quien": "hijo"}, {"quien": "hijo"})
        assert (before["intent"], behind["intent"], answer["intent"]) == (None, "CallPerson", "CallPerson")
        assert answer["confidence"] == min(before["confidence"], behind["confidence"])


@pytest.mark.parametrize("kind", ["server", "grammar_server"])
def test_nobody_speaks_in_silence_and_noise(kind: str, request: pytest.FixtureRequest) -> None:
    server: Server = request.getfixturevalue(kind)
    for seconds in (3, 15):
        for nothing in (np.zeros(seconds * 16_000, np.int16), quiet(seconds), quiet(seconds) * np.int16(60)):
            assert server.transcribe(flac(nothing)).json() == {"text": ""}


@pytest.mark.slow
def test_a_long_recording_needs_no_more_memory_than_a_minute(start: Start) -> None:
    server = start().until_ready()
    server.transcribe(b"no sound", language="es")  # needs the libraries that are otherwise loaded meanwhile
    minute = flac(*[load(OK_ESPEJO), quiet(9)] * 6)
    server.transcribe(minute)
    before = server.metric("process_resident_memory_bytes")
    answer = server.transcribe(flac(load(OK_ESPEJO), *[quiet(60)] * 20, load(HIJO)))
    assert answer.json()["text"].startswith("ok espejo ")
    assert answer.json()["text"].endswith("llama a mi hijo")
    assert server.metric("process_resident_memory_bytes") - before < 30 * 2**20, "twenty minutes are 38 MB of samples"
