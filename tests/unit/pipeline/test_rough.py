"""Rough copies of clips."""

import numpy as np
from speechmodel_pipeline.evaluate.rough import as_heard, rough_copies
from speechmodel_runtime import level as levelled

VOICE = (8000 * np.sin(np.arange(16_000) / 7)).astype(np.int16)
OTHER = (2000 * np.sin(np.arange(9_000) / 11)).astype(np.int16)


def level(samples: np.ndarray) -> float:
    return float(20 * np.log10(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))))


def test_a_copy_is_quieter_one_in_hiss_and_one_among_voices() -> None:
    quiet, hissing, crowded = rough_copies(VOICE, [OTHER, OTHER[::-1]], seed=1)
    assert abs(level(VOICE) - level(quiet) - 12) < 0.1
    for noisy in (hissing, crowded):
        assert abs(level(VOICE) - level(noisy.astype(np.int32) - VOICE) - 10) < 0.5
    assert not np.array_equal(hissing, crowded)


def test_without_other_voices_there_are_two_copies() -> None:
    assert len(rough_copies(VOICE, [], seed=1)) == 2


def test_equal_seeds_give_equal_copies() -> None:
    for one, two in zip(rough_copies(VOICE, [OTHER], 5), rough_copies(VOICE, [OTHER], 5), strict=True):
        assert np.array_equal(one, two)
    assert not np.array_equal(rough_copies(VOICE, [OTHER], 5)[1], rough_copies(VOICE, [OTHER], 6)[1])


def test_silence_and_loud_samples_stay_whole_numbers_of_16_bits() -> None:
    for clip in (np.zeros(1000, np.int16), np.full(1000, 32767, np.int16)):
        for copy in rough_copies(clip, [OTHER], seed=2):
            assert copy.dtype == np.int16 and len(copy) == len(clip)
            assert copy.mean() >= 8000 * clip.any(), "no sample wraps around"


def test_the_noise_that_every_recording_gets_is_in_a_copy_once() -> None:
    clip = levelled(np.concatenate([VOICE[:12_000], np.zeros(6000, np.int16)]), -22.0)
    clip, quieter, *_ = as_heard(clip, [], seed=1, dbfs=-22.0)
    assert level(clip[13_000:]) < -60 + 20 * np.log10(32_768)
    assert abs(level(clip[13_000:]) - level(quieter[13_000:])) < 0.5
