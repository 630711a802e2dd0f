"""Near misses: a phrase with one word of no language, whose place has the catch-all label."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_pipeline.prepare.near_misses import LONGEST, SHORTEST, near_miss

WORDS = ("llama", "a", "mi", "hija", "hijo", "qué", "hora", "es")


@given(st.integers())
def test_one_word_is_replaced_by_another_that_is_not_in_the_set(seed: int) -> None:
    made = near_miss("llama a mi hijo", WORDS, random.Random(seed))
    assert made is not None
    spoken, transcript, phrase = made.spoken.split(), made.transcript.split(), ["llama", "a", "mi", "hijo"]
    (place,) = (index for index, word in enumerate(transcript) if word == CATCH_ALL)
    assert spoken[place] not in WORDS
    assert SHORTEST <= len(spoken[place]) <= LONGEST
    for words in (spoken, transcript):
        assert [*words[:place], *words[place + 1 :]] == [*phrase[:place], *phrase[place + 1 :]]


@given(st.integers())
def test_the_characters_follow_each_other_as_in_the_words_of_the_set(seed: int) -> None:
    made = near_miss("привет мир", ("привет", "мир"), random.Random(seed))
    assert made is not None
    (word,) = set(made.spoken.split()) - {"привет", "мир"}
    assert all(any(word[at : at + 2] in known for known in ("привет", "мир")) for at in range(len(word) - 1))


@pytest.mark.parametrize(
    ("phrase", "words"), [("hola", ("hola", "mundo")), ("你好", ("你好",)), ("ok ok", ("ok",)), ("a b", ("a", "b"))]
)
def test_there_is_none_of_one_word_or_where_the_characters_make_no_other_word(
    phrase: str, words: tuple[str, ...]
) -> None:
    assert near_miss(phrase, words, random.Random(0)) is None
