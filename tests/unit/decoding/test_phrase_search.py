"""The search in the phrases of a grammar."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from speechmodel_decoding import Grammar, phrase_search
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.phrase_search import find_phrases, folded

ALPHABET = (*" abcdefghijklmnopqrstuvwxyzáéíóú", "ñ")


@given(
    st.sets(st.text("abá ", min_size=1, max_size=6).map(str.strip).filter(bool), min_size=1),
    st.text("abÁ ", min_size=1, max_size=4),
)
@example({"aaab", "ba"}, "aab")
def test_all_phrases_with_the_letters_are_found_in_the_order_of_the_alphabet(phrases: set[str], letters: str) -> None:
    grammar = compile_grammar(sorted(phrases), ALPHABET)
    found = find_phrases(grammar, letters, 1000)
    assert list(found.phrases) == [each for each in grammar.phrases() if folded(letters) in folded(each)]
    assert found.complete


def test_a_phrase_far_back_in_a_grammar_of_a_million_is_found() -> None:
    values = tuple(f"{first}{second}" for first in "bcdfghjklm" for second in "aeiouáéíóú")
    templates = ["apaga {one} {two} {three}", "sube el volumen"]
    grammar = compile_grammar([], ALPHABET, templates=templates, lists={"one": values, "two": values, "three": values})
    assert find_phrases(grammar, "Volumen", 40) == phrase_search.FoundPhrases(("sube el volumen",), complete=True)
    some = find_phrases(grammar, "mú mu", 40)
    assert (len(some.phrases), some.complete) == (40, False)
    assert all("mu mu" in folded(phrase) for phrase in some.phrases)
    assert find_phrases(grammar, "xyz", 40) == phrase_search.FoundPhrases((), complete=True)


def test_a_search_that_would_take_too_long_says_that_there_may_be_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_search, "MOST_PLACES", 5)
    found = find_phrases(compile_grammar(["aaaaaaaaaab"], ALPHABET), "b", 40)
    assert found == phrase_search.FoundPhrases((), complete=False)


def test_a_phrase_is_found_by_its_beginning_however_large_the_grammar_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_search, "MOST_PLACES", 20)
    grammar = compile_grammar([*(f"{letter}a{letter}" for letter in "bcdefghijkl"), "zúmo", "zúmo de pera"], ALPHABET)
    assert find_phrases(grammar, "Zumo", 40).phrases == ("zúmo", "zúmo de pera")
    assert find_phrases(grammar, "zumo de pera", 40).phrases == ("zúmo de pera",)


def test_spellings_of_a_beginning_count_as_places(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(phrase_search, "MOST_PLACES", 100)
    asked = 0

    def count(grammar: Grammar, state: int) -> list[tuple[str, int]]:
        nonlocal asked
        asked += 1
        return characters_after(grammar, state)

    grammar = compile_grammar([], ALPHABET, templates=[" ".join(["(a|á)"] * 12)])
    characters_after = Grammar.characters_after
    monkeypatch.setattr(Grammar, "characters_after", count)
    letters = " ".join(["a"] * 12)
    found = find_phrases(grammar, letters, 40)
    assert (found.phrases[:2], found.complete) == ((letters, f"{letters[:-1]}á"), False)
    assert asked <= 101


@pytest.mark.parametrize("letters", ["가", "\u1100\u1161"])
def test_a_syllable_of_hangul_is_found_and_no_other_with_its_first_consonant(letters: str) -> None:
    grammar = compile_grammar(["가나", "거나"], (" ", "가", "거", "나"))
    assert find_phrases(grammar, letters, 40).phrases == ("가나",)


@pytest.mark.parametrize("letters", ["café", "cafe\u0301", "CAFE"])
def test_an_accent_is_disregarded_however_it_is_written(letters: str) -> None:
    assert find_phrases(compile_grammar(["un café"], ALPHABET), letters, 40).phrases == ("un café",)
