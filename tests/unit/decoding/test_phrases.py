"""Phrases of a manifest are normalised as transcripts are, and templates keep their syntax."""

from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.stages.decoders import Decoding
from speechmodel_decoding.errors import GrammarError
from speechmodel_decoding.text.normalise import TranscriptUnusable, normalise
from speechmodel_decoding.text.phrases import as_trained
from speechmodel_decoding.text.settings import TextSettings

ALPHABET = frozenset(" 'abcdefghijklmnopqrstuvwxyzáéíóúñ")


def normalised(phrase: str, alphabet: frozenset[str] = ALPHABET, **lists: tuple[str, ...]) -> str:
    settings = TextSettings("es", alphabet, Annotations.REJECT, Numbers.REJECT)
    return as_trained(Decoding(phrases=(phrase,), lists=lists), settings).phrases[0]


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
        ("pon-[la] luz", "pon [la] luz"),
        ("[buenos]-días", "[buenos] días"),
        ("[enciende]/apaga", "[enciende] apaga"),
        ("(uno|dos)—tres", "(uno|dos) tres"),
        ("luz...[ya]", "luz [ya]"),
        ("[buenas]-[noches]", "[buenas] [noches]"),
    ],
)
def test_punctuation_is_dropped_from_phrases_as_from_transcripts(phrase: str, trained: str) -> None:
    assert normalised(phrase) == trained


@pytest.mark.parametrize("alphabet", [ALPHABET, frozenset[str]()])
@pytest.mark.parametrize(
    ("phrase", "trained"),
    [
        ("allume l'{objet}", "allume l'{objet}"),
        ("allume l’{objet}", "allume l'{objet}"),
        ("allume [l’]ampoule", "allume [l']ampoule"),
        ("allume (le |la |l’){objet}", "allume (le |la |l'){objet}"),
        ("allume (le|la|L’) {objet}", "allume (le|la|l') {objet}"),
        ("{name}’s light", "{name}'s light"),
        ("(goin’|going) home", "(goin |going) home"),
        ("di ‘hola’[ ya]", "di hola [ ya]"),
        ("[ya] ‘hola’ (uno|dos)", "[ya] hola (uno|dos)"),
    ],
)
def test_an_apostrophe_inside_a_word_stays_beside_a_bracket(
    phrase: str, trained: str, alphabet: frozenset[str]
) -> None:
    settings = TextSettings("fr", alphabet, Annotations.REJECT, Numbers.REJECT)
    assert as_trained(Decoding(phrases=(phrase,)), settings).phrases == (trained,)


@pytest.mark.parametrize("phrase", ["allume l'{objet}", "allume (le|l’) {objet}", "allume l'ampoule"])
def test_a_phrase_with_an_apostrophe_needs_it_in_the_alphabet(phrase: str) -> None:
    alphabet = ALPHABET - {"'"}
    settings = TextSettings("fr", alphabet, Annotations.REJECT, Numbers.REJECT)
    found = as_trained(Decoding(phrases=(phrase,), lists={"objet": ("ampoule",)}), settings)
    with pytest.raises(GrammarError, match='alphabet does not contain "\'"'):
        found.compile(sorted(alphabet))


@pytest.mark.parametrize(
    ("language", "phrase", "sentences"),
    [
        ("fr", "allume (le|la|l') {objet}", ["allume l'ampoule", "allume la ampoule", "allume le ampoule"]),
        ("fr-CA", "[l’] {objet}", ["ampoule", "l'ampoule"]),
        ("it", "(dell'|[un] po') {objet}", ["dell'ampoule", "po' ampoule", "un po' ampoule"]),
        ("en", "(l'|la) {objet}", ["l' ampoule", "la ampoule"]),
    ],
)
def test_an_elided_word_is_joined_to_the_next_one(language: str, phrase: str, sentences: list[str]) -> None:
    settings = TextSettings(language, ALPHABET, Annotations.REJECT, Numbers.REJECT)
    found = as_trained(Decoding(phrases=(phrase,), lists={"objet": ("ampoule",)}), settings)
    assert sorted(found.compile(sorted(ALPHABET)).phrases()) == sentences


@pytest.mark.parametrize("alphabet", [ALPHABET, frozenset[str]()])
@pytest.mark.parametrize(
    "phrase", ["pon (cincuenta|cien) %", "pon {n} %", "{n} & {n}", "{n}% ya", "pon cien %", "%", "[canal] # [uno]"]
)
def test_a_sign_that_is_spoken_is_refused_beside_a_bracket_too(phrase: str, alphabet: frozenset[str]) -> None:
    with pytest.raises(GrammarError, match=r"^the phrase .* '[%&#]' is not spelled out"):
        normalised(phrase, alphabet, n=("uno",))


@pytest.mark.parametrize("alphabet", [ALPHABET, frozenset[str]()])
def test_a_phrase_or_value_of_punctuation_is_named_as_it_was_given(alphabet: frozenset[str]) -> None:
    with pytest.raises(GrammarError, match=r"^the phrase '¡…!' has only punctuation; write its words, or remove it$"):
        normalised("¡…!", alphabet)
    with pytest.raises(GrammarError, match=r"^the value '-' of the list 'n' has only punctuation"):
        normalised("pon {n}", alphabet, n=("-",))


def test_a_character_of_the_alphabet_stays() -> None:
    assert normalised("canal 5, ¡Ok!", ALPHABET | {"5", "!"}) == "canal 5 ok!"


def test_a_kept_character_ends_the_word_beside_a_bracket() -> None:
    alphabet = ALPHABET | set("5-")
    assert normalised("canal 5[s]", alphabet) == "canal 5[s]"
    assert normalised("canal-[s]", alphabet) == "canal-[s]"
    assert normalised("[ya]-[no]", alphabet) == "[ya]-[no]"


@given(st.text(st.sampled_from("az lñ5'’-_/—….,!?¿ \t^«»\u200b"), min_size=1, max_size=12))
@example("pon-la... ¡luz!")
@example("l'")
def test_a_phrase_without_brackets_is_normalised_as_a_transcript(phrase: str) -> None:
    try:
        transcript = normalise(phrase, language="es").text
    except TranscriptUnusable:
        return
    assert normalised(phrase, frozenset()) == transcript


def test_values_of_lists_are_normalised_too() -> None:
    phrases = as_trained(
        Decoding(phrases=("luz de {Sala}",), lists={"Sala": ("la Sala, grande", "cocina")}),
        TextSettings("es", ALPHABET, Annotations.REJECT, Numbers.REJECT),
    )
    assert phrases.lists == {"Sala": ("la sala grande", "cocina")}
    assert sorted(phrases.compile(sorted(ALPHABET)).phrases()) == ["luz de cocina", "luz de la sala grande"]


@pytest.mark.parametrize(
    ("phrase", "problem"),
    [
        (
            "canal 5",
            "the phrase 'canal 5': '5' is not spelled out in 'canal 5'; write numbers and signs as spoken words",
        ),
        ("100 %", "the phrase '100 %': '100', '%' are not spelled out"),
    ],
)
def test_a_phrase_that_no_transcript_may_have_is_named(phrase: str, problem: str) -> None:
    with pytest.raises(GrammarError) as refused:
        normalised(phrase, frozenset())
    assert problem in str(refused.value)


SPELLS = TextSettings("es", ALPHABET, Annotations.STRIP, Numbers.SPELL)


@pytest.mark.parametrize("alphabet", [ALPHABET, frozenset[str]()])
@pytest.mark.parametrize(
    ("phrase", "trained"),
    [
        ("canal 5", "canal cinco"),
        ("(canal|cadena) 5 [ya]", "(canal|cadena) cinco [ya]"),
        ("canal 5 *risas* ya", "canal cinco ya"),
        ("*risas* [ya] canal 5", " [ya] canal cinco"),
    ],
)
def test_numbers_and_annotations_of_phrases_are_read_as_the_dataset_reads_them(
    phrase: str, trained: str, alphabet: frozenset[str]
) -> None:
    decoding = Decoding(phrases=(phrase,), intents={"ChangeChannel": (phrase,)})
    found = as_trained(decoding, replace(SPELLS, alphabet=alphabet))
    assert (found.phrases, found.intents) == ((trained,), {"ChangeChannel": (trained,)})


@pytest.mark.parametrize("phrase", ["canal 2[5]", "[sala]5", "pon 1 [luz]"])
def test_a_number_whose_word_depends_on_what_a_bracket_gives_is_not_spelled(phrase: str) -> None:
    with pytest.raises(GrammarError, match="not spelled out"):
        as_trained(Decoding(phrases=(phrase,)), replace(SPELLS, alphabet=frozenset()))


@pytest.mark.parametrize("alphabet", [ALPHABET, frozenset[str]()])
@pytest.mark.parametrize(
    "phrase",
    ["{n} grados", "pon {n} [grados]", "pon ({n}|nada) grados", "({n: m} | x) {n}", "[pon {n}] ya", "({n};ya)"],
)
def test_a_value_whose_word_depends_on_what_is_behind_the_list_is_not_spelled(
    phrase: str, alphabet: frozenset[str]
) -> None:
    decoding = Decoding(phrases=("canal {n}",), intents={"Warm": (phrase,)}, lists={"n": ("2", "21")})
    with pytest.raises(GrammarError) as refused:
        as_trained(decoding, replace(SPELLS, alphabet=alphabet))
    assert str(refused.value) == (
        "the value '21' of the list 'n': '21' is not spelled out in '21': its word may depend on what is said "
        "beside it; write numbers and signs as spoken words"
    )


@pytest.mark.parametrize("phrase", ["canal {n}", "pon (canal {n}|grados)", "[grados|{n}].", "grados {n} {otra}"])
def test_values_with_nothing_behind_them_are_spelled(phrase: str) -> None:
    decoding = Decoding(phrases=(phrase,), lists={"n": ("2", "15") if "otra" in phrase else ("2", "21")})
    found = as_trained(decoding, SPELLS).lists["n"]
    assert found == (("dos", "quince") if "otra" in phrase else ("dos", "veintiuno"))


def test_a_phrase_of_an_intent_that_no_transcript_may_have_is_named_with_the_intent() -> None:
    settings = TextSettings("es", frozenset(), Annotations.REJECT, Numbers.REJECT)
    with pytest.raises(GrammarError, match=r"^the phrase 'canal 5' of the intent 'ChangeChannel': '5' is not spelled"):
        as_trained(Decoding(intents={"ChangeChannel": ("canal 5",)}), settings)


def test_sentences_that_are_equal_once_they_are_normalised_have_one_intent() -> None:
    settings = TextSettings("es", frozenset(), Annotations.REJECT, Numbers.REJECT)
    found = as_trained(Decoding(intents={"On": ("¡Luz, ya!",), "Off": ("luz ya",)}), settings)
    with pytest.raises(GrammarError, match="'luz ya' is in the intents 'Off' and 'On'"):
        found.compile(sorted({" ", *found.characters}))
