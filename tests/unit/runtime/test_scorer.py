"""Scorers: the words that they know, files that are refused, and transcripts with one."""

import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from speechmodel_runtime import Model, Scorer, ScorerWords, load, read_graph
from speechmodel_runtime.errors import DecodingFailed, ScorerIncompatible, ScorerUnreadable
from support.places import FIXTURES

SCORER, GRAPH = FIXTURES / "es.scorer", FIXTURES / "tf2_128.pb"
LABELS = read_graph(GRAPH).labels
OK_ESPEJO = FIXTURES / "clips" / "shapes_c20ad4d7_2_3_000000_1_002.wav"
WORDS = {"espejo", "hija", "hijo", "hola", "llama", "mi", "nuera", "ok", "vale", "a"}


def test_the_words_of_a_scorer_and_its_weights_are_read() -> None:
    words = ScorerWords(SCORER, LABELS)
    assert all(word in words for word in WORDS)
    assert not any(word in words for word in ("espej", "espejos", "pan", "", "ok espejo", "¡ok!"))
    assert (words.alpha, words.beta) == pytest.approx((0.931289, 1.183414))


@pytest.mark.parametrize(
    "content, problem",
    [
        (lambda raw: raw[:-40], "is truncated; copy it again"),
        (lambda raw: raw[:-800], "is truncated; copy it again"),
        (lambda raw: raw[:700], "is not a .scorer of DeepSpeech 0.9.3; generate it again"),
        (lambda raw: b"", "is empty; copy it again"),
        (lambda raw: raw.replace(b"EIRT\x06", b"EIRT\x05"), "is not a .scorer of version 6"),
    ],
)
def test_a_file_that_is_no_whole_scorer_is_refused(
    content: Callable[[bytes], bytes], problem: str, tmp_path: Path
) -> None:
    damaged = tmp_path / "es.scorer"
    damaged.write_bytes(content(SCORER.read_bytes()))
    with pytest.raises(ScorerUnreadable, match=f"{damaged}: {problem}"):
        ScorerWords(damaged, LABELS)


START = SCORER.read_bytes().rfind(b"standard") + len(b"standard") + struct.calcsize("<iiQ")
STATES = -(-(START + struct.calcsize("<qqq")) // 16) * 16


@pytest.mark.parametrize(
    "place, value",
    [
        (START, struct.pack("<q", -1)),
        (START, struct.pack("<q", 10_000)),
        (STATES + 4, struct.pack("<I", 2**32 - 1)),
        (STATES + 8, struct.pack("<I", 10_000)),
        (-16, struct.pack("<i", -1)),
        (-4, struct.pack("<i", -1)),
        (-4, struct.pack("<i", 10_000)),
    ],
    ids=["negative start", "start", "first arc", "number of arcs", "negative label", "negative target", "target"],
)
def test_a_damaged_scorer_is_refused(place: int, value: bytes, tmp_path: Path) -> None:
    content = bytearray(SCORER.read_bytes())
    content[place % len(content) : place % len(content) + len(value)] = value
    damaged = tmp_path / "es.scorer"
    damaged.write_bytes(content)
    with pytest.raises(ScorerUnreadable, match=f"{damaged}: is damaged; copy it again"):
        ScorerWords(damaged, LABELS)


@pytest.mark.parametrize(
    "labels, problem",
    [
        ((*LABELS[:15], "\ue000".encode()), "has a label 15, and the last of the model's alphabet is 14"),
        (LABELS[:10], "has a label 15, and the last of the model's alphabet is 9"),
        (
            (LABELS[1], LABELS[0], *LABELS[2:]),
            "ends words with the label 0, and the space of the model's alphabet is 1",
        ),
        (LABELS[1:], "needs a model whose alphabet has the space"),
    ],
)
def test_a_scorer_for_another_alphabet_is_refused(labels: Sequence[bytes], problem: str) -> None:
    with pytest.raises(ScorerIncompatible, match=problem):
        ScorerWords(SCORER, labels)


def test_with_a_scorer_only_its_words_are_recognised() -> None:
    pcm = load(OK_ESPEJO)
    with Model(GRAPH) as model:
        assert not set(model.transcribe(pcm[::-1].copy()).text.split()) <= WORDS
        with pytest.raises(DecodingFailed, match="the scorer has no weights"):
            model.weigh_scorer(1.0, 1.0)
    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18)) as model:
        assert model.transcribe(pcm).text == "ok espejo"
        assert set(model.transcribe(pcm[::-1].copy()).text.split()) <= WORDS


def test_the_weights_of_a_scorer_count() -> None:
    pcm = load(OK_ESPEJO)
    with Model(GRAPH, scorer=Scorer(SCORER, 0.0, 0.0)) as model:
        without = model.transcribe(pcm).confidence
        model.weigh_scorer(0.0, 3.0)
        assert model.transcribe(pcm).confidence == pytest.approx(without + 6.0, abs=0.01), "two words"


def test_a_hot_word_is_recognised_instead_of_a_likelier_one() -> None:
    backwards = load(OK_ESPEJO)[::-1].copy()
    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18)) as model:
        assert model.transcribe(backwards).text == "hola espejo"
    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18, {"hola": -20.0})) as model:
        assert "hola" not in model.transcribe(backwards).text.split()
    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18, {"nuera": 0.0, "ok": 20.0})) as model:
        assert "ok" in model.transcribe(backwards).text.split()


def test_a_hot_word_that_the_scorer_lacks_is_refused() -> None:
    with pytest.raises(ScorerIncompatible, match="does not contain the hot word 'pan'; remove it from the hot words"):
        Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18, {"ok": 2.0, "pan": 5.0}))


def test_the_hot_words_of_a_stream_count_in_it_alone() -> None:
    backwards = load(OK_ESPEJO)[::-1].copy()

    def heard(model: Model, *hot_words: str) -> str:
        with model.stream(hot_words=hot_words) as stream:
            stream.feed(backwards)
            return stream.finish().text

    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18)) as model:
        assert heard(model) == "hola espejo"
        assert heard(model, "ok").startswith("ok ")
        assert heard(model, "pan") == "hola espejo", "the scorer does not know the word"
        assert heard(model) == "hola espejo"
    with Model(GRAPH, scorer=Scorer(SCORER, 0.93, 1.18, {"ok": -20.0})) as model:
        assert heard(model, "ok") == heard(model), "the scorer's own hot words stay"
    with Model(GRAPH) as model:
        assert heard(model, "ok") == heard(model)
