"""The intent of a whole recording, whose segments have intents of their own."""

import pytest
from speechmodel_decoding import Candidate
from speechmodel_inference.openai_types import VerboseTranscription
from speechmodel_inference.transcribing import Segment, Transcript


def segment(intent: str | None, *, accepted: bool = True) -> Segment:
    """A segment whose best candidate has this intent."""
    candidate = Candidate("luz", -0.1, 0.9, (), {}, intent)
    return Segment(0.0, 1.0, "luz" if accepted else "", (), (candidate,), (0.0, 1.0))


@pytest.mark.parametrize(
    ("segments", "intent"),
    [
        ([segment("TurnOn")], "TurnOn"),
        ([segment(None)], None),
        ([segment(None), segment("TurnOn"), segment(None)], "TurnOn"),
        ([segment("TurnOn"), segment("TurnOff")], None),
        ([segment("TurnOn"), segment("TurnOn")], None),
        ([segment("TurnOn"), segment("TurnOff", accepted=False)], "TurnOn"),
        ([segment("TurnOn", accepted=False)], None),
        ([], None),
    ],
)
def test_a_recording_has_the_intent_of_its_only_phrase_with_one(segments: list[Segment], intent: str | None) -> None:
    assert VerboseTranscription.of(Transcript(1.0, tuple(segments)), "es").intent == intent
