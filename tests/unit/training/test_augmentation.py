"""Pauses and noise around clips, and the silence that training expects before speech."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_api.audio import SAMPLE_RATE, STRIDE, WINDOW, frame_count
from speechmodel_runtime import save
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_training.augmentation import LONGEST_PAUSE, Augmentation
from speechmodel_training.batches import BatchMaker
from speechmodel_training.features import Samples, clip_features, read_samples
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.network import Geometry, logits
from speechmodel_training.onset import detect_speech

from .conftest import ALPHABET, FIXTURES, UNCHANGED

PAUSES, NOISE = Augmentation(seed=1, paused=1, noisy=0), Augmentation(seed=1, paused=0, noisy=1)


def recording(*, silence: float, noise: float = 20, click: bool = False) -> Samples:
    """A second of a loud, changing sound after `silence` seconds of white noise, `noise` strong,
    which lasts.
    """
    chance = np.random.default_rng(1)
    seconds = np.arange(SAMPLE_RATE) / SAMPLE_RATE
    sound = 4000 * np.sin(2 * np.pi * 300 * seconds) * (0.6 + 0.4 * np.sin(2 * np.pi * 4 * seconds))
    samples = np.concatenate([np.zeros(round(silence * SAMPLE_RATE)), sound])
    samples += noise * chance.standard_normal(len(samples))
    if click:
        samples[1000:1040] += 20_000
    return samples.astype(np.int16)


@pytest.mark.parametrize("silence", [0.1, 0.5, 1.5])
@pytest.mark.parametrize("noise", [0, 20, 400])
def test_silence_ends_where_speech_begins(silence: float, noise: float) -> None:
    onset = silence * SAMPLE_RATE / STRIDE
    assert detect_speech(recording(silence=silence, noise=noise)).onset == pytest.approx(onset, abs=2)


def test_a_click_is_not_speech() -> None:
    quiet, clicked = (detect_speech(recording(silence=0.5, click=click)).onset for click in (False, True))
    assert clicked == quiet > 20


def test_a_clip_that_begins_at_once_has_no_silence() -> None:
    assert detect_speech(recording(silence=0)).onset <= 1


@pytest.mark.parametrize("level", [0, 500])
def test_a_clip_in_which_nothing_stands_out_is_not_called_silent(level: int) -> None:
    assert detect_speech(np.full(SAMPLE_RATE, level, np.int16)).onset == 0


@settings(max_examples=50)
@given(length=st.integers(WINDOW, 3000), seed=st.integers(0, 2**31))
def test_the_silence_before_speech_is_shorter_than_any_clip(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-(2**15), 2**15, length).astype(np.int16)
    augmented = Augmentation(seed).augment(samples, clip=0, epoch=0)
    assert 0 <= augmented.leading_silence < frame_count(len(augmented.samples))


def test_augmentation_is_the_same_after_a_restart_and_another_in_the_next_epoch() -> None:
    clip = recording(silence=0.2)

    def sounds(seed: int, epoch: int) -> list[bytes]:
        return [Augmentation(seed).augment(clip, clip=number, epoch=epoch).samples.tobytes() for number in range(8)]

    assert sounds(seed=7, epoch=3) == sounds(seed=7, epoch=3)
    assert len({*sounds(seed=7, epoch=3), *sounds(seed=7, epoch=4), *sounds(seed=8, epoch=3)}) > 20


def test_pauses_are_whole_frames_of_digital_silence_around_an_untouched_clip() -> None:
    clip = recording(silence=0.2)
    before = set()
    for number in range(200):
        augmented = PAUSES.augment(clip, clip=number, epoch=0)
        paused = augmented.leading_silence - detect_speech(clip).onset
        before.add(paused)
        start = paused * STRIDE
        np.testing.assert_array_equal(augmented.samples[start : start + len(clip)], clip)
        assert not augmented.samples[:start].any()
        assert not augmented.samples[start + len(clip) :].any()
    assert min(before) == 1
    assert max(before) == LONGEST_PAUSE


def test_half_of_the_clips_get_a_pause_on_a_side() -> None:
    clip, augmentation = recording(silence=0), Augmentation(seed=1, noisy=0)
    added = [len(augmentation.augment(clip, clip=number, epoch=0).samples) - len(clip) for number in range(1000)]
    assert np.mean([samples == 0 for samples in added]) == pytest.approx(0.25, abs=0.04)


@pytest.mark.parametrize("gain", [0.05, 1, 5])
@pytest.mark.parametrize("clunk", [0, 12_000])
def test_noise_is_fainter_than_the_speech_however_loud_that_or_the_handset_is(gain: float, clunk: int) -> None:
    clip = (gain * recording(silence=0, noise=0).astype(np.float32)).astype(np.int16)
    loudness = 20 * np.log10(np.std(clip))
    clip = np.append(clip, np.tile([clunk, -clunk], 1200).astype(np.int16))  # 0.15 s
    noises = [NOISE.augment(clip, clip=number, epoch=0).samples - clip.astype(np.float32) for number in range(100)]
    below = loudness - 20 * np.log10([np.std(noise) + 1e-9 for noise in noises])
    assert 21 < below.min() < 29
    assert np.mean(below > 40) > 0.6


def test_the_silence_before_speech_leaves_enough_frames_for_the_transcript(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    save(path, recording(silence=1.5))
    short, long = (Clip(path, text, Part.TRAIN) for text in ("a", "ae" * 25))
    batch = BatchMaker([short, long], ALPHABET, UNCHANGED).make((0, 1))
    onset, frames = detect_speech(recording(silence=1.5)).onset, int(batch.frames[0])
    assert list(np.asarray(batch.leading_silence)) == [onset, frames - 2 * len(long.transcript)]


def test_a_clip_as_loud_as_can_be_is_limited_and_does_not_wrap() -> None:
    clip = np.full(SAMPLE_RATE, 2**15 - 1, np.int16)
    for number in range(20):
        assert NOISE.augment(clip, clip=number, epoch=0).samples.min() > 0


def test_a_batch_holds_augmented_clips() -> None:
    path = sorted((FIXTURES / "clips").iterdir())[0]
    batches = BatchMaker([Clip(path, "a", Part.TRAIN)] * 8, ALPHABET, PAUSES)
    augmented = PAUSES.augment(read_samples(path), clip=5, epoch=2)
    batch = batches.make((5,), epoch=2)
    np.testing.assert_array_equal(batch.features[0], clip_features(augmented.samples))
    assert int(batch.leading_silence[0]) == augmented.leading_silence > 0
    assert batches.lengths(epoch=2)[5] == sum(PAUSES.pauses(5, epoch=2)) + clip_frames(path) == len(batch.features[0])
    (streamed,) = batches.stream([(5,)], epoch=2)
    np.testing.assert_array_equal(streamed.features, batch.features)


def clip_frames(path: Path) -> int:
    return frame_count(len(read_samples(path)))


def test_without_pauses_and_noise_a_clip_stays_as_it_is() -> None:
    clip = recording(silence=0.2)
    np.testing.assert_array_equal(UNCHANGED.augment(clip, clip=0, epoch=0).samples, clip)


@pytest.mark.training
def test_training_leaves_silence_before_speech_silent() -> None:
    """Compares the share of the blank in half a second of silence with training that ignores the
    silence.
    """

    def blank_in_silence(silence: int) -> float:
        model = Learner(Geometry(16, len(ALPHABET)), seed=1, learning_rate=0.003, dropout=0)
        features = tf.constant(clip_features(recording(silence=0.5))[None])
        frames = tf.constant([features.shape[1]], tf.int32)
        batch = Batch(features, frames, tf.constant([silence]), tf.sparse.from_dense([[3, 4, 5, 6]]), clips=1)
        for _ in range(80):
            model.train(batch)
        weights = {name: tf.constant(value) for name, value in model.tensors().items() if value.ndim}
        return float(tf.reduce_mean(tf.nn.softmax(logits(weights, features))[:24, 0, -1]))

    assert blank_in_silence(24) > 0.97
    assert blank_in_silence(0) < 0.9
