"""Intents of a grammar: which one a phrase has, and that no sentence has two."""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_decoding import Decoder, Grammar
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import GrammarError
from support.frames import spelled

ALPHABET = tuple(" abcdefghijklmnopqrstuvwxyzñ")
LISTS = {"habitacion": ["cocina", "(sala|living) [de estar]"]}
BEFORE = "c75626ad53f713d5fc77e8776f2429e2265e8f7f2968caf1d128d31709463ad4"
"""Digest of the parts of a grammar without intents, as the last release without them compiled it."""
INTENTS = {
    "HassTurnOn": ["(enciende|prende) [la] luz [de {habitacion}]", "luz {habitacion:donde}"],
    "HassTurnOff": ["apaga [la] luz [de {habitacion}]", "apaga todo"],
}


def with_intents(intents: Mapping[str, Sequence[str]], *phrases: str) -> Grammar:
    return compile_grammar([], ALPHABET, templates=phrases, intents=intents, lists=LISTS)


@pytest.mark.parametrize(
    ("sentence", "intent", "slots"),
    [
        ("prende la luz de sala de estar", "HassTurnOn", {"habitacion": "sala de estar"}),
        ("luz living", "HassTurnOn", {"donde": "living"}),
        ("apaga la luz", "HassTurnOff", {}),
        ("apaga luz de cocina", "HassTurnOff", {"habitacion": "cocina"}),
        ("apaga todo", "HassTurnOff", {}),
        ("ok espejo", None, {}),
        ("ir a cocina", None, {"habitacion": "cocina"}),
    ],
)
def test_a_decoded_phrase_has_the_intent_and_the_slots_of_its_template(
    sentence: str, intent: str | None, slots: dict[str, str]
) -> None:
    written = with_intents(INTENTS, "ok espejo", "ir a {habitacion}")
    for grammar in (written, Grammar.from_bytes(written.to_bytes(), ALPHABET)):
        (phrase,) = Decoder(grammar).decode(spelled(sentence, ALPHABET))
        assert phrase.text == sentence
        assert (grammar.intent(phrase.text), grammar.filled_slots(phrase.text)) == (intent, slots)


def test_phrases_of_intents_are_the_phrases_of_the_grammar() -> None:
    grammar = with_intents({"On": ["luz", "[la] luz"], "Off": ["apaga"]}, "ok", "luz [ya] no")
    assert list(grammar.phrases()) == ["apaga", "la luz", "luz", "luz no", "luz ya no", "ok"]
    assert grammar.accepts("la luz") and not grammar.accepts("la")
    assert list(with_intents({"On": ["luz"]}).phrases()) == ["luz"], "no phrase without an intent is needed"


@pytest.mark.parametrize(
    ("intents", "phrases", "problem"),
    [
        (
            {"On": ["luz"], "Toggle": ["luz"]},
            [],
            "the sentence 'luz' is in the intents 'On' and 'Toggle'; keep it in one of them",
        ),
        (
            {"On": ["(enciende|prende) [la] luz"], "Toggle": ["(prende|apaga) [la] (luz|radio)"], "Other": ["no"]},
            ["ok"],
            "the sentence 'prende luz' is in the intents 'On' and 'Toggle'",
        ),
        ({"On": ["luz de {habitacion}"]}, ["luz de sala"], "the sentence 'luz de sala' is in the intent 'On' and in"),
        ({"On": ["[la] luz"]}, ["luz [ya]"], "'luz' is in the intent 'On' and in decoding.phrases; keep it in one"),
        ({"On": ["(luz"]}, [], "the phrase '(luz' of the intent 'On' cannot be read"),
        (
            {"On": ["luz"], "Off": ["luz 5"]},
            [],
            "the phrase 'luz 5' of the intent 'Off': the model's alphabet does not",
        ),
        ({"On": ["luz {sala}"]}, [], "the phrase 'luz {sala}' of the intent 'On': the list 'sala' does not exist"),
        ({"On": ["  "]}, [], "the phrase '' of the intent 'On' is empty; write its words, or remove it"),
        ({"On": ["a" * 501]}, [], "aaa...' of the intent 'On' has 501 characters, more than 500"),
        ({"On": ["[x] " + "a" * 501]}, [], "of the intent 'On' has up to 503 characters, more than 500"),
    ],
)
def test_a_sentence_with_two_intents_and_a_phrase_that_cannot_be_used_are_named(
    intents: dict[str, list[str]], phrases: list[str], problem: str
) -> None:
    with pytest.raises(GrammarError) as refused:
        with_intents(intents, *phrases)
    assert problem in str(refused.value)


def test_a_sentence_may_be_written_twice_in_one_intent() -> None:
    grammar = with_intents({"On": ["luz [de {habitacion}]", "luz", "luz de cocina"], "Off": ["apaga"]})
    assert grammar.intent("luz") == grammar.intent("luz de cocina") == "On"


sentences = st.lists(st.text("ab", min_size=1, max_size=2), min_size=1, max_size=3).map(" ".join)
few = st.lists(sentences, min_size=1, max_size=3)


@given(few, few, few, st.booleans())
def test_a_grammar_is_refused_exactly_when_two_of_its_intents_share_a_sentence(
    one: list[str], two: list[str], none: list[str], optional: bool
) -> None:
    written = {"One": [f"[b] {each}" if optional else each for each in one], "Two": two}
    means = {"One": {*one, *(f"b {each}" for each in one if optional)}, "Two": {*two}, None: {*none}}
    shared = any(means[a] & means[b] for a, b in (("One", "Two"), ("One", None), ("Two", None)))
    if shared:
        with pytest.raises(GrammarError, match="keep it in one of them"):
            with_intents(written, *none)
        return
    grammar = with_intents(written, *none)
    assert set(grammar.phrases()) == set().union(*means.values())
    assert all(grammar.intent(each) == intent for intent, texts in means.items() for each in texts)


def test_templates_of_intents_are_not_multiplied_out() -> None:
    lists = {name: [f"{name} {one}{two}" for one in "abcdefghij" for two in "abcdefghij"] for name in ("p", "q", "r")}
    intents = {"One": ["{p} {q} {r}"], "Two": ["{q} {p} {r}"], "Three": ["{p} {q} {r} x"]}  # three million sentences
    grammar = compile_grammar([], ALPHABET, intents=intents, lists=lists)
    assert len(grammar.to_bytes()) < 40_000
    assert grammar.intent("q bc p aa r jj") == "Two"
    assert grammar.filled_slots("q bc p aa r jj") == {"q": "q bc", "p": "p aa", "r": "r jj"}
    assert grammar.intent("p aa q bc r jj x") == "Three"


def test_the_order_of_intents_does_not_count() -> None:
    backwards = dict(reversed(INTENTS.items()))
    assert with_intents(backwards, "ok").to_bytes() == with_intents(INTENTS, "ok").to_bytes()


def test_a_file_from_before_there_were_intents_is_read_and_a_new_one_without_intents_has_its_parts() -> None:
    """Equal parts are an equal file, and so a version keeps its name."""
    grammar = compile_grammar(["ok espejo"], ALPHABET, templates=["luz de {habitacion}"], lists=LISTS)
    assert hashlib.sha256(grammar.graph + grammar.slots).hexdigest() == BEFORE
    about = json.dumps({"alphabet": ALPHABET, "slots": ["habitacion"]}, ensure_ascii=False, separators=(",", ":"))
    before = io.BytesIO()
    with zipfile.ZipFile(before, "w") as archive:
        for name, content in (("grammar.json", about), ("graph.fst", grammar.graph), ("slots.fst", grammar.slots)):
            archive.writestr(name, content)
    read = Grammar.from_bytes(before.getvalue(), ALPHABET)
    assert (read.intent("luz de sala"), read.filled_slots("luz de sala")) == (None, {"habitacion": "sala"})
    with zipfile.ZipFile(io.BytesIO(grammar.to_bytes())) as archive, zipfile.ZipFile(before) as earlier:
        assert archive.namelist() == earlier.namelist()
        assert all(archive.read(name) == earlier.read(name) for name in archive.namelist())
