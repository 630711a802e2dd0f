"""A version with a grammar: its phrases with confidences, words and slots, and nothing for anything else."""

from pathlib import Path

import numpy as np
import pytest
from speechmodel_runtime import save
from support.places import FIXTURES
from support.servers import BOTH_ENGINES, OK_ESPEJO, PHRASES, Server, Start, VersionFolder

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"
"""espejo llama a mi hijo"""
HOLA = FIXTURES / "clips" / "shapes_3c59dc04_2_3_000000_2_001.wav"
"""hola espejo, which is not in the grammar"""


def test_the_text_is_a_phrase_of_the_grammar(grammar_server: Server) -> None:
    assert grammar_server.transcribe(OK_ESPEJO).json() == {"text": "ok espejo"}
    assert grammar_server.transcribe(HIJO, response_format="text").text == "espejo llama a mi hijo\n"


def test_anything_else_gives_an_empty_text(grammar_server: Server, tmp_path: Path) -> None:
    save(tmp_path / "noise.wav", np.random.default_rng(0).integers(-3000, 3000, 16_000).astype(np.int16))
    for recording in (HOLA, tmp_path / "noise.wav"):
        assert grammar_server.transcribe(recording).json() == {"text": ""}
        assert grammar_server.transcribe(recording, response_format="text").text == "\n"


@BOTH_ENGINES
def test_verbose_json_has_the_confidence_the_words_the_intent_the_slots_and_the_candidates(
    grammar_server: Server,
) -> None:
    answer = grammar_server.transcribe(HIJO, response_format="verbose_json").json()
    assert answer["text"] == "espejo llama a mi hijo"
    assert (answer["task"], answer["language"], answer["slots"]) == ("transcribe", "es-CL", {"quien": "hijo"})
    assert (answer["intent"], answer["segments"][0]["intent"]) == ("CallPerson", "CallPerson")
    assert answer["duration"] == pytest.approx(1.94, abs=0.1)
    assert 0.9 < answer["confidence"] <= 1
    assert [word["word"] for word in answer["words"]] == answer["text"].split()
    assert all(0 <= word["start"] < word["end"] <= answer["duration"] + 0.04 for word in answer["words"])
    first, *others = answer["candidates"]
    assert (first["text"], first["intent"], first["slots"]) == (answer["text"], "CallPerson", {"quien": "hijo"})
    assert ("espejo llama a mi hija", "CallPerson") in [(other["text"], other["intent"]) for other in others]
    one = grammar_server.transcribe(HIJO, response_format="verbose_json", alternatives="1").json()
    assert one["candidates"] == answer["candidates"][:1]
    without = grammar_server.transcribe(OK_ESPEJO, response_format="verbose_json").json()
    assert (without["text"], without["intent"]) == ("ok espejo", None)


def test_the_openai_client_reads_verbose_json(grammar_server: Server) -> None:
    with HIJO.open("rb") as file:
        answer = grammar_server.openai().audio.transcriptions.create(
            file=file, model="espejo", response_format="verbose_json"
        )
    assert answer.text == "espejo llama a mi hijo"
    assert answer.words is not None
    assert [word.word for word in answer.words] == answer.text.split()


def test_verbose_json_of_something_else_has_no_confidence(grammar_server: Server) -> None:
    answer = grammar_server.transcribe(HOLA, response_format="verbose_json").json()
    assert (answer["text"], answer["confidence"], answer["words"], answer["slots"]) == ("", None, [], {})
    assert answer["intent"] is None


def test_a_version_from_before_there_were_grammars_is_free_text(server: Server) -> None:
    answer = server.transcribe(HOLA, response_format="verbose_json").json()
    assert (answer["text"], answer["confidence"], answer["candidates"]) == ("hola espejo", None, [])
    assert [word["word"] for word in answer["words"]] == ["hola", "espejo"]
    assert all(0 <= word["start"] < word["end"] <= answer["duration"] for word in answer["words"])


def test_audio_shorter_than_a_window_and_a_wrong_number_of_candidates_are_refused(
    grammar_server: Server, tmp_path: Path
) -> None:
    save(tmp_path / "short.wav", np.ones(100, np.int16))
    answer = grammar_server.transcribe(tmp_path / "short.wav")
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "audio_too_short")
    answer = grammar_server.transcribe(HIJO, response_format="verbose_json", alternatives="0")
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "alternatives")


@pytest.mark.parametrize("name", ["acoustic.onnx", "grammar.zip"])
def test_a_damaged_file_of_the_grammar_is_not_served(name: str, folder: VersionFolder, start: Start) -> None:
    folder.decode_by_grammar(*PHRASES, quien=("hija",))
    path = folder.path / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    server = start()
    server.until_answering()
    server.until(lambda: "sha256" in server.get("/readyz").text, "the damage is named")
    assert name in server.get("/readyz").json()["reason"]
