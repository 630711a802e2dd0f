"""The words of an utterance that are sent while it lasts."""

import pytest
from speechmodel_inference.live import StableWords


@pytest.mark.parametrize(
    ("decodings", "last", "sent"),
    [
        ([], "ok espejo", ["ok espejo"]),
        (["ok"], "ok espejo", ["ok espejo"]),
        (["ok", "ok es", "ok espejo"], "ok espejo", ["ok", " espejo"]),
        (["ok espejo", "ok espejo"], "ok espejo", ["ok espejo"]),
        (
            ["prende la luz", "prende la luz de", "prende la luz de"],
            "prende la luz de casa",
            ["prende la luz", " de", " casa"],
        ),
        (["a", "a", "b", "b"], "b c", ["a"]),  # what was sent cannot be taken back
        (["a", "b", "a"], "a", ["a"]),
        (["", "", "ok", "ok"], "", ["ok"]),
        (["", ""], "", []),
    ],
)
def test_words_are_sent_once_two_decodings_begin_with_them(decodings: list[str], last: str, sent: list[str]) -> None:
    stable = StableWords()
    parts = [*(stable.heard(text) for text in decodings), stable.settled(last)]
    assert [part for part in parts if part] == sent


def test_the_words_in_a_pause_are_sent_at_once_and_more_speech_adds_to_them() -> None:
    stable = StableWords()
    assert stable.settled("ok espejo") == "ok espejo"
    assert stable.settled("ok espejo") == ""
    assert stable.heard("ok espejo llama") == ""
    assert stable.heard("ok espejo llama a") == " llama"
    assert stable.settled("espejo") == "", "what was sent cannot be taken back"
