"""A language model: its probabilities, and the files that KenLM and libdeepspeech read."""

import random
from collections.abc import Sequence
from pathlib import Path

import kenlm
import pytest
from speechmodel_pipeline.language_model.kenlm import write_binary
from speechmodel_pipeline.language_model.kneser_ney import estimate
from speechmodel_pipeline.language_model.package import ALPHA, BETA, write_scorer
from speechmodel_runtime import ScorerWords

COMMANDS = [
    "ok espejo",
    "enciende la luz",
    "apaga la luz",
    "enciende la luz de la cocina",
    "sube el volumen",
    "baja el volumen",
    "no apaga la luz",
    "la luz de la cocina",
]
LABELS = [*" abcdefghijklmnopqrstuvwxyzñ"]


def long_text() -> list[str]:
    """Return 2,000 sentences in which some words are much more frequent than others."""
    draw = random.Random(7)
    return [" ".join(f"w{int(draw.paretovariate(0.6)) % 200}" for _ in range(draw.randint(1, 9))) for _ in range(2000)]


def read_by_kenlm(sentences: Sequence[str], order: int, folder: Path) -> kenlm.Model:
    with (folder / "lm.binary").open("wb") as file:
        write_binary(estimate(map(str.split, sentences), order), file)
    return kenlm.Model(str(folder / "lm.binary"))


# by lmplz of kenlm 0.3.0 with --discount_fallback, and kenlm's reader on the ARPA file that it writes
@pytest.mark.parametrize(
    "sentences, order, expected",
    [
        (COMMANDS, 2, {"enciende la luz": -3.41085}),
        (
            COMMANDS,
            3,
            {
                "enciende la luz": -2.84587,
                "no enciende la luz de la cocina": -6.61206,
                "luz": -2.05163,
                "xyz la luz": -4.4527,
            },
        ),
        (COMMANDS, 6, {"enciende la luz de la cocina": -1.56522, "apaga el volumen": -3.25007}),
        (
            long_text(),
            4,
            {
                "w1 w1 w2": -2.4019,
                "w1 w3 w1 w1": -3.40696,
                "w150 w0 w7": -9.47797,
                "w2 w999 w1": -7.2067,
                "w5": -2.43863,
            },
        ),
    ],
)
def test_sentences_have_the_probabilities_of_lmplz(
    sentences: list[str], order: int, expected: dict[str, float], tmp_path: Path
) -> None:
    model = read_by_kenlm(sentences, order, tmp_path)
    assert {each: model.score(each) for each in expected} == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("sentences", [COMMANDS, long_text()])
def test_the_probabilities_after_any_words_add_up_to_one(sentences: list[str], tmp_path: Path) -> None:
    model = read_by_kenlm(sentences, 3, tmp_path)
    words = {word for sentence in sentences for word in sentence.split()}
    for before in ("", "la", "la luz", "w1 w1", "unheard", *sentences[:5]):
        state, after = kenlm.State(), kenlm.State()
        model.BeginSentenceWrite(state)
        for word in before.split():
            model.BaseScore(state, word, after)
            state, after = after, kenlm.State()
        total = sum(10 ** model.BaseScore(state, word, after) for word in (*words, "</s>", "unheard"))
        assert total == pytest.approx(1, abs=1e-4), before


def test_words_of_any_length_are_found(tmp_path: Path) -> None:
    words = [
        letters[:length] for letters in ("abcdefghijklmnopqrstu", "ñandúñandúñandúñandú") for length in range(1, 20)
    ]
    model = read_by_kenlm(words, 2, tmp_path)
    assert [word for word in words if word not in model] == []
    assert "abcx" not in model


def test_the_order_is_that_of_the_longest_sentence_at_most(tmp_path: Path) -> None:
    model = read_by_kenlm(["apaga la luz"], 6, tmp_path)
    assert model.order == 5, "with the marks of its begin and end"


def test_text_without_words_has_no_model() -> None:
    with pytest.raises(ValueError, match="at least one word"):
        estimate([], 3)


def test_a_scorer_has_the_words_of_the_text_in_the_labels_of_the_model(tmp_path: Path) -> None:
    labels = [label.encode() for label in LABELS]
    write_scorer(estimate(map(str.split, COMMANDS), 3), labels, tmp_path / "lm.scorer")
    words = ScorerWords(tmp_path / "lm.scorer", labels)
    assert all(word in words for sentence in COMMANDS for word in sentence.split())
    assert not any(word in words for word in ("luce", "lu", "luzluz", "<s>", ""))
    assert (words.alpha, words.beta) == (ALPHA, BETA)
