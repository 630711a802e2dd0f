"""GET /v1/speechmodel: the served version for people."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from speechmodel_inference.card import MOST_FOUND, MOST_PHRASES
from support.cards import DIGEST, card
from support.servers import Server, Start, VersionFolder


@pytest.fixture(scope="module")
def grammar_server(tmp_path_factory: pytest.TempPathFactory, mapped: Path) -> Iterator[Server]:
    """A version with a grammar and a card."""
    base = tmp_path_factory.mktemp("card")
    folder = VersionFolder(base / "models", mapped)
    folder.decode_by_grammar(
        "(ok|vale) [espejo]", intents={"CallPerson": ("llama a mi {quien}",)}, quien=("hija", "hijo")
    )
    folder.describe(card())
    with Server(folder.path, base / "server.log", {}) as server:
        yield server.until_ready()


def test_the_card_has_the_figures_of_the_version_and_names_no_recording(grammar_server: Server) -> None:
    answer = grammar_server.get("/v1/speechmodel")
    found = answer.json()
    assert (found["name"], found["version"], found["language"]) == ("espejo", "0123abcd", "es-CL")
    assert (found["grammar"], found["rejects"], found["engine"]) == ("Phrases", True, "DeepSpeech")
    unseen = {"rate": 0.0694, "low": 0.014, "high": 0.148, "clips": 26, "speakers_guessed": True}
    assert found["measured"]["unseen_speakers"] == unseen
    assert found["measured"]["answers"] == {"right": 24, "wrong": 0, "rejected": 2, "foreign": 40, "accepted": 1}
    assert (found["dataset"]["digest"], found["dataset"]["speakers"]) == (DIGEST, 25)
    assert (found["training"]["exported_epoch"], found["training"]["settings"]["hidden_units"]) == (33, 128)
    assert [each["epoch"] for each in found["training"]["losses"]] == list(range(1, 37))
    assert "private.wav" not in answer.text


def test_phrases_are_listed_as_written_and_as_they_are_said(grammar_server: Server) -> None:
    assert grammar_server.get("/v1/speechmodel/phrases").json() == {
        "written": ["(ok|vale) [espejo]"],
        "intents": {"CallPerson": ["llama a mi {quien}"]},
        "lists": {"quien": ["hija", "hijo"]},
        "phrases": ["llama a mi hija", "llama a mi hijo", "ok", "ok espejo", "vale", "vale espejo"],
        "intent_of": {"llama a mi hija": "CallPerson", "llama a mi hijo": "CallPerson"},
        "complete": True,
    }


def test_a_grammar_with_too_many_phrases_is_listed_in_part(folder: VersionFolder, start: Start) -> None:
    words = "(ok|vale|hola|espejo|llama|mi|hija)"
    folder.decode_by_grammar("ok espejo", " ".join([words] * 6))
    found = start().until_ready().get("/v1/speechmodel/phrases").json()
    assert (len(set(found["phrases"])), found["complete"]) == (MOST_PHRASES, False)


def test_phrases_beyond_those_that_are_listed_are_found(folder: VersionFolder, start: Start) -> None:
    words = "(ok|vale|hola|espejo|llama|mi|hija)"
    folder.decode_by_grammar("ok espejo", " ".join([words] * 6), intents={"Late": ("vale nuera",)})
    server = start().until_ready()
    assert "vale nuera" not in server.get("/v1/speechmodel/phrases").json()["phrases"]
    found = server.get("/v1/speechmodel/phrases/search?letters=NÚERA").json()
    assert found == {"phrases": ["vale nuera"], "intent_of": {"vale nuera": "Late"}, "complete": True}
    many = server.get("/v1/speechmodel/phrases/search?letters=vale+mi+vale").json()
    assert (len(many["phrases"]), many["complete"]) == (MOST_FOUND, False)
    assert server.get("/v1/speechmodel/phrases/search?letters=").status_code == 400
    assert server.get("/v1/speechmodel/phrases/search").json()["error"]["param"] == "letters"


def test_a_version_from_before_there_were_cards_has_no_figures(server: Server) -> None:
    found = server.get("/v1/speechmodel").json()
    assert (found["grammar"], found["rejects"], found["wer"]) == ("FreeText", False, 0.125)
    assert (found["measured"], found["dataset"], found["training"]) == (None, None, None)
    assert server.get("/v1/speechmodel/phrases").json()["phrases"] == []
    nothing = {"phrases": [], "intent_of": {}, "complete": True}
    assert server.get("/v1/speechmodel/phrases/search?letters=ok").json() == nothing
