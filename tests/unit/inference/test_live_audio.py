"""When the words so far of somebody who speaks are decoded."""

from itertools import count, pairwise
from types import SimpleNamespace

import pytest
from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_decoding import Utterance
from speechmodel_inference.live import LiveAudio
from speechmodel_inference.transcribing import Segment
from speechmodel_runtime import load
from support.places import FIXTURES

HIJO = FIXTURES / "clips" / "shapes_44f683a8_2_3_000000_6_002.wav"


@pytest.mark.parametrize("seconds, most, least", [(0.0, 0.6, 0.5), (1.2, 1.3, 1.2)])
def test_words_so_far_wait_for_as_much_new_speech_as_the_last_decoding_took(
    seconds: float, most: float, least: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = count(0, seconds)
    monkeypatch.setattr("speechmodel_inference.live.time", SimpleNamespace(monotonic=lambda: next(clock)))
    lengths = []

    def decode(utterance: Utterance) -> Segment:
        lengths.append(len(utterance.pcm) / SAMPLE_RATE)
        return Segment(0, 0, "espejo", (), (), (0, 0))

    live, pcm, piece = LiveAudio(SAMPLE_RATE), load(HIJO), SAMPLE_RATE // 20
    for start in range(0, len(pcm), piece):
        assert list(live.feed(pcm[start : start + piece].tobytes())) == []
        if live.due:
            assert live.words_so_far(decode) == "espejo"
    steps = [after - before for before, after in pairwise(lengths)]
    assert len(steps) >= 1
    assert all(least <= step <= most for step in steps), steps
