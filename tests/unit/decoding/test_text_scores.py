"""The score of free text, and the speech that it rejects."""

from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.stages.decoders import TextConfidence
from speechmodel_decoding import AcousticModel, Spelling, TextJudge, TextScorer, forward_score, text_score
from speechmodel_decoding.alignment import IMPOSSIBLE, align
from speechmodel_decoding.text_scores import PIECE
from speechmodel_runtime import load
from support.frames import random_frames, spelled
from support.places import FIXTURES

from .conftest import Heard

ALPHABET = tuple(" ab")


@given(st.text("ab ", min_size=1, max_size=12), st.integers(0, 2**31))
def test_the_score_of_a_short_text_is_exact(text: str, seed: int) -> None:
    frames = random_frames(seed, 30, 4)
    classes = [ALPHABET.index(character) for character in text]
    times = list(range(len(text)))
    assert text_score(frames, classes, times) == pytest.approx(forward_score(frames, classes) / len(text))


def test_a_long_text_is_scored_in_pieces_that_lose_next_to_nothing() -> None:
    text = "ab ba a" * (PIECE // 2)
    frames = spelled(text, ALPHABET, sure=0.9)
    classes = [ALPHABET.index(character) for character in text]
    times = [span.first for span in align(frames, classes)]
    exact = forward_score(frames, classes) / len(text)
    assert exact - 0.002 < text_score(frames, classes, times) <= exact + 1e-6


def test_the_score_without_a_scorer_is_that_of_the_runtime(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    scorer = TextScorer(acoustic, alphabet)
    for each in heard:
        expected = each.confidence / len(each.text)
        assert scorer.score(acoustic.log_probabilities(each.pcm), each.text, range(len(each.text))) == pytest.approx(
            expected, abs=0.02
        )


def test_a_text_that_was_not_said_is_rejected(acoustic: AcousticModel, alphabet: tuple[str, ...]) -> None:
    frames = acoustic.log_probabilities(load(FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"))
    judge = TextJudge(TextScorer(acoustic, alphabet), threshold=-0.5)
    assert not judge.rejects(frames, Spelling(tuple("ok espejo"), tuple(range(9))))
    assert judge.rejects(frames, Spelling(tuple("hola espejo"), tuple(range(11))))


def test_a_word_that_was_said_has_a_better_score_than_another(
    acoustic: AcousticModel, alphabet: tuple[str, ...]
) -> None:
    frames = acoustic.log_probabilities(load(FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"))
    ok, espejo = TextScorer(acoustic, alphabet).word_scores(frames, "ok espejo")
    hola, again = TextScorer(acoustic, alphabet).word_scores(frames, "hola espejo")
    assert hola < 10 * min(ok, espejo, again)


def test_a_text_that_does_not_fit_into_its_frames_has_the_worst_score_for_each_word() -> None:
    scorer = TextScorer(cast(AcousticModel, None), ALPHABET)
    assert scorer.word_scores(random_frames(0, 4, 4), "ab  ba") == [IMPOSSIBLE, IMPOSSIBLE]


def test_other_texts_follow_the_answer_the_surest_first(acoustic: AcousticModel, alphabet: tuple[str, ...]) -> None:
    frames = acoustic.log_probabilities(load(FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"))
    sure = TextConfidence(offset=-2.0, slope=1.5, word_offset=-2.0, word_slope=1.5)
    texts = ["ok espeja", "hola espejo", "ok espejo"]
    spellings = [Spelling(tuple(text), tuple(range(len(text)))) for text in texts]
    decision = TextJudge(TextScorer(acoustic, alphabet), confidences=sure).decide(frames, spellings)
    assert [each.text for each in decision.candidates] == ["ok espeja", "ok espejo", "hola espejo"]
