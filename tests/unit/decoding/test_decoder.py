"""The search against an exact one: the best path of every phrase, by CTC's definition."""

from itertools import product

import kaldifst
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_decoding import Decoder, decoder, forward_score
from speechmodel_decoding.acceptor import const_bytes, minimise, read_const, trie
from speechmodel_decoding.alignment import align
from speechmodel_decoding.compiling import compile_grammar
from speechmodel_decoding.labels import Labels
from speechmodel_decoding.topology import ctc_graph
from support.frames import Frames, random_frames, spelled

ALPHABET = tuple(" ab")
phrases = st.lists(
    st.text("ab", min_size=1, max_size=3).map(lambda word: f"{word} a" if len(word) == 1 else word),
    min_size=1, max_size=5, unique=True,
)  # fmt: skip
frames = st.builds(random_frames, st.integers(0, 2**31), st.integers(1, 9), st.just(4))


def best_path(logs: Frames, text: str) -> float:
    """The log probability of the best sequence of labels that reads as `text`, by Viterbi's algorithm."""
    blank = logs.shape[1] - 1
    labels = [blank]
    for character in text:
        labels += [ALPHABET.index(character), blank]
    score = np.full(len(labels), -np.inf)
    score[:2] = logs[0, labels[:2]]
    for frame in logs[1:]:
        before = score.copy()
        for state in range(len(labels)):
            ways = [before[state], before[state - 1] if state else -np.inf]
            if state > 1 and labels[state] not in (blank, labels[state - 2]):
                ways.append(before[state - 2])
            score[state] = max(ways) + frame[labels[state]]
    return float(max(score[-2:]))


def read(labels: tuple[int, ...]) -> str:
    """The text of a sequence of labels: repetitions count once, blanks nothing."""
    kept = [label for at, label in enumerate(labels) if at == 0 or label != labels[at - 1]]
    return "".join(ALPHABET[label] for label in kept if label < len(ALPHABET))


@given(phrases, frames)
def test_the_decoder_finds_the_phrase_of_the_best_path(texts: list[str], logs: Frames) -> None:
    exact = {text: best_path(logs, text) for text in texts}
    found = Decoder(compile_grammar(texts, ALPHABET), beam=100).decode(logs)
    if max(exact.values()) == -np.inf:
        assert found == []
    else:
        assert exact[found[0].text] == pytest.approx(max(exact.values()), abs=1e-4)


@given(phrases, frames)
def test_several_phrases_are_all_that_fit_in_the_order_of_their_best_paths(texts: list[str], logs: Frames) -> None:
    exact = {text: score for text in texts if (score := best_path(logs, text)) > -np.inf}
    found = Decoder(compile_grammar(texts, ALPHABET), beam=100).decode(logs, alternatives=len(texts) + 1)
    assert len(found) == len({phrase.text for phrase in found})
    assert [exact[phrase.text] for phrase in found] == pytest.approx(sorted(exact.values(), reverse=True), abs=1e-3)


@given(st.text("ab ", min_size=1, max_size=3), st.integers(0, 2**31), st.integers(1, 5))
def test_the_score_is_the_sum_over_all_paths_of_the_phrase(text: str, seed: int, time: int) -> None:
    logs = random_frames(seed, time, 4)
    paths = [
        sum(float(logs[at, label]) for at, label in enumerate(labels))
        for labels in product(range(4), repeat=time)
        if read(labels) == text
    ]
    score = forward_score(logs, [ALPHABET.index(character) for character in text])
    if paths:
        assert score == pytest.approx(np.logaddexp.reduce(paths), abs=1e-4)
    else:
        assert score < -1e20


@given(phrases, frames)
def test_the_spans_of_a_phrase_add_up_to_its_best_path(texts: list[str], logs: Frames) -> None:
    for phrase in Decoder(compile_grammar(texts, ALPHABET), beam=100).decode(logs):
        assert sum(span.score for span in phrase.spans) == pytest.approx(best_path(logs, phrase.text), abs=1e-3)
        assert all(span.first <= span.last for span in phrase.spans)
        assert all(one.last < two.first for one, two in zip(phrase.spans, phrase.spans[1:], strict=False))


def test_the_first_phrase_does_not_depend_on_the_number_of_phrases(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "MOST_ACTIVE", 21)
    drawn = np.random.default_rng(1)
    search = Decoder(compile_grammar(sorted({"".join(drawn.choice(["a", "b"], 8)) for _ in range(50)}), ALPHABET))
    for seed in range(50):
        logs = random_frames(seed, 20, 4)
        assert search.decode(logs, alternatives=3)[:1] == search.decode(logs)


@pytest.mark.parametrize("bound", ["MOST_CELLS", "MOST_LATTICE_STATES"])
def test_other_phrases_are_left_out_when_the_search_for_them_is_too_large(
    bound: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = random_frames(1, 9, 4)
    search = Decoder(compile_grammar(["ab", "ba", "bb"], ALPHABET))
    assert len(search.decode(logs, alternatives=3)) == 3
    monkeypatch.setattr(decoder, bound, 10)
    assert search.decode(logs, alternatives=3) == search.decode(logs)


def test_a_character_spans_the_frames_of_its_label() -> None:
    logs = spelled("ab", ALPHABET)
    spans = align(logs, [1, 2])
    assert [(span.first, span.last) for span in spans] == [(1, 1), (3, 3)]


def test_the_beginning_of_a_phrase_is_not_the_phrase() -> None:
    search = Decoder(compile_grammar(["aba bbb"], ALPHABET))
    assert search.decode(spelled("aba", ALPHABET)) == []
    assert search.decode(spelled("aba", ALPHABET), alternatives=2) == []
    assert [phrase.text for phrase in search.decode(spelled("aba bbb", ALPHABET))] == ["aba bbb"]


def test_a_recording_with_fewer_frames_than_characters_fits_no_phrase() -> None:
    search = Decoder(compile_grammar(["abab"], ALPHABET))
    assert search.decode(random_frames(1, 3, 4)) == []
    assert search.decode(random_frames(1, 4, 4)) != []


@given(st.lists(st.text("ab ", min_size=1, max_size=5), min_size=1, max_size=8), frames)
def test_the_graph_is_openfsts_composition_with_the_ctc_topology(texts: list[str], logs: Frames) -> None:
    labels = Labels(ALPHABET)
    acceptor = minimise(trie([labels.encode(text, text) for text in texts]))
    plain = const_bytes(acceptor.source, np.stack([acceptor.label] * 2, axis=1), acceptor.target, acceptor.final)
    composed = kaldifst.compose(_topology(labels), kaldifst.StdVectorFst(read_const(plain)))
    kaldifst.connect(composed)
    ours = read_const(ctc_graph(acceptor, labels))
    assert ours.num_states == composed.num_states
    assert sum(ours.num_arcs(state) for state in range(ours.num_states)) == sum(
        composed.num_arcs(state) for state in range(composed.num_states)
    )


def _topology(labels: Labels) -> kaldifst.StdVectorFst:
    """State 0: the last frame was blank. State c: it was character c."""
    fst = kaldifst.StdVectorFst()
    for _ in range(labels.blank):
        fst.set_final(fst.add_state(), 0.0)
    fst.start = 0
    for state in range(labels.blank):
        fst.add_arc(state, kaldifst.StdArc(labels.blank, 0, 0.0, 0))
        for label in range(1, labels.blank):
            fst.add_arc(state, kaldifst.StdArc(label, 0 if label == state else label, 0.0, label))
    kaldifst.arcsort(fst, sort_type="olabel")
    return fst


def test_the_characters_of_a_long_phrase_are_aligned() -> None:
    text = "ab a" * 40
    logs = spelled(text, ALPHABET)
    spans = align(logs, [ALPHABET.index(character) for character in text])
    assert [span.first for span in spans] == [2 * index + 1 for index in range(len(text))]
