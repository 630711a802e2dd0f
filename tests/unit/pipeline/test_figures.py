"""The figures of an evaluation."""

from speechmodel_pipeline.evaluate.figures import character_errors, clip_result, word_errors


def test_case_is_not_an_error() -> None:
    same = clip_result("a", 1.0, "Ok Espejo", "ok espejo", 0.0, None)
    other = clip_result("b", 1.0, "ΟΔΟΣ", "οδοί", 0.0, None)
    assert (same.wer, same.cer, same.reference) == (0, 0, "Ok Espejo")
    assert (other.wer, other.cer) == (1, 0.25)
    assert (word_errors([same, other]).hits, character_errors([same, other]).substitutions) == (2, 1)
