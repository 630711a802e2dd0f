"""Free text: how sure its words are, and other texts that fit."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from speechmodel_runtime import Pcm, load, save
from support.places import FIXTURES
from support.servers import HANGS, OK_ESPEJO, Server, VersionFolder

VALE = FIXTURES / "clips" / "shapes_6364d3f0_2_3_000000_3_002.wav"


@pytest.fixture(scope="module", params=["DeepSpeech", "Native"])
def sure(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A server of free text that keeps what it is not sure of."""
    base = tmp_path_factory.mktemp("sure")
    folder = VersionFolder(base / "models", mapped)
    if request.param == "Native":
        folder.decode_natively()
    folder.be_confident()
    settings = {"takes": str(base), "misheard_days": "3", "misheard_below": "0.6"}
    with Server(folder.path, base / "server.log", settings) as server:
        yield server.until_ready()


@pytest.fixture
def backwards(tmp_path: Path) -> Path:
    """Speech that the model takes for words."""
    save(tmp_path / "backwards.wav", load(OK_ESPEJO)[::-1].copy())
    return tmp_path / "backwards.wav"


def verbose(server: Server, recording: Path, **fields: str) -> Any:
    return server.transcribe(recording, response_format="verbose_json", **fields).raise_for_status().json()


def by_vosk(server: Server, pcm: Pcm, **config: object) -> Any:
    """Return the last answer to a stream."""
    with server.websocket("/vosk") as socket:
        socket.send(json.dumps({"config": config}))
        socket.send(pcm.astype("<i2").tobytes())
        socket.recv(timeout=HANGS)
        socket.send('{"eof" : 1}')
        return json.loads(socket.recv(timeout=HANGS))


def test_verbose_json_says_how_sure_the_text_its_segments_and_its_words_are(sure: Server, backwards: Path) -> None:
    said, unlike = verbose(sure, OK_ESPEJO), verbose(sure, backwards)
    assert said["text"] == "ok espejo"
    assert 0.9 < said["confidence"] <= 1
    assert [segment["confidence"] for segment in said["segments"]] == [said["confidence"]]
    assert all(0.9 < word["confidence"] <= 1 for word in said["words"])
    assert unlike["text"]
    assert unlike["confidence"] < 0.6
    assert min(word["confidence"] for word in unlike["words"]) < 0.6


def test_a_text_of_several_segments_is_as_sure_as_the_least_of_them(sure: Server, tmp_path: Path) -> None:
    pcm, pause = load(OK_ESPEJO), np.zeros(24_000, np.int16)
    save(tmp_path / "two.wav", np.concatenate([pcm, pause, pcm[::-1]]))
    answer = verbose(sure, tmp_path / "two.wav")
    assert len(answer["segments"]) == 2
    assert answer["confidence"] == min(segment["confidence"] for segment in answer["segments"]) < 0.6
    assert answer["candidates"] == []


def test_other_texts_follow_the_answer_in_the_order_of_their_confidences(sure: Server, backwards: Path) -> None:
    answer = verbose(sure, backwards, alternatives="3")
    assert answer["candidates"][0] == {
        "text": answer["text"],
        "confidence": answer["confidence"],
        "intent": None,
        "slots": {},
    }
    assert len({each["text"] for each in answer["candidates"]}) == 3
    others = [each["confidence"] for each in answer["candidates"][1:]]
    assert others == sorted(others, reverse=True)
    assert len(verbose(sure, backwards, alternatives="1")["candidates"]) == 1
    several = by_vosk(sure, load(backwards), max_alternatives=3)["alternatives"]
    assert len({each["text"] for each in several}) == 3
    assert all(0 < each["confidence"] < 1 for each in several)


def test_vosk_says_how_sure_each_word_is(sure: Server, backwards: Path) -> None:
    said, unlike = by_vosk(sure, load(OK_ESPEJO)), by_vosk(sure, load(backwards))
    assert [word["word"] for word in said["result"]] == ["ok", "espejo"]
    assert all(0.9 < word["conf"] < 1 for word in said["result"])
    assert min(word["conf"] for word in unlike["result"]) < 0.6


def test_the_inbox_keeps_a_text_that_is_not_sure(sure: Server, backwards: Path) -> None:
    assert sure.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
    text = sure.transcribe(backwards).json()["text"]  # clips are kept in order

    def kept(text: str) -> Any:
        return [each for each in sure.get("/v1/misheard").json()["clips"] if each["heard"] == text]

    sure.until(lambda: bool(kept(text)), "a clip is kept")
    assert all(each["confidence"] < 0.6 and each["candidates"][0] == text for each in kept(text))
    assert kept("ok espejo") == []


@pytest.fixture(scope="module")
def with_scorer(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    base = tmp_path_factory.mktemp("scorer")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_with_scorer()
    folder.be_confident()
    with Server(folder.path, base / "server.log", {}) as server:
        yield server.until_ready()


def test_a_prompt_makes_its_words_likelier_in_free_text_with_a_scorer(with_scorer: Server, backwards: Path) -> None:
    without, prompted = verbose(with_scorer, backwards), verbose(with_scorer, backwards, prompt="OK")
    assert without["text"] == "hola espejo"
    assert prompted["text"].startswith("ok ")
    assert prompted["warnings"] == without["warnings"] == []
    streamed = load(VALE)[::-1]
    assert by_vosk(with_scorer, streamed)["text"].split() == ["vale"]
    assert by_vosk(with_scorer, streamed, phrase_list=["hola"])["text"].split()[0] == "hola"


def test_free_text_with_a_scorer_has_confidences_and_other_texts(with_scorer: Server, backwards: Path) -> None:
    said, unlike = verbose(with_scorer, OK_ESPEJO), verbose(with_scorer, backwards)
    assert said["text"] == "ok espejo"
    assert said["confidence"] > 0.9 > 0.6 > unlike["confidence"]
    assert len({each["text"] for each in unlike["candidates"]}) == 3


def test_a_prompt_without_effect_is_among_the_warnings(sure: Server, grammar_server: Server) -> None:
    (without_scorer,) = verbose(sure, OK_ESPEJO, prompt="espejo")["warnings"]
    assert without_scorer["kind"] == "PromptUnused"
    assert without_scorer["message"].endswith("because it has no scorer (decoding.scorer).")
    (with_grammar,) = verbose(grammar_server, OK_ESPEJO, prompt="espejo")["warnings"]
    assert with_grammar["message"] == "The prompt has no effect on version 0123abcd, because its grammar decides."
    assert verbose(sure, OK_ESPEJO)["warnings"] == verbose(sure, OK_ESPEJO, prompt=" ")["warnings"] == []
