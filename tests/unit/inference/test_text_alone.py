"""Free text of which the text alone is wanted, as while somebody speaks."""

from collections.abc import Callable, Iterator
from typing import cast

import numpy as np
import pytest
from speechmodel_api.stages.decoders import TextConfidence
from speechmodel_decoding import AcousticModel, BeamSearch, LogProbabilities, Spelling, TextJudge, TextScorer
from speechmodel_inference.decoders import DecodingOptions, NativeFreeText
from speechmodel_runtime import Pcm

CONFIDENCES = TextConfidence(offset=0.0, slope=0.0, word_offset=0.0, word_slope=0.0)


class Network:
    def blocks(self, pcm: Pcm) -> Iterator[LogProbabilities]:
        yield np.zeros((10, 4), np.float32)


class Search:
    def spell_several(self, frames: LogProbabilities, most: int, interrupt: Callable[[], None]) -> list[Spelling]:
        return [Spelling(("a", "b"), (1, 2))]


class Scorer:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def score(self, frames: LogProbabilities, text: str, times: object) -> float:
        self.asked.append("text")
        return -1.0

    def word_scores(self, frames: LogProbabilities, text: str) -> list[float]:
        self.asked.append("words")
        return [-1.0]


@pytest.mark.parametrize(
    "threshold, alone, text, asked",
    [
        (None, False, "ab", ["text", "words"]),
        (None, True, "ab", []),
        (-2.0, True, "ab", ["text"]),
        (-0.5, True, "", ["text"]),
    ],
)
def test_a_text_is_scored_only_to_reject_it(threshold: float | None, alone: bool, text: str, asked: list[str]) -> None:
    scorer = Scorer()
    judge = TextJudge(cast(TextScorer, scorer), threshold, CONFIDENCES)
    decoder = NativeFreeText(cast(AcousticModel, Network()), cast(BeamSearch, Search()), judge, frozenset("ab"))
    options = DecodingOptions().of_text_alone if alone else DecodingOptions()
    decoded = decoder.decode(np.zeros(16_000, np.int16), name="speech", options=options)
    assert (decoded.text, scorer.asked, len(decoded.candidates)) == (text, asked, 0 if alone else 1)
