"""Cutting at pauses."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pytest
from speechmodel_decoding import Cutter, Utterance, cut_at_pauses, decode_short
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES

CLIPS = sorted((FIXTURES / "clips").glob("*.wav"))
RATE = 16_000


def noise(seconds: float, loudness: float = 20) -> Pcm:
    return np.random.default_rng(0).normal(0, loudness, round(seconds * RATE)).astype(np.int16)


def spoken(*parts: Pcm) -> Pcm:
    return np.concatenate(parts)


def within(pcm: Pcm) -> Pcm:
    """Return a clip without the silence around its speech."""
    loud = np.flatnonzero(np.abs(pcm.astype(int)) > 500)
    return pcm[loud[0] : loud[-1]]


@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_a_phrase_is_one_utterance(clip: Path) -> None:
    pcm = load(clip)
    (one,) = cut_at_pauses(pcm)
    assert one.start_seconds == 0
    assert np.array_equal(one.pcm, pcm[: len(one.pcm)])
    assert within(one.pcm).tobytes() == within(pcm).tobytes(), "all of the speech is kept"


@pytest.mark.parametrize("silence", [0.3, 0.5, 0.7, 5])
def test_the_silence_before_the_end_changes_nothing(silence: float) -> None:
    phrase = spoken(within(load(CLIPS[0])), noise(0.5))
    (one,), (longer,) = cut_at_pauses(phrase), cut_at_pauses(spoken(phrase, noise(silence)))
    assert one.pcm.tobytes() == longer.pcm.tobytes()


def test_the_audio_may_end_before_the_margin() -> None:
    phrase = within(load(CLIPS[0]))
    assert len(phrase) % 512, "the end of the audio is no whole chunk"
    (one,) = cut_at_pauses(phrase)
    assert one.pcm.tobytes() == phrase.tobytes()


def test_what_ends_an_utterance_is_known_as_soon_as_its_margin_is_over() -> None:
    cutter = Cutter()
    phrase, silence = within(load(CLIPS[0])), noise(0.6)
    assert list(cutter.feed(phrase)) == []
    assert not cutter.settled
    assert list(cutter.feed(silence[: RATE // 2])) == []
    assert cutter.settled
    settled = cutter.current
    assert list(cutter.feed(silence[RATE // 2 :])) == []
    assert settled is not None and cutter.samples == len(settled.pcm)
    (ended,) = cutter.feed(noise(0.3))
    assert (ended.start_seconds, ended.pcm.tobytes()) == (settled.start_seconds, settled.pcm.tobytes())
    assert not cutter.settled


def test_somebody_who_speaks_again_unsettles_an_utterance() -> None:
    cutter = Cutter()
    phrase = spoken(within(load(CLIPS[0])), noise(0.4))
    list(cutter.feed(phrase))
    before = cutter.current
    assert before is not None and cutter.settled and cutter.silent
    list(cutter.feed(within(load(CLIPS[5]))[: RATE // 2]))
    assert not cutter.settled
    assert not cutter.silent
    now = cutter.current
    assert now is not None and len(now.pcm) > len(before.pcm)
    assert now.pcm[: len(phrase)].tobytes() == phrase.tobytes(), "the pause is in it"


@pytest.mark.parametrize("pause", [1.0, 2.0])
def test_phrases_with_a_pause_between_them_are_two(pause: float) -> None:
    first, second = load(CLIPS[0]), load(CLIPS[5])
    found = cut_at_pauses(spoken(first, noise(pause), second))
    assert len(found) == 2
    before, behind = found
    assert before.end_seconds <= behind.start_seconds
    assert before.end_seconds >= len(first) / RATE - 0.3, "the first phrase is whole"
    assert behind.start_seconds <= len(first) / RATE + pause, "the second phrase is whole"


def test_a_short_pause_cuts_nothing() -> None:
    first, second = (within(load(CLIPS[number])) for number in (0, 5))
    assert len(cut_at_pauses(spoken(first, noise(0.3), second))) == 1


def test_a_pause_may_be_shorter_or_longer_than_by_default() -> None:
    first, second = (within(load(CLIPS[number])) for number in (0, 5))
    short, long = spoken(first, noise(0.4), second), spoken(first, noise(1), second)
    cutter = Cutter(pause_seconds=0.2)
    before, behind = (*cutter.feed(short), *cutter.finish())
    assert before.end_seconds <= behind.start_seconds
    assert np.array_equal(before.pcm, short[: len(before.pcm)])
    start = round(behind.start_seconds * RATE)
    assert np.array_equal(behind.pcm, short[start : start + len(behind.pcm)])
    cutter = Cutter(pause_seconds=2)
    assert len([*cutter.feed(long), *cutter.finish()]) == 1


def test_a_higher_threshold_takes_less_for_speech() -> None:
    faint = spoken(noise(1), (load(CLIPS[0]) * 0.005).astype(np.int16), noise(1))
    least, most = Cutter(begins=0.1), Cutter(begins=0.9)
    heard = [len([*cutter.feed(faint), *cutter.finish()]) for cutter in (least, most)]
    assert heard == [1, 0]


in_noise = pytest.mark.parametrize(
    "nothing",
    [
        np.zeros(3 * RATE, np.int16),
        noise(3),
        noise(3, 3000),
        (3000 * np.sin(np.arange(3 * RATE) / 50)).astype(np.int16),
    ],
    ids=["silence", "faint noise", "loud noise", "tone"],
)


@in_noise
def test_nobody_speaks_in_noise(nothing: Pcm) -> None:
    assert cut_at_pauses(nothing) == []


@in_noise
def test_noise_has_no_answer_even_if_a_phrase_fits_it(nothing: Pcm) -> None:
    assert decode_short(nothing, lambda _: "a phrase", bool) == []


@pytest.mark.parametrize("gain", [1, 0.1], ids=["as it is", "20 dB fainter"])
@pytest.mark.parametrize("clip", CLIPS, ids=lambda clip: clip.stem)
def test_a_command_is_decoded_as_one_however_faint(clip: Path, gain: float) -> None:
    pcm = np.rint(load(clip) * gain).astype(np.int16)
    (whole,) = decode_short(pcm, lambda utterance: utterance, lambda _: False)
    assert (whole.start_seconds, whole.pcm.tobytes()) == (0, pcm.tobytes())


def test_silence_around_a_phrase_is_dropped() -> None:
    (one,) = cut_at_pauses(spoken(noise(5), load(CLIPS[0]), noise(5)))
    assert one.start_seconds == pytest.approx(5 - 0.3, abs=0.35)
    assert len(one.pcm) / RATE < len(load(CLIPS[0])) / RATE + 1.2


def pieces(pcm: Pcm, sizes: Sequence[int]) -> Iterator[Pcm]:
    start, turn = 0, 0
    while start < len(pcm):
        size = sizes[turn % len(sizes)]
        yield pcm[start : start + size]
        start, turn = start + size, turn + 1


def test_the_size_of_the_pieces_changes_nothing() -> None:
    pcm = spoken(noise(1), load(CLIPS[0]), noise(1), load(CLIPS[5]), noise(1))
    for sizes in ([1, 700, 31], [320], [len(pcm)]):
        cutter = Cutter()
        found: list[Utterance] = []
        for piece in pieces(pcm, sizes):
            found += cutter.feed(piece)
        found += cutter.finish()
        assert [(one.start_seconds, one.pcm.tobytes()) for one in found] == [
            (one.start_seconds, one.pcm.tobytes()) for one in cut_at_pauses(pcm)
        ]


def test_an_utterance_is_known_once_its_pause_is_over_and_before_the_audio_ends() -> None:
    cutter = Cutter()
    assert list(cutter.feed(load(CLIPS[0]))) == []
    assert cutter.current is not None
    assert len(list(cutter.feed(noise(1)))) == 1
    assert cutter.current is None
    assert list(cutter.finish()) == []


@pytest.mark.slow
def test_speech_without_a_pause_is_cut_and_every_sample_of_it_is_kept() -> None:
    pcm = spoken(*[load(clip)[2000:-2000] for clip in CLIPS] * 3, within(load(CLIPS[0])))
    found = cut_at_pauses(pcm)
    assert len(found) > 1
    assert max(len(one.pcm) for one in found) <= 30 * RATE
    assert np.array_equal(np.concatenate([one.pcm for one in found]), pcm)
