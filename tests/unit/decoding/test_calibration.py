import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_decoding import Examples, calibrate, expected_calibration_error, phrase_confidence, word_confidence
from speechmodel_decoding.calibration import threshold_of

scores = st.floats(-30, 0)


def test_the_threshold_loses_one_right_answer_in_a_hundred() -> None:
    right = [-0.001 * number for number in range(1000)]
    threshold = threshold_of(right)
    assert sum(score < threshold for score in right) == 9 or sum(score < threshold for score in right) == 10


def test_of_a_few_right_answers_none_is_lost() -> None:
    assert threshold_of([-0.5, -0.1, -0.2]) == -0.5


def test_a_model_that_is_never_right_accepts_nothing() -> None:
    assert threshold_of([]) == 0
    assert calibrate(Examples([], [-1.0]), Examples([], [])).threshold == 0


@given(st.lists(scores, max_size=30), st.lists(scores, max_size=30), scores, scores)
def test_confidence_is_from_zero_to_one_and_never_falls_when_the_score_rises(
    right: list[float], wrong: list[float], one: float, two: float
) -> None:
    calibration = calibrate(Examples(right, wrong), Examples(wrong, right))
    for confidence in (phrase_confidence, word_confidence):
        assert 0 <= confidence(min(one, two), calibration) <= confidence(max(one, two), calibration) <= 1


def test_confidence_is_the_share_of_right_answers() -> None:
    draw = np.random.default_rng(1)
    every = -np.exp(draw.uniform(-6, 2, 4000))
    said = draw.random(4000) < 1 / (1 + np.exp(1.5 * (np.log(0.001 - every) + 2)))
    calibration = calibrate(Examples(every[said].tolist(), every[~said].tolist()), Examples([], []))
    assert calibration.slope == pytest.approx(1.5, abs=0.15)
    confidences = [phrase_confidence(score, calibration) for score in every]
    assert expected_calibration_error(confidences, said.tolist()) < 0.03


def test_words_have_a_calibration_of_their_own() -> None:
    calibration = calibrate(Examples([-0.1] * 50, [-2.0] * 50), Examples([-2.0] * 50, [-9.0] * 50))
    assert phrase_confidence(-2.0, calibration) < 0.1
    assert word_confidence(-2.0, calibration) > 0.9


def test_the_error_of_a_calibration_is_its_distance_from_the_truth() -> None:
    assert expected_calibration_error([0.75] * 4, [True, True, True, False]) == pytest.approx(0)
    assert expected_calibration_error([0.9] * 4, [False] * 4) == pytest.approx(0.9)
    assert expected_calibration_error([1.0, 1.0, 0.0, 0.0], [True, True, False, True]) == pytest.approx(0.25)
