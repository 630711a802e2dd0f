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
        (["ok es", "ok espejo llama"], "ok espejo llama a mi hijo", ["ok", " espejo llama a mi hijo"]),  # a hesitation
    ],
)
def test_words_are_sent_once_two_decodings_begin_with_them(decodings: list[str], last: str, sent: list[str]) -> None:
    stable = StableWords()
    parts = [*(stable.heard(text) for text in decodings), stable.ended(last)]
    assert [part for part in parts if part] == sent
