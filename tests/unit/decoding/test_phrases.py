"""Phrases of a manifest are normalised as transcripts are, and templates keep their syntax."""

import pytest
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.text.phrases import as_trained

ALPHABET = frozenset(" 'abcdefghijklmnopqrstuvwxyzáéíóúñ")


def normalised(phrase: str, alphabet: frozenset[str] = ALPHABET, **lists: tuple[str, ...]) -> str:
    return as_trained([phrase], lists, "es", alphabet).phrases[0]


@pytest.mark.parametrize(
    ("phrase", "trained"),
    [
        ("¡enciende, la luz!", "enciende la luz"),
        ("it’s on", "it's on"),
        ("buenos-días", "buenos días"),
        ("ok espejo", "ok espejo"),
        ("(Enciende|prende), [la] luz [de {mi_casa:el_sitio}].", "(enciende|prende) [la] luz [de {mi_casa:el_sitio}]"),
        ("[por favor], prende...la luz", "[por favor] prende la luz"),
        ("lu(z|ces) l'[a]", "lu(z|ces) l'[a]"),
        (r"a\(b", r"a\(b"),
        ("canal 5", "canal 5"),  # compiling says that the alphabet lacks it
    ],
)
def test_punctuation_is_dropped_from_phrases_as_from_transcripts(phrase: str, trained: str) -> None:
    assert normalised(phrase) == trained


def test_a_character_of_the_alphabet_stays() -> None:
    assert normalised("canal 5, ¡Ok!", ALPHABET | {"5", "!"}) == "canal 5 ok!"


def test_values_of_lists_are_normalised_too() -> None:
    phrases = as_trained(["luz de {Sala}"], {"Sala": ("la Sala, grande", "cocina")}, "es", ALPHABET)
    assert phrases.lists == {"Sala": ("la sala grande", "cocina")}
    assert sorted(phrases.compile(sorted(ALPHABET)).phrases()) == ["luz de cocina", "luz de la sala grande"]


@pytest.mark.parametrize(
    ("phrase", "problem"),
    [
        (
            "canal 5",
            "the phrase 'canal 5': '5' is not spelled out in 'canal 5'; write numbers and signs as spoken words",
        ),
        ("100 %", "the phrase '100 %': '%', '0', '1' are not spelled out"),
    ],
)
def test_a_phrase_that_no_transcript_may_have_is_named(phrase: str, problem: str) -> None:
    with pytest.raises(GrammarError) as refused:
        normalised(phrase, frozenset())
    assert problem in str(refused.value)
