"""The protocol of the Vosk server, as its clients speak it."""

import json
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
import soxr
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES
from support.servers import BOTH_ENGINES, HANGS, OK_ESPEJO, Server, Start

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"


def converse(
    server: Server, pcm: Pcm, *, piece: float = 0.1, rate: int = 16_000, **config: object
) -> list[dict[str, Any]]:
    """Send samples in pieces, wait for the answer to each, and return the answers."""
    raw, size = pcm.astype("<i2").tobytes(), 2 * round(piece * rate)
    answers = []
    with server.websocket("/vosk") as socket:
        socket.send(json.dumps({"config": {"sample_rate": rate, **config}}))
        for start in range(0, len(raw), size):
            socket.send(raw[start : start + size])
            answers.append(json.loads(socket.recv(timeout=HANGS)))
        socket.send('{"eof" : 1}')
        answers.append(json.loads(socket.recv(timeout=HANGS)))
    return answers


@BOTH_ENGINES
def test_words_come_while_somebody_speaks_and_are_final_after_a_pause(server: Server) -> None:
    silence, counted = np.zeros(16_000, np.int16), server.metric("speechmodel_audio_seconds_total")
    spoken = np.concatenate([load(OK_ESPEJO), silence, load(HIJO)])
    answers = converse(server, spoken)
    assert 1 < server.metric("speechmodel_audio_seconds_total") - counted < len(spoken) / 16_000
    finals = [answer for answer in answers if "text" in answer]
    assert len(finals) == 2
    assert finals[0]["text"] == "ok espejo"
    assert finals[1]["text"].endswith("llama a mi hijo")
    assert [word["word"] for word in finals[0]["result"]] == ["ok", "espejo"]
    assert all(set(word) == {"word", "start", "end", "conf"} for word in finals[0]["result"])
    assert finals[1]["result"][0]["start"] > 1.5
    partials = [answer["partial"] for answer in answers if answer.get("partial")]
    assert partials, "the words so far come before the end"


@pytest.mark.parametrize("shape", [{}, {"max_alternatives": 2}])
def test_a_phrase_list_without_effect_is_among_the_warnings_beside_the_result(
    shape: dict[str, int], server: Server
) -> None:
    (warning,) = converse(server, load(OK_ESPEJO), phrase_list=["espejo"], **shape)[-1]["warnings"]
    assert warning["kind"] == "PromptUnused"
    assert warning["message"].startswith("The phrase_list has no effect on version 0123abcd")
    assert "warnings" not in converse(server, load(OK_ESPEJO), **shape)[-1]


@pytest.mark.parametrize("rate", [24_000, 48_000])
def test_other_rates_are_resampled(rate: int, server: Server) -> None:
    pcm = soxr.resample(load(OK_ESPEJO), 16_000, rate)
    assert "espejo" in converse(server, pcm, rate=rate)[-1]["text"]


def test_odd_pieces_and_no_audio_at_all(server: Server) -> None:
    pcm = load(OK_ESPEJO)
    raw = pcm.astype("<i2").tobytes()
    with server.websocket("/vosk") as socket:
        for start in range(0, len(raw), 3333):
            socket.send(raw[start : start + 3333])
            socket.recv(timeout=HANGS)
        socket.send('{"eof" : 1}')
        assert json.loads(socket.recv(timeout=HANGS))["text"] == "ok espejo"
    assert converse(server, np.zeros(0, np.int16)) == [{"text": ""}]


def test_reset_ends_a_sentence_and_the_stream_goes_on(server: Server) -> None:
    with server.websocket("/vosk/") as socket:

        def answer(sent: bytes | str) -> dict[str, Any]:
            socket.send(sent)
            return dict(json.loads(socket.recv(timeout=HANGS)))

        speech, config = load(OK_ESPEJO).tobytes(), '{"config": {"sample_rate": 16000}}'
        assert answer('{"reset" : 1}') == {"text": ""}
        socket.send(config)
        assert "partial" in answer(speech)
        socket.send(config)  # the same again changes nothing
        assert answer('{"reset" : 1}')["text"] == "ok espejo"
        socket.send('{"config": {"sample_rate": 48000}}')
        assert "partial" in answer(soxr.resample(load(OK_ESPEJO), 16_000, 48_000).tobytes())
        assert "espejo" in answer('{"reset" : 1}')["text"]
        assert answer('{"eof" : 1}') == {"text": ""}


def test_other_settings_in_the_middle_of_a_sentence_are_refused(server: Server) -> None:
    with server.websocket("/vosk") as socket:
        socket.send(load(OK_ESPEJO).tobytes())
        socket.recv(timeout=HANGS)
        socket.send('{"config": {"sample_rate": 8000}}')
        assert json.loads(socket.recv(timeout=HANGS)) == {
            "error": "config: its settings cannot change within a sentence; send them before the first samples, or after reset."
        }


@BOTH_ENGINES
def test_a_grammar_gives_a_phrase_with_alternatives_or_nothing(grammar_server: Server) -> None:
    best = converse(grammar_server, load(HIJO), max_alternatives=3)[-1]["alternatives"]
    assert best[0]["text"] == "espejo llama a mi hijo"
    assert best[0]["confidence"] > 0.9
    assert "espejo llama a mi hija" in [other["text"] for other in best[1:]]
    assert converse(grammar_server, np.zeros(32_000, np.int16))[-1] == {"text": ""}


@pytest.mark.parametrize("sent", ["no json", '{"config": {"sample_rate": 1}}', "[]"])
def test_a_message_that_cannot_be_used_is_named_and_the_place_is_free_again(sent: str, server: Server) -> None:
    with server.websocket("/vosk") as socket:
        socket.send(sent)
        assert json.loads(socket.recv(timeout=HANGS))["error"]
    server.until_metric("speechmodel_requests_in_flight", 0)


def test_a_client_that_leaves_gives_its_place_back(server: Server) -> None:
    with server.websocket("/vosk") as socket:
        socket.send(load(OK_ESPEJO).tobytes()[:3200])
        socket.recv(timeout=HANGS)
        assert server.metric("speechmodel_requests_in_flight") == 1
    server.until_metric("speechmodel_requests_in_flight", 0)


def test_somebody_who_speaks_does_not_wait_for_recordings(start: Start, long_recording: bytes) -> None:
    server = start(decoders=1, waiting=3).until_ready()
    with ThreadPoolExecutor(1) as pool:
        long = pool.submit(server.transcribe, long_recording)
        server.until_metric("speechmodel_requests_decoding", 1)
        try:
            assert converse(server, load(OK_ESPEJO))[-1]["text"] == "ok espejo"
            assert not long.done(), "25 minutes took as long as two seconds"
        finally:
            server.stop()


def test_streams_are_counted_by_their_close_code(start: Start) -> None:
    server = start().until_ready()  # the streams of other tests may be counted late
    converse(server, load(OK_ESPEJO))
    server.until_metric("speechmodel_streams_total", 1, code="1000", path="/vosk")
