"""Transcripts are compared without case, white space and composition."""

import unicodedata

import pytest
from speechmodel_api.words import folded


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("Ok  Espejo", "ok espejo "),
        ("ΟΔΟΣ", "οδος"),
        ("STRASSE", "straße"),
        ("ПРИВЕТ", "привет"),
        (unicodedata.normalize("NFD", "Qué"), "qué"),
        (unicodedata.normalize("NFD", "거울"), "거울"),
    ],
)
def test_transcripts_that_differ_in_writing_alone_are_equal(left: str, right: str) -> None:
    assert folded(left) == folded(right)


@pytest.mark.parametrize(("left", "right"), [("ok", "oc"), ("que", "qué"), ("ok espejo", "okespejo")])
def test_transcripts_of_other_words_are_not(left: str, right: str) -> None:
    assert folded(left) != folded(right)
