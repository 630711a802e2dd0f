import numpy as np
import pytest
from speechmodel_decoding import Phrase, speech_seconds, timed_score
from speechmodel_decoding.alignment import Span

from .conftest import Heard

PHRASE = Phrase("ola", -0.5, tuple(Span(first, first + 2, -0.5) for first in (10, 20, 30)))
"""Three characters in 23 frames, 0.46 s."""


def test_the_score_grows_with_the_seconds_of_speech_for_each_character() -> None:
    assert timed_score(PHRASE, 0.6) == pytest.approx(-0.5 * 0.6 / 3)
    assert timed_score(PHRASE, 1.2) == pytest.approx(2 * timed_score(PHRASE, 0.6))


def test_a_phrase_where_nobody_speaks_is_not_better_than_one_that_was_said() -> None:
    assert timed_score(PHRASE, 0.0) == pytest.approx(-0.5 * 0.46 / 3)


def test_silence_and_noise_around_a_clip_are_no_speech(heard: list[Heard]) -> None:
    hiss = np.random.default_rng(0).normal(0, 300, 32_000).astype(np.int16)
    assert speech_seconds(hiss) < 0.1
    assert speech_seconds(np.zeros(300, np.int16)) == 0
    for clip in heard:
        said = speech_seconds(clip.pcm)
        assert 0.3 < said <= len(clip.pcm) / 16_000
        assert speech_seconds(np.concatenate([hiss, clip.pcm, hiss])) == pytest.approx(said, abs=0.3)


def test_faint_voices_in_the_background_are_not_counted(heard: list[Heard]) -> None:
    said = heard[0].pcm
    alone = speech_seconds(said)
    assert speech_seconds(np.concatenate([said // 10, said, said // 10])) == pytest.approx(alone, abs=0.1)
    assert speech_seconds(np.concatenate([said, said, said])) > 2.5 * alone


def test_speech_that_goes_on_takes_longer(heard: list[Heard]) -> None:
    one, two = heard[0].pcm, heard[1].pcm
    assert speech_seconds(np.concatenate([one, two])) > 1.5 * speech_seconds(one)
