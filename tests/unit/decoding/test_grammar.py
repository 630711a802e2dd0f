import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_decoding import Decoder, Grammar, templates
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.errors import GrammarError, GrammarFileError
from support.frames import spelled

ALPHABET = tuple(" abcdefghijklmnopqrstuvwxyzñ")
LISTS = {
    "habitacion": ["cocina", "(sala|living) [de estar]"],
    "vacía": [],
    "rara": ["[nada]"],
    "anidada": ["{habitacion}"],
    "blanca": ["  "],
}


def accepted(grammar: Grammar, text: str) -> bool:
    """True when frames that spell `text` are decoded as a phrase, which then is `text`."""
    found = Decoder(grammar).decode(spelled(text, grammar.about.alphabet))
    return [phrase.text for phrase in found] == [text]


def of_templates(*templates: str, lists: Mapping[str, Sequence[str]] = LISTS) -> Grammar:
    return compile_grammar([], ALPHABET, templates=templates, lists=lists)


@pytest.mark.parametrize(
    "template, phrases, others",
    [
        ("ok espejo", ["ok espejo"], ["ok", "ok espej", "ok espejo ok", "okespejo"]),
        ("(enciende|prende) luz", ["enciende luz", "prende luz"], ["luz", "enciende prende luz"]),
        ("apaga [la] luz", ["apaga la luz", "apaga luz"], ["apaga la la luz", "apagala luz"]),
        ("[por favor] para", ["por favor para", "para"], ["por para"]),
        ("para [ya]", ["para ya", "para"], ["ya"]),
        ("luz[es]", ["luz", "luzes"], ["luz es"]),
        ("(a;b)", ["a b", "b a"], ["a", "b", "ab"]),
        ("luz de {habitacion}", ["luz de cocina", "luz de living", "luz de sala de estar"], ["luz de", "luz de baño"]),
        ("[a|b] c", ["a c", "b c", "c"], ["a b c"]),
        ("Pon [LA] Luz", ["pon la luz", "pon luz"], []),
        ("  ok   espejo ", ["ok espejo"], []),
        ("(enciende|prende)\n  [la]\u00a0luz\n", ["enciende la luz", "prende luz"], []),
        ("luz de { habitacion }", ["luz de cocina"], []),
        ("[a;b] c", ["a b c", "b a c", "c"], ["ab c"]),
        ("((a;b)|c)", ["a b", "b a", "c"], ["ab"]),
        ("(a;(b|c))", ["a b", "c a"], ["ab"]),
        ("(a||b) c", ["a c", "b c", "c"], []),
    ],
)
def test_a_template_means_these_phrases_and_no_others(template: str, phrases: list[str], others: list[str]) -> None:
    grammar = of_templates(template)
    assert [text for text in phrases if not accepted(grammar, text)] == []
    assert [text for text in others if accepted(grammar, text)] == []


@pytest.mark.parametrize(
    "templates, words",
    [
        (["pon música!"], "'pon música!': the model's alphabet does not contain '!', 'ú'"),
        (["{cocina}"], "the list 'cocina' does not exist (lists: anidada, blanca, habitacion, rara, vacía)"),
        (["{vacía} a"], "the list 'vacía' is empty; add its values to decoding.lists"),
        (["{rara} a"], "the value '[nada]' of the list 'rara' may be empty"),
        (["{anidada} a"], "the value '{habitacion}' of the list 'anidada' refers to a list"),
        (["[la] [luz]"], "'[la] [luz]' may be empty"),
        (["   "], "'' is empty"),
        (["(a|b"], "'(a|b' cannot be read; check that every bracket is closed"),
        (["(a;b|c)"], "'(a;b|c)' has ; and | between the same brackets; add brackets, as in ((a;b)|c)"),
        (["[a;b|c] d"], "has ; and | between the same brackets"),
        (["(a|b;c)"], "cannot be read; check that every bracket is closed and not empty, that | and ; are not between"),
        (["a\\"], "no backslash is the last character"),
        (["a {habitacion:}"], "has a slot without a name; write {habitacion:name} or {habitacion}"),
        (["a {blanca}"], "the value '  ' of the list 'blanca' is empty; remove it"),
        (["a ()"], "cannot be read"),
        (["<regla> a"], "refers to a rule <regla>"),
        (["pon {1..9:n}"], "{1..9} is not a list"),
        (["(a;b;c;d;e;f)"], "has 6 parts in any order, more than 5"),
        (["a" * 501], "has 501 characters, more than 500"),
        (["[x] " + "a" * 501], "characters, more than 500"),
        ([], "the grammar has no phrases"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(templates: list[str], words: str) -> None:
    with pytest.raises(GrammarError) as refused:
        of_templates(*templates)
    assert words in str(refused.value)


def test_phrases_with_too_many_combinations_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(templates, "MOST_STATES", 10_000)
    assert accepted(of_templates("((a;b;c);(d;e;f);g)"), "g e f d c a b")
    with pytest.raises(GrammarError, match=r"the phrases have too many combinations \(more than 10000 states\); use"):
        of_templates("((a;b;c);(d;e;f);(g;h;i);(j;k;l);m)")


def test_every_phrase_is_listed_once_in_the_order_of_the_alphabet() -> None:
    grammar = compile_grammar(
        ["llama", "ala"], ALPHABET, templates=["(enciende|prende) [la] luz de {habitacion}", "ala"], lists=LISTS
    )
    rooms = ("cocina", "living", "living de estar", "sala", "sala de estar")
    lamps = [f"{verb} {la}luz de {room}" for verb in ("enciende", "prende") for la in ("la ", "") for room in rooms]
    assert list(grammar.phrases()) == ["ala", *lamps[:10], "llama", *lamps[10:]]


def test_a_phrase_with_a_space_is_refused_by_a_model_without_one() -> None:
    with pytest.raises(GrammarError, match="does not contain the space"):
        compile_grammar(["a b"], ("a", "b"))
    with pytest.raises(GrammarError, match="does not contain the space"):
        compile_grammar([], ("a", "b"), templates=["a [b]"])


def test_literal_phrases_may_have_the_characters_of_templates() -> None:
    grammar = compile_grammar(["a (b", "c|d"], ("a", "b", "c", "d", "(", "|", " "))
    assert accepted(grammar, "a (b")
    assert accepted(grammar, "c|d")
    assert not accepted(grammar, "c")


words = st.text("abñ", min_size=1, max_size=4)


@given(st.lists(st.lists(words, min_size=1, max_size=3).map(" ".join), min_size=1, max_size=12), words)
def test_a_set_of_phrases_accepts_each_of_them_and_nothing_else(phrases: list[str], other: str) -> None:
    for grammar in (
        compile_grammar(phrases, ALPHABET),
        compile_grammar(phrases[1:], ALPHABET, templates=[f"({phrases[0]})"]),
    ):
        assert all(accepted(grammar, phrase) and grammar.accepts(phrase) for phrase in phrases)
        assert accepted(grammar, other) == grammar.accepts(other) == (other in phrases)


def test_phrases_with_common_beginnings_and_ends_share_their_states() -> None:
    one = compile_grammar(["enciende la luz"], ALPHABET)
    many = compile_grammar([f"{verb} la luz" for verb in ("enciende", "enciendo", "encienda")], ALPHABET)
    assert len(many.graph) < 1.2 * len(one.graph)


def test_a_template_is_not_multiplied_out() -> None:
    lists = {name: [f"{name} {one}{two}" for one in "abcdefghij" for two in "abcdefghij"] for name in ("p", "q", "r")}
    grammar = compile_grammar([], ALPHABET, templates=["{p} {q} {r}"], lists=lists)  # a million sentences
    assert accepted(grammar, "p aa q bc r jj")
    assert len(grammar.graph) < 20_000


@pytest.mark.slow
def test_a_hundred_thousand_sentences_are_compiled() -> None:
    draw = random.Random(1)
    vocabulary = ["".join(draw.choices(ALPHABET[1:], k=draw.randint(2, 9))) for _ in range(4_000)]
    sentences = [" ".join(draw.choices(vocabulary, k=draw.randint(3, 5))) for _ in range(100_000)]
    grammar = compile_grammar(sentences, ALPHABET)
    assert accepted(grammar, sentences[77])
    assert not accepted(grammar, sentences[77] + "a")


def test_a_slot_holds_the_words_that_were_said() -> None:
    grammar = of_templates("luz [de {habitacion}] [en {habitacion:otra}]", "ok espejo")
    assert grammar.filled_slots("luz de sala de estar") == {"habitacion": "sala de estar"}
    assert grammar.filled_slots("luz de living en cocina") == {"habitacion": "living", "otra": "cocina"}
    assert grammar.filled_slots("luz") == {}
    assert grammar.filled_slots("ok espejo") == {}


def test_a_slot_that_is_filled_twice_keeps_both_values() -> None:
    grammar = of_templates("de {habitacion} a {habitacion} [o {habitacion}]", "({habitacion} ya|ya {habitacion})")
    assert grammar.filled_slots("de cocina a sala") == {"habitacion": "cocina", "habitacion_2": "sala"}
    assert grammar.filled_slots("de sala a cocina o living") == {
        "habitacion": "sala",
        "habitacion_2": "cocina",
        "habitacion_3": "living",
    }
    assert grammar.filled_slots("cocina ya") == grammar.filled_slots("ya cocina") == {"habitacion": "cocina"}
    both = of_templates("({habitacion};y {habitacion}) [{habitacion:otra}]")
    assert both.filled_slots("y sala cocina living") == {
        "habitacion": "sala",
        "habitacion_2": "cocina",
        "otra": "living",
    }
    optional = of_templates("[de {habitacion}] a {habitacion}")
    assert optional.filled_slots("a sala") == {"habitacion": "sala"}
    assert optional.filled_slots("de cocina a sala") == {"habitacion": "cocina", "habitacion_2": "sala"}
    own = of_templates("{habitacion} {habitacion:habitacion_2} {habitacion}")
    assert own.filled_slots("sala cocina living") == {
        "habitacion": "sala",
        "habitacion_2": "cocina",
        "habitacion_3": "living",
    }


def test_equal_grammars_are_equal_files_and_read_back_as_they_were() -> None:
    one, two = of_templates("luz de {habitacion}", "ok"), of_templates("luz de {habitacion}", "ok")
    assert one.to_bytes() == two.to_bytes()
    read = Grammar.from_bytes(one.to_bytes(), ALPHABET)
    assert accepted(read, "luz de cocina")
    assert read.filled_slots("luz de cocina") == {"habitacion": "cocina"}


def test_a_damaged_file_and_another_models_alphabet_are_refused() -> None:
    content = of_templates("ok").to_bytes()
    with pytest.raises(GrammarFileError, match="damaged"):
        Grammar.from_bytes(content[:-30], ALPHABET)
    with pytest.raises(GrammarFileError, match="another alphabet"):
        Grammar.from_bytes(content, ALPHABET[::-1])


def test_the_catch_all_label_is_in_no_listed_phrase() -> None:
    assert list(compile_grammar(["ok", "oko"], (*ALPHABET, CATCH_ALL)).phrases()) == ["ok", "oko"]


def test_the_catch_all_label_is_never_a_phrase_and_wins_over_phrases() -> None:
    alphabet = (*ALPHABET, CATCH_ALL)
    with pytest.raises(GrammarError, match="does not contain"):
        compile_grammar([CATCH_ALL], alphabet)
    grammar = compile_grammar(["ok", "hola"], alphabet)
    assert accepted(grammar, "ok")
    for heard in (CATCH_ALL, CATCH_ALL * 3):
        assert Decoder(grammar).decode(spelled(heard, alphabet)) == []
        assert Decoder(grammar).decode(spelled(heard, alphabet), alternatives=3) == []
