"""Augmented clips, and the silence that training expects before speech."""

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import given, settings
from hypothesis import strategies as st
from speechmodel_api.audio import SAMPLE_RATE, SPEECH_LEVEL, STRIDE, WINDOW, frame_count
from speechmodel_api.augmentation import PARAMETERS, parse
from speechmodel_runtime import save
from speechmodel_runtime.level import FLOOR
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_training.augmentation import AUTO, AugmentedClip, Augmenter
from speechmodel_training.augmentation.automatic import chosen
from speechmodel_training.batches import BatchMaker
from speechmodel_training.features import Samples, clip_features, read_samples
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.network import Geometry, logits
from speechmodel_training.onset import detect_speech

from .conftest import ALPHABET, FIXTURES, UNCHANGED


def augmenter(*entries: str, seed: int = 1, max_epochs: int = 1, voices: tuple[Path, ...] = ()) -> Augmenter:
    return Augmenter([parse(entry) for entry in entries], seed=seed, max_epochs=max_epochs, voices=voices)


@pytest.fixture(scope="module")
def voices() -> tuple[Path, ...]:
    return tuple(sorted((FIXTURES / "clips").iterdir())[:6])


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


@settings(max_examples=50, deadline=None)
@given(length=st.integers(WINDOW, 3000), seed=st.integers(0, 2**31))
def test_the_silence_before_speech_is_shorter_than_any_clip(length: int, seed: int) -> None:
    samples = np.random.default_rng(seed).integers(-(2**15), 2**15, length).astype(np.int16)
    augmented = Augmenter(tuple(map(parse, chosen("Auto"))), seed=seed).augment(samples, clip=0, epoch=0)
    assert 0 <= augmented.leading_silence < len(augmented.features)
    assert np.isfinite(augmented.features).all()


def same(one: AugmentedClip, other: AugmentedClip) -> bool:
    return one.leading_silence == other.leading_silence and np.array_equal(one.features, other.features)


IN_TIME = {"speed", "tempo", "warp", "pause_before", "pause_after"}


@pytest.mark.parametrize("name", PARAMETERS)
def test_versions_of_a_clip_differ_but_in_time(name: str, voices: tuple[Path, ...]) -> None:
    drawn = {
        "volume": "volume[dbfs=-20~10]",
        "resample": "resample[rate=8000~2000]",
        "codec": "codec[bitrate=40000~24000]",
        "tempo": "tempo[factor=1.2~0.1]",
    }
    chain = augmenter(drawn.get(name, name), max_epochs=9, voices=voices)
    clip = recording(silence=0.2)
    pairs = [[chain.augment(clip, clip=n, epoch=3, version=version) for version in (0, 1)] for n in range(4)]
    assert all(len(first.features) == len(second.features) for first, second in pairs)
    assert all(first.leading_silence == second.leading_silence for first, second in pairs)
    assert all(same(first, second) for first, second in pairs) == (name in IN_TIME)


@pytest.mark.parametrize("name", PARAMETERS)
def test_every_augmentation_repeats_itself_and_differs_between_clips_epochs_and_seeds(
    name: str, voices: tuple[Path, ...]
) -> None:
    clip = recording(silence=0.2)
    drawn = {
        "volume": "volume[dbfs=-20~10]",
        "resample": "resample[rate=8000~2000]",
        "codec": "codec[bitrate=40000~24000]",
    }
    entry = drawn.get(name) or {"tempo": "tempo[factor=1.2~0.1]", "warp": "warp[wt=0.5,wf=0.5]"}.get(name, name)

    def made(seed: int, clip_number: int, epoch: int) -> AugmentedClip:
        chain = augmenter(entry, seed=seed, max_epochs=5, voices=voices)
        augmented = chain.augment(clip, clip=clip_number, epoch=epoch)
        assert len(augmented.features) == chain.frames(len(clip), clip=clip_number, epoch=epoch)
        return augmented

    first = made(7, 0, 3)
    assert same(first, made(7, 0, 3))
    for others in (
        [made(7, n, 3) for n in (1, 2, 3)],
        [made(7, 0, n) for n in (0, 1, 2)],
        [made(n, 0, 3) for n in (1, 2, 3)],
    ):
        assert not all(same(first, other) for other in others)  # an mp3 has few bit rates
    assert not np.array_equal(first.features, clip_features(clip))


def test_an_augmentation_changes_the_share_of_clips_that_p_says() -> None:
    clip = recording(silence=0)
    chain = augmenter("pause_before[p=0.3,duration=20]")
    changed = [chain.frames(len(clip), clip=number, epoch=0) > frame_count(len(clip)) for number in range(2000)]
    assert np.mean(changed) == pytest.approx(0.3, abs=0.04)


def test_the_share_of_changed_clips_can_grow_from_the_first_epoch_to_the_last() -> None:
    clip, chain = recording(silence=0), augmenter("pause_before[p=0:1,duration=20]", max_epochs=3)
    shares = [
        np.mean([chain.frames(len(clip), clip=number, epoch=epoch) > frame_count(len(clip)) for number in range(500)])
        for epoch in range(3)
    ]
    assert shares == [0, pytest.approx(0.5, abs=0.1), 1]


def test_a_range_reaches_its_end_in_the_last_epoch_and_stays_there() -> None:
    chain = augmenter("pause_after[duration=0:800]", max_epochs=5)
    added = [chain.frames(16000, clip=0, epoch=epoch) - frame_count(16000) for epoch in (0, 1, 2, 4, 9)]
    assert added == [0, 10, 20, 40, 40]
    assert augmenter("pause_after[duration=0:800]").frames(16000, clip=0, epoch=0) == frame_count(16000) + 40


def test_pauses_are_whole_frames_of_digital_silence_around_an_untouched_clip() -> None:
    clip, chain = recording(silence=0.2), augmenter("pause_before", "pause_after")
    before = set()
    for number in range(100):
        sound = chain.sound(clip, clip=number, epoch=0)
        samples = np.rint(sound.samples * 32768).astype(np.int16)
        paused = round(sound.onset / STRIDE) - detect_speech(clip).onset
        before.add(paused)
        start = paused * STRIDE
        np.testing.assert_array_equal(samples[start : start + len(clip)], clip)
        assert not samples[:start].any()
        assert not samples[start + len(clip) :].any()
    assert min(before) <= 2
    assert max(before) >= 39


@pytest.mark.parametrize("gain", [0.05, 1, 5])
@pytest.mark.parametrize("clunk", [0, 12_000])
@pytest.mark.parametrize("entry", ["noise[snr=50~25]", "hum[snr=50~25]", "overlay[snr=50~25,layers=3]"])
def test_noise_is_fainter_than_the_speech_however_loud_that_or_the_handset_is(
    entry: str, gain: float, clunk: int, voices: tuple[Path, ...]
) -> None:
    clip = (gain * recording(silence=0, noise=0).astype(np.float32)).astype(np.int16)
    loudness = 20 * np.log10(np.std(clip) / 32768)
    clip = np.append(clip, np.tile([clunk, -clunk], 1200).astype(np.int16))  # 0.15 s
    chain = augmenter(entry, voices=voices)
    noises = [chain.sound(clip, clip=number, epoch=0).samples - clip / 32768 for number in range(60)]
    below = loudness - 20 * np.log10([np.std(noise) + 1e-9 for noise in noises])
    assert 21 < below.min() < 31
    assert np.mean(below > 40) > 0.5


def test_babble_is_made_of_other_clips_than_the_one_that_speaks(voices: tuple[Path, ...]) -> None:
    clip = read_samples(voices[0])
    alone = augmenter("overlay[snr=0,layers=1]", voices=voices[:1])
    np.testing.assert_array_equal(alone.augment(clip, clip=0, epoch=0).features, clip_features(clip))
    both = augmenter("overlay[snr=0,layers=1]", voices=voices[:2])
    for epoch in range(5):
        babble = both.sound(clip, clip=0, epoch=epoch).samples - clip / 32768
        other = np.resize(read_samples(voices[1]), 3 * len(babble)) / 32768.0
        spectrum = np.fft.rfft(other) * np.conj(np.fft.rfft(babble, len(other)))
        alike = np.fft.irfft(spectrum).max() / np.sqrt((babble**2).sum() * (other[: len(babble)] ** 2).sum())
        assert alike > 0.5


@pytest.mark.parametrize("entry, times", [("speed[factor=1.25]", 1.25), ("speed[factor=0.8]", 0.8)])
def test_speed_moves_pitch_and_length_together(entry: str, times: float) -> None:
    clip = recording(silence=0.25, noise=0)
    sound = augmenter(entry).sound(clip, clip=0, epoch=0)
    assert len(sound.samples) == round(len(clip) / times)
    assert loudest_hz(sound.samples) == pytest.approx(300 * times, abs=3)
    assert sound.onset / SAMPLE_RATE == pytest.approx(0.25 / times, abs=0.05)


def loudest_hz(samples: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(samples)).argmax() * SAMPLE_RATE / len(samples))


def test_the_silence_before_speech_follows_tempo() -> None:
    clip = recording(silence=1)
    slow, fast = (augmenter(f"tempo[factor={factor}]").augment(clip, clip=0, epoch=0) for factor in (0.5, 2))
    assert slow.leading_silence == pytest.approx(2 * detect_speech(clip).onset, abs=2)
    assert fast.leading_silence == pytest.approx(detect_speech(clip).onset / 2, abs=2)
    assert len(slow.features) == pytest.approx(4 * len(fast.features), abs=4)


def test_a_telephone_line_and_resampling_leave_nothing_above_four_kilohertz() -> None:
    noise = np.random.default_rng(0).normal(0, 3000, SAMPLE_RATE).astype(np.int16)

    def above(entry: str) -> float:
        spectrum = np.abs(np.fft.rfft(augmenter(entry).sound(noise, clip=0, epoch=0).samples)) ** 2
        return float(spectrum[4200:].sum() / spectrum.sum())

    assert above("gain[db=0]") > 0.4
    assert above("telephone") < 0.001
    assert above("resample") < 0.001


@pytest.mark.parametrize("bitrate", [16000, 32000, 160000])
def test_a_codec_neither_delays_nor_cuts_a_clip(bitrate: int, voices: tuple[Path, ...]) -> None:
    clip = read_samples(voices[0])
    original = clip.astype(np.float32) / 32768
    coded = augmenter(f"codec[bitrate={bitrate}]").sound(clip, clip=0, epoch=0).samples
    assert len(coded) == len(clip)
    lags = range(-1200, 1201)
    alike = [float(np.dot(np.roll(coded, lag), original)) for lag in lags]
    assert lags[int(np.argmax(alike))] == 0
    assert 0 < np.std(coded - original) < 0.3 * np.std(original)


def test_level_is_changed_by_gain_and_set_by_volume() -> None:
    clip = recording(silence=0)
    quieter = augmenter("gain[db=-20]").sound(clip, clip=0, epoch=0).samples
    assert np.std(quieter) == pytest.approx(np.std(clip / 32768) / 10, rel=0.01)
    assert np.abs(augmenter("volume").sound(clip, clip=0, epoch=0).samples).max() == pytest.approx(1, abs=1e-3)
    set_to = augmenter("volume[dbfs=-17]").sound(clip, clip=0, epoch=0).samples
    assert np.abs(set_to).max() == pytest.approx(0.1, abs=1e-3)


def test_echoes_change_a_clip_but_not_its_loudness() -> None:
    clip = recording(silence=0.2)
    echoed = augmenter("reverb[delay=50,decay=2]").sound(clip, clip=0, epoch=0).samples
    assert np.std(echoed) == pytest.approx(np.std(clip / 32768), rel=0.02)
    assert np.abs(echoed - clip / 32768).max() > 0.01


def test_the_silence_before_speech_leaves_enough_frames_for_the_transcript(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    save(path, recording(silence=1.5))
    short, long = (Clip(path, text, Part.TRAIN) for text in ("a", "ae" * 25))
    batch = BatchMaker([short, long], ALPHABET, UNCHANGED).make((0, 1))
    onset, frames = detect_speech(recording(silence=1.5)).onset, int(batch.frames[0])
    assert list(np.asarray(batch.leading_silence)) == [onset, frames - 2 * len(long.transcript)]


def test_speech_made_faster_keeps_the_frames_that_its_transcript_needs(tmp_path: Path) -> None:
    path = tmp_path / "a.wav"
    save(path, recording(silence=0))
    clip = Clip(path, "ae" * 20, Part.TRAIN)
    batches = BatchMaker([clip], ALPHABET, augmenter("tempo[factor=2]"))
    assert batches.lengths() == [40]
    assert int(batches.make((0,)).frames[0]) == clip.frames_needed == 40


def test_a_clip_as_loud_as_can_be_is_limited_and_does_not_wrap() -> None:
    clip, chain = np.full(SAMPLE_RATE, 2**15 - 1, np.int16), augmenter("noise[snr=20]", "gain[db=6]")
    for number in range(20):
        samples = chain.sound(clip, clip=number, epoch=0).samples
        assert 0 < samples.min() <= samples.max() < 1


def test_a_batch_holds_augmented_clips(voices: tuple[Path, ...]) -> None:
    chain = augmenter("pause_before", "speed", "tempo")
    batches = BatchMaker([Clip(voices[0], "a", Part.TRAIN)] * 8, ALPHABET, chain)
    augmented = chain.augment(read_samples(voices[0]), clip=5, epoch=2)
    batch = batches.make((5,), epoch=2)
    np.testing.assert_array_equal(batch.features[0], augmented.features)
    assert int(batch.leading_silence[0]) == augmented.leading_silence > 0
    assert batches.lengths(epoch=2)[5] == len(batch.features[0])
    (streamed,) = batches.stream([(5,)], epoch=2)
    np.testing.assert_array_equal(streamed.features, batch.features)


def test_without_augmentation_a_clip_stays_as_it_is() -> None:
    clip = recording(silence=0.2)
    augmented = UNCHANGED.augment(clip, clip=0, epoch=0)
    np.testing.assert_array_equal(augmented.features, clip_features(clip))
    assert augmented.leading_silence == detect_speech(clip).onset


def test_auto_is_a_list_that_anybody_could_write() -> None:
    assert chosen("Auto") == chosen(AUTO)
    assert {"overlay", "noise", "hum", "gain", "telephone", "codec", "speed", "pitch", "pause_before"} <= {
        parse(entry).name for entry in chosen("Auto")
    }
    assert chosen(()) == ()


def test_auto_adds_the_noise_that_every_recording_has_when_it_is_decoded() -> None:
    """Pauses of training are digital silence, and those of recordings are not: level() adds noise."""
    noise = next(entry for entry in map(parse, chosen("Auto")) if entry.name == "add")
    assert noise.domain == "signal"
    assert noise.parameters["stddev"].start == pytest.approx(10 ** ((SPEECH_LEVEL - FLOOR) / 20), rel=0.02)


@pytest.mark.training
def test_training_leaves_silence_before_speech_silent() -> None:
    """Compares the share of the blank in half a second of silence with training that ignores the
    silence.
    """

    def blank_in_silence(silence: int) -> float:
        model = Learner(Geometry(16, len(ALPHABET)), seed=1, learning_rate=0.003, dropout=0)
        features = tf.constant(clip_features(recording(silence=0.5))[None])
        frames = tf.constant([features.shape[1]], tf.int32)
        batch = Batch(features, frames, tf.constant([silence]), tf.sparse.from_dense([[3, 4, 5, 6]]), transcripts=("",))
        for _ in range(80):
            model.train(batch)
        weights = {name: tf.constant(value) for name, value in model.tensors().items() if value.ndim}
        return float(tf.reduce_mean(tf.nn.softmax(logits(weights, features))[:24, 0, -1]))

    assert blank_in_silence(24) > 0.97
    assert blank_in_silence(0) < 0.9
