"""The catch-all label: models emit it for everything but their own transcripts, and nobody sees it."""

import ctypes
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_runtime import Model, Transcript, load
from speechmodel_runtime.library import CandidateTranscript, TokenMetadata
from speechmodel_runtime.transcript import take_candidate
from support.graphs import edited, with_alphabet

from .conftest import FIXTURES


def transcript(labels: str) -> Transcript:
    """The transcript of a candidate with these labels, the n-th of which was emitted in frame n."""
    tokens = [TokenMetadata(label.encode(), frame, frame * 0.02) for frame, label in enumerate(labels)]
    array = (TokenMetadata * len(tokens))(*tokens)
    return take_candidate(CandidateTranscript(ctypes.cast(array, ctypes.POINTER(TokenMetadata)), len(tokens), -1.0))


@pytest.mark.parametrize(
    "labels, text",
    [
        ("*", ""),
        ("***", ""),
        ("* *", ""),
        ("ok espejo", "ok espejo"),
        ("*ok espejo*", "ok espejo"),
        ("* ok * espejo *", "ok espejo"),
        ("ok esp*ejo", "ok espejo"),
        (" ok  espejo ", " ok  espejo "),
        ("  ", ""),
        ("", ""),
    ],
)
def test_text_is_what_is_left_without_the_catch_all_label_and_its_spaces(labels: str, text: str) -> None:
    heard = transcript(labels.replace("*", CATCH_ALL))
    assert heard.text == text
    assert "".join(token.text for token in heard.tokens) == text
    assert heard.emitted == labels.replace("*", CATCH_ALL)


@given(st.text(alphabet=f"ab {CATCH_ALL}"))
def test_every_other_label_stays_in_its_frame(labels: str) -> None:
    heard = transcript(labels)
    assert [labels[token.timestep] for token in heard.tokens] == [token.text for token in heard.tokens]
    assert heard.text.replace(" ", "") == labels.replace(" ", "").replace(CATCH_ALL, "")


def test_the_runtime_does_not_show_the_label_of_a_model_that_has_it(tmp_path: Path) -> None:
    labels = tuple(" aehijklmnoprsuv".replace("e", CATCH_ALL))
    graph = edited(FIXTURES / "tf2_128.pb", tmp_path / "graph.pb", with_alphabet(*labels))
    with Model(graph) as model:
        assert model.transcribe(load(FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav")).text == "ok spjo"
