"""The figures of an evaluation, in free text and with a grammar."""

import pytest
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_api.stages.decoders import TextConfidence
from speechmodel_decoding import Candidate, Decision
from speechmodel_pipeline.evaluate.figures import (
    character_errors,
    clip_result,
    grammar_figures,
    right_words,
    text_calibration_error,
    with_confidence,
    with_grammar,
    word_error_rate,
    word_errors,
)
from speechmodel_pipeline.evaluation_report import ClipResult


def test_case_is_not_an_error() -> None:
    same = clip_result("a", 1.0, "Ok Espejo", "ok espejo", 0.0, None)
    other = clip_result("b", 1.0, "ΟΔΟΣ", "οδοί", 0.0, None)
    assert (same.wer, same.cer, same.reference) == (0, 0, "Ok Espejo")
    assert (other.wer, other.cer) == (1, 0.25)
    assert (word_errors([same, other]).hits, character_errors([same, other]).substitutions) == (2, 1)


def test_an_error_rate_has_an_interval_around_it_that_more_clips_make_smaller() -> None:
    right = clip_result("a", 1.0, "pon música", "pon música", 0.0, None)
    wrong = clip_result("b", 1.0, "pon música", "pon la", 0.0, None)
    few, many = word_error_rate([right, wrong] * 5, {}), word_error_rate([right, wrong] * 50, {})
    assert few and many
    assert (few.rate, few.clips, many.rate, many.clips) == (0.25, 10, 0.25, 100)
    assert 0 <= few.low < many.low < 0.25 < many.high < few.high <= 0.5
    assert word_error_rate([], {}) is None


def test_a_few_clips_without_an_error_do_not_show_that_there_are_none() -> None:
    right, wrong = clip_result("a", 1.0, "pon", "pon", 0.0, None), clip_result("b", 1.0, "pon", "", 0.0, None)
    none, every = word_error_rate([right] * 26, {}), word_error_rate([wrong] * 26, {})
    assert none and every
    assert (none.rate, none.low, none.high) == (0, 0, 0.10883)
    assert (every.rate, every.low, every.high) == (1, 0.89117, 1)
    many = word_error_rate([right] * 1000, {})
    assert many
    assert many.high == pytest.approx(3 / 1000, rel=0.01)


def test_clips_of_few_voices_have_a_wider_interval_than_clips_of_many() -> None:
    clips = [clip_result(str(number), 1.0, "pon", "pon" if number % 4 else "", 0.0, None) for number in range(80)]
    of_many = word_error_rate(clips, {clip.clip: clip.clip for clip in clips})
    of_four = word_error_rate(clips, {clip.clip: str(int(clip.clip) % 4) for clip in clips})
    of_one = word_error_rate(clips, dict.fromkeys((clip.clip for clip in clips), "anna"))
    assert of_many and of_four and of_one
    assert of_many.rate == of_four.rate == of_one.rate == 0.25
    assert (of_four.low, of_four.high) == (0, 0.75), "one of the four voices has all errors"
    assert 0.1 < of_many.low < 0.25 < of_many.high < 0.45
    assert 0.1 < of_one.low < 0.25 < of_one.high < 0.45


def test_case_and_composition_are_no_error_in_the_rate_of_unseen_speakers_either() -> None:
    same = clip_result("a", 1.0, "Pon Mu\u0301sica", "pon m\u00fasica", 0.0, True)
    rate = word_error_rate([same], {})
    assert rate and rate.rate == same.wer == 0


def decided(
    reference: str, text: str, phrase: str | None, confidence: float = 0.9, *, foreign: bool = False
) -> ClipResult:
    """A clip that the grammar decided, and that was letters in free text."""
    candidates = () if phrase is None else (Candidate(phrase, -0.1, confidence, (), {}, "Play"),)
    free = clip_result("clip", 1.0, reference, "leters", -3.0, None)
    return with_grammar(free, Decision(text, candidates), foreign=foreign)


def test_a_clip_is_right_wrong_or_rejected() -> None:
    phrases = [
        decided("pon música", "pon música", "pon música"),
        decided("pon música", "pon música", "pon música"),
        decided("pon música", "para música", "para música"),
        decided("pon música", "", "pon música"),
        decided("pon música", "", None),
    ]
    figures = grammar_figures(phrases, [])
    assert (figures.right, figures.wrong, figures.rejected, figures.phrases) == (2, 1, 2, 5)
    assert (figures.foreign, figures.accepted) == (0, 0)
    assert [each.intent for each in phrases] == ["Play", "Play", "Play", None, None]
    assert figures.calibration_error == pytest.approx(0.15), "3 of 4 phrases that fit are right, with 0.9 each"


def test_a_phrase_in_small_letters_is_right_for_a_transcript_in_capitals() -> None:
    figures = grammar_figures([decided("Pon Música", "pon música", "pon música", 1.0)], [])
    assert (figures.right, figures.calibration_error) == (1, 0)


def test_a_foreign_clip_is_accepted_or_not_and_never_right() -> None:
    foreign = [
        decided(CATCH_ALL, "", None, foreign=True),
        decided(CATCH_ALL, "", "pon música", 0.1, foreign=True),
        decided("otra cosa", "pon música", "pon música", 0.8, foreign=True),
    ]
    figures = grammar_figures([], foreign)
    assert (figures.phrases, figures.foreign, figures.accepted) == (0, 3, 1)
    assert (figures.recorded, figures.recorded_accepted) == (None, None)
    assert figures.calibration_error == pytest.approx((0.1 + 0.8) / 2)


def test_recordings_of_other_speech_are_counted_apart() -> None:
    foreign = [
        decided(CATCH_ALL, text, "pon música", foreign=True).model_copy(update={"clip": name})
        for name, text in (("word", ""), ("radio", "pon música"), ("call", ""))
    ]
    figures = grammar_figures([], foreign, {"radio", "call", "of another part"})
    assert (figures.foreign, figures.accepted, figures.recorded, figures.recorded_accepted) == (3, 1, 2, 1)


def test_without_a_phrase_that_fits_there_is_no_calibration_error() -> None:
    assert grammar_figures([decided("pon música", "", None)], []).calibration_error is None


def test_a_result_keeps_the_free_text_and_the_rejected_phrase() -> None:
    result = decided("pon música", "", "pon música", 0.3)
    assert (result.hypothesis, result.free_text, result.phrase, result.score) == ("", "leters", "pon música", -0.1)
    assert (result.wer, result.confidence) == (1.0, 0.3)
    assert decided("pon música", "", None).confidence == 0


@pytest.mark.parametrize(
    ("hypothesis", "right"),
    [
        ("prende la luz", [True, True, True]),
        ("Prende luz", [True, True]),
        ("prende cruz luz", [True, False, True]),
        ("la prende la luz", [False, True, True, True]),
        ("", []),
    ],
)
def test_words_that_were_said_are_right_wherever_others_are_missing_or_added(
    hypothesis: str, right: list[bool]
) -> None:
    assert right_words("prende la luz", hypothesis) == right


def test_one_of_two_equal_words_is_right_if_one_was_said() -> None:
    first, *la, last = right_words("prende la luz", "prende la la cruz")
    assert (first, sorted(la), last) == (True, [False, True], False)


def test_the_calibration_error_of_free_text_counts_rejected_texts_and_no_empty_ones() -> None:
    calibration = TextConfidence(offset=0.0, slope=0.0, word_offset=0.0, word_slope=0.0)  # a confidence of 0.5
    free = [clip_result(text, 1.0, "luz", text, -1.0, None) for text in ("luz", "cruz", "")]
    sure = [with_confidence(each, -1.0 if each.hypothesis else None, calibration, -0.5, foreign=False) for each in free]
    assert [each.hypothesis for each in sure] == ["", "", ""]
    assert text_calibration_error(sure) == 0.0, "half of the two texts are right"
    assert text_calibration_error(sure[:1]) == 0.5
    assert text_calibration_error(sure[2:]) is None
