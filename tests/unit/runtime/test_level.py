"""Speech is brought to one loudness, whatever else is in the recording."""

import functools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_runtime import Pcm, level, loudness
from speechmodel_runtime import speech as find_speech

RATE = 16_000
LEVEL = -22.0
MOST_NOISE = 45
"""Largest sample of the noise that level() adds, 50 dB below LEVEL."""
SYLLABLES = (0.18, 0.09, 0.22, 0.12, 0.2, 0.15)


@functools.cache
def speech(seed: int = 0) -> np.ndarray:
    """One second of syllables of a voice: harmonics below 4 kHz that swell and fade, of other strengths."""
    random = np.random.default_rng(seed)
    parts = []
    for length in SYLLABLES:
        at = np.arange(int(length * RATE)) / RATE
        pitch = random.uniform(110, 220)
        voice = sum(np.sin(2 * np.pi * pitch * k * at + k) / k for k in range(1, int(4_000 / pitch)))
        parts.append(random.uniform(0.5, 1) * voice * np.sin(np.pi * at / length))
    joined: np.ndarray = np.concatenate(parts)
    joined /= np.abs(joined).max()
    return joined


def silence(seconds: float) -> np.ndarray:
    return np.zeros(int(seconds * RATE))


def noise(seconds: float, amplitude: float, seed: int = 1) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, amplitude, int(seconds * RATE))


def pcm(*parts: np.ndarray, gain: float = 0.3) -> Pcm:
    return np.clip(np.rint(np.concatenate(parts) * gain * 32_768), -32_768, 32_767).astype(np.int16)


def of_speech(samples: Pcm, start: float = 0.0) -> float:
    """The loudness of the second that begins at `start`, where the speech is."""
    found = loudness(samples[int(start * RATE) : int((start + 1) * RATE)])
    assert found is not None
    return found


@pytest.mark.parametrize("decibels", [12, 0, -12, -20, -32])
def test_a_recording_at_any_distance_gets_the_same_loudness(decibels: float) -> None:
    levelled = level(pcm(speech(), gain=0.2 * 10 ** (decibels / 20)), LEVEL)
    assert loudness(levelled) == pytest.approx(LEVEL, abs=0.1)
    assert np.abs(levelled - level(pcm(speech(), gain=0.2), LEVEL).astype(int)).max() < 400


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (silence(0), silence(0)),
        (silence(0.5), silence(0.5)),
        (silence(9), silence(20)),
        (noise(9, 0.01), noise(20, 0.01)),
        (noise(5, 0.03), silence(0)),
        (silence(3), noise(9, 0.01)),
    ],
    ids=["cut tightly", "half a second", "digital silence", "pauses of a room", "noise", "silence and a room"],
)
def test_pauses_do_not_change_the_loudness_of_the_words(before: np.ndarray, after: np.ndarray) -> None:
    levelled = level(pcm(before, speech(), after), LEVEL)
    assert of_speech(levelled, len(before) / RATE) == pytest.approx(of_speech(level(pcm(speech()), LEVEL)), abs=1.5)


@pytest.mark.parametrize("milliseconds", [1, 5, 40, 100])
def test_a_click_or_a_clunk_does_not_turn_the_words_down(milliseconds: int) -> None:
    bang = np.sign(noise(milliseconds / 1000, 1)) * 0.99
    levelled = level(pcm(speech() * 0.02, silence(0.5), bang, silence(0.3), gain=1), LEVEL)
    assert of_speech(levelled) == pytest.approx(LEVEL, abs=1.5)
    assert np.abs(levelled.astype(int)).max() <= 32_767


def test_a_clunk_is_turned_down_and_not_clipped() -> None:
    clunk = noise(0.1, 0.2) * np.hanning(1_600)
    levelled = level(pcm(speech() * 0.02, silence(0.5), clunk, silence(0.3), gain=1), LEVEL)
    assert of_speech(levelled) == pytest.approx(LEVEL, abs=1.5)
    loud = np.flatnonzero(np.abs(levelled.astype(int)) >= 32_760)
    assert len(loud) > 0 and (np.diff(loud) >= 20).all()


def test_hum_and_rumble_do_not_count() -> None:
    at = np.arange(3 * RATE) / RATE
    hum = 0.5 * np.sin(2 * np.pi * 50 * at)
    quiet = np.concatenate([silence(1), 0.1 * speech(), silence(3)])[: len(hum)]
    assert loudness(pcm(quiet + hum)) == pytest.approx(loudness(pcm(quiet)), abs=1)


@pytest.mark.parametrize(
    "steady",
    [silence(1), noise(1, 0.001), noise(3, 0.1), noise(30, 0.3), np.sin(np.arange(RATE) / 10)],
    ids=["digital silence", "faint noise", "noise", "loud noise", "tone"],
)
def test_nothing_but_faint_noise_changes_in_a_recording_without_speech(steady: np.ndarray) -> None:
    assert loudness(pcm(steady)) is None
    assert np.abs(level(pcm(steady), LEVEL).astype(int) - pcm(steady)).max() <= MOST_NOISE


def test_a_recording_too_faint_for_speech_is_not_blown_up() -> None:
    faint = pcm(speech(), gain=0.0004)
    assert np.abs(level(faint, LEVEL).astype(int) - faint).max() <= MOST_NOISE


def test_a_model_without_a_level_takes_recordings_as_they_are() -> None:
    assert np.array_equal(level(pcm(speech(), gain=0.01), None), pcm(speech(), gain=0.01))


def test_peaks_that_would_be_clipped_limit_the_gain() -> None:
    at = np.arange(2 * RATE)
    spikes = np.where(at % 400 == 0, np.where(at % 800 == 0, 1.0, 0.5), 0.0) * (at > RATE)
    levelled = level(pcm(spikes, gain=0.1), -6).astype(int)
    most_noise = MOST_NOISE * 10 ** ((-6 - LEVEL) / 20)
    assert levelled[spikes == 1].min() == pytest.approx(32_767, abs=most_noise)
    assert levelled.max() == 32_767
    assert levelled[spikes == 0.5].max() == pytest.approx(16_384, abs=most_noise)


def test_digital_silence_becomes_the_same_faint_noise_every_time() -> None:
    levelled = level(pcm(silence(1), speech(), silence(1)), LEVEL)
    assert 20 * np.log10(np.std(levelled[:RATE].astype(int)) / 32_768) == pytest.approx(LEVEL - 50, abs=0.2)
    assert np.array_equal(levelled, level(pcm(silence(1), speech(), silence(1)), LEVEL))
    assert levelled[:8].tolist() == [15, 3, 8, 18, 15, -8, 8, -1]


@pytest.mark.parametrize("samples", [1, 100, 512, 513, 831, 832])
def test_the_shortest_recordings_are_measured_too(samples: int) -> None:
    assert len(level(pcm(speech())[:samples], LEVEL)) == samples


@given(
    seed=st.integers(0, 50),
    gain=st.floats(0.005, 3),  # fainter recordings are noise after the first time
    before=st.floats(0, 3),
    room=st.floats(0, 0.2),
    spike=st.none() | st.integers(0, 15_000),
)
def test_levelling_again_changes_nothing_but_the_noise_and_nothing_is_clipped(
    seed: int, gain: float, before: float, room: float, spike: int | None
) -> None:
    mixed = np.concatenate([silence(before), speech(seed)])
    mixed = mixed + noise(len(mixed) / RATE + 1, room, seed)[: len(mixed)]
    given_pcm = pcm(mixed, gain=gain)
    if spike is not None:
        given_pcm[spike] = -32_768
    once = level(given_pcm, LEVEL)
    changed = np.abs(level(once, LEVEL).astype(int) - once)
    assert (changed <= MOST_NOISE + 0.012 * np.abs(once.astype(int))).all()
    full = np.abs(given_pcm.astype(int)) >= 32_767
    assert not (np.abs(once[~full].astype(int)) > 32_767).any()


@pytest.mark.parametrize(
    "parts",
    [
        (silence(0), speech(), silence(0)),
        (silence(1), speech(), silence(2)),
        (noise(1, 0.003), speech(), noise(1, 0.003)),
        (silence(1), speech(), silence(0.5), np.ones(20), silence(0.5)),
    ],
    ids=["alone", "in silence", "in noise", "before a click"],
)
def test_speech_is_as_long_as_it_is_without_what_surrounds_it(parts: tuple[np.ndarray, ...]) -> None:
    found = find_speech(pcm(*parts))
    assert found is not None
    assert found.seconds == pytest.approx(len(speech()) / RATE, abs=0.15)


def test_a_pause_between_words_belongs_to_speech() -> None:
    found = find_speech(pcm(silence(0.5), speech(), silence(1), speech(), silence(0.5)))
    assert found is not None and found.seconds == pytest.approx(1 + 2 * len(speech()) / RATE, abs=0.15)


def test_noise_is_no_speech() -> None:
    assert find_speech(pcm(noise(2, 0.1))) is None
