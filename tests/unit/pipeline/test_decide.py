"""The answers that evaluate counts are those of a server."""

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
from speechmodel_decoding import Candidate, Decision, Recogniser, Utterance
from speechmodel_pipeline.evaluate import grammar
from speechmodel_runtime import Pcm

SHORT, LONG = np.zeros(16_000, np.int16), np.zeros(11 * 16_000, np.int16)
FIRST, SECOND = np.full(5000, 1, np.int16), np.full(6000, 2, np.int16)


def heard(text: str, score: float) -> Decision:
    return Decision(text if score > -1 else "", (Candidate(text, score, 0.5 + score / 10, (), {}, "Play"),))


class Scripted:
    """Gives a decision for each length of the samples."""

    def __init__(self, decisions: dict[int, Decision]) -> None:
        self.decisions = decisions

    def recognise(self, pcm: Pcm) -> Decision:
        return self.decisions[len(pcm)]


Decide = Callable[[Pcm, dict[int, Decision]], Decision]


@pytest.fixture
def decide(monkeypatch: pytest.MonkeyPatch) -> Decide:
    """Decide on a recording with a pause between FIRST and SECOND."""
    for module in ("speechmodel_decoding.utterances", "speechmodel_pipeline.evaluate.grammar"):
        monkeypatch.setattr(f"{module}.cut_at_pauses", lambda pcm: [Utterance(0.0, FIRST), Utterance(0.6, SECOND)])
    return lambda pcm, decisions: grammar.decide(cast(Recogniser, Scripted(decisions)), pcm, None)


def test_a_phrase_that_fits_the_whole_recording_is_the_answer(decide: Decide) -> None:
    whole = heard("ok espejo", -0.2)
    assert decide(SHORT, {len(SHORT): whole}) is whole


def test_a_rejected_recording_is_cut_and_its_parts_may_be_accepted(decide: Decide) -> None:
    parts = {len(FIRST): heard("pon", -0.4), len(SECOND): heard("para", -0.1)}
    answer = decide(SHORT, {len(SHORT): heard("ok", -3)} | parts)
    assert (answer.text, answer.candidates[0].text, answer.candidates[0].score) == ("pon para", "pon para", -0.4)
    assert answer.candidates[0].intent is None, "several phrases have no intent in common"
    one = decide(SHORT, {len(SHORT): heard("ok", -3)} | parts | {len(FIRST): heard("pon", -2)})
    assert (one.text, one.candidates[0].score) == ("para", -0.1)
    assert one.candidates[0].intent == "Play"


def test_a_recording_in_which_nobody_speaks_has_no_answer_even_if_a_phrase_fits_it() -> None:
    fits = cast(Recogniser, Scripted({len(SHORT): heard("ok espejo", -0.2)}))
    assert grammar.decide(fits, SHORT, None) == Decision("", ())


def test_a_long_recording_is_always_cut(decide: Decide) -> None:
    parts = {len(FIRST): heard("pon", -0.4), len(SECOND): heard("para", -0.1)}
    assert decide(LONG, {len(LONG): heard("ok", -0.1)} | parts).text == "pon para"


def test_the_best_phrase_of_rejected_parts_is_in_the_report(decide: Decide) -> None:
    parts = {len(FIRST): heard("pon", -4), len(SECOND): heard("para", -2)}
    answer = decide(SHORT, {len(SHORT): heard("ok", -3)} | parts)
    assert (answer.text, answer.candidates[0].text) == ("", "para")
