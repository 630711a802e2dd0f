"""Free text from frames, and its labels' frames."""

import json
import subprocess
import sys
import tracemalloc
from collections import defaultdict
from itertools import groupby, product

import fast_ctc_decode
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.alphabet import CATCH_ALL
from speechmodel_decoding import AcousticModel, BeamSearch
from speechmodel_decoding.acoustic import LogProbabilities
from speechmodel_decoding.other_texts import probable_texts
from support.places import FIXTURES

from .conftest import Heard


def interrupt() -> None:
    """Do nothing: nobody leaves."""


def certain(*classes: int, of: int) -> LogProbabilities:
    """Return frames that are nearly certain of a class each."""
    frames = np.full((len(classes), of), 0.001 / of, np.float32)
    frames[np.arange(len(classes)), classes] = 0.999
    return np.log(frames)


def test_it_hears_what_libdeepspeech_hears(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    known = json.loads((FIXTURES / "tf2_128.expected.json").read_text(encoding="utf-8"))
    search = BeamSearch(alphabet, beam_width=500)
    for each, expected in zip(heard, known.values(), strict=True):
        spelling = search.spell(acoustic.log_probabilities(each.pcm))
        assert spelling.text == expected["text"]
        # the runtime reports a frame in which the label is already certain
        assert spelling.frames == pytest.approx(expected["timesteps"], abs=2)


def test_the_sum_of_all_paths_decides_not_the_best_path() -> None:
    # Best path: blank, blank with 0.36. All paths of "a" together: 0.64.
    frames = np.log(np.array([[0.4, 0.6], [0.4, 0.6]], np.float32))
    assert BeamSearch(["a"], beam_width=10).spell(frames).text == "a"


def test_silence_is_an_empty_text() -> None:
    spelling = BeamSearch(["a", "b"], beam_width=10).spell(certain(2, 2, 2, of=3))
    assert (spelling.text, spelling.frames) == ("", ())


def test_labels_of_several_characters_stay_whole() -> None:
    spelling = BeamSearch(["ll", "a"], beam_width=10).spell(certain(2, 0, 1, 2, 1, of=3))
    assert spelling.labels == ("ll", "a", "a")
    assert spelling.frames == (1, 2, 4)


def test_the_catch_all_label_and_the_spaces_beside_it_are_left_out() -> None:
    search = BeamSearch([" ", "a", CATCH_ALL], beam_width=10)
    spelling = search.spell(certain(2, 0, 1, 0, 2, 0, 1, of=4))
    assert (spelling.text, spelling.frames) == ("a a", (2, 3, 6))
    assert search.spell(certain(2, 3, 2, of=4)).text == ""


def test_a_large_alphabet_can_be_searched() -> None:
    alphabet = [chr(0x4E00 + index) for index in range(12_000)]
    assert BeamSearch(alphabet, beam_width=10).spell(certain(7, 12_000, 11_999, of=12_001)).text == (
        alphabet[7] + alphabet[11_999]
    )


def test_ten_minutes_keep_their_letters() -> None:
    frames = certain(*[0, 1, 2] * 10_000, of=3)
    assert BeamSearch(["a", "b"], beam_width=10).spell(frames[:3000]).text == "ab" * 1000


@given(rows=st.lists(st.lists(st.integers(1, 99), min_size=3, max_size=3), min_size=1, max_size=5))
def test_several_texts_are_the_most_probable_of_all(rows: list[list[int]]) -> None:
    probabilities = np.array(rows, float) / np.sum(rows, axis=1, keepdims=True)
    texts: defaultdict[str, float] = defaultdict(float)
    for path in product(range(3), repeat=len(rows)):
        text = "".join("ab"[label] for label, _ in groupby(path) if label < 2)
        texts[text] += float(np.prod([row[label] for row, label in zip(probabilities, path, strict=True)]))
    found = BeamSearch(["a", "b"], beam_width=50).spell_several(np.log(probabilities).astype(np.float32), 4, interrupt)
    best = [texts[spelling.text] for spelling in found]
    if found[0].text:
        wanted = sorted((value for text, value in texts.items() if text), reverse=True)[:4]
        assert best == pytest.approx(wanted[: len(best)])
        assert len(best) == len(wanted)
    else:
        assert len(found) == 1


def test_texts_that_differ_in_the_catch_all_label_are_one() -> None:
    frames = np.log(np.array([[0.5, 0.05, 0.4, 0.05], [0.01, 0.01, 0.01, 0.97], [0.01, 0.6, 0.38, 0.01]], np.float32))
    search = BeamSearch(["a", "b", CATCH_ALL], beam_width=10)
    texts = [spelling.text for spelling in search.spell_several(frames, 5, interrupt)]
    assert texts[0] == "ab"
    assert len(set(texts)) == len(texts) > 1


@given(seed=st.integers(0, 2**32 - 1), labels=st.integers(1, 60), clear=st.sampled_from([0.01, 0.05, 0.3]))
def test_labels_that_no_frame_tries_change_nothing(seed: int, labels: int, clear: float) -> None:
    frames = np.random.default_rng(seed).dirichlet(np.full(labels + 1, clear), 20).astype(np.float32)
    alphabet = [chr(0x4E00 + index) for index in range(labels)]
    tried = np.partition(frames[:, :-1], -min(40, labels), axis=1)[:, [-min(40, labels)]] <= frames
    tried[:, -1] = True
    blank_first = np.ascontiguousarray(np.roll(np.where(tried, frames, 0), 1, axis=1))
    found, _ = fast_ctc_decode.beam_search(
        blank_first, ["", *alphabet], beam_size=20, beam_cut_threshold=min(1e-4, 0.5 / (labels + 1))
    )
    logarithms = np.log(np.maximum(frames, 1e-30))
    assert "".join(BeamSearch(alphabet, beam_width=20).spell(logarithms).labels) == found


@pytest.mark.parametrize("labels", [28, 3000])
def test_vague_frames_need_no_more_memory_than_a_search_may(labels: int) -> None:
    program = f"""
import resource
import numpy as np
from speechmodel_decoding import BeamSearch
frames = np.log(np.random.default_rng(0).dirichlet(np.ones({labels} + 1), 1500).astype(np.float32) + 1e-30)
search = BeamSearch([chr(0x4E00 + index) for index in range({labels})], beam_width=500)
search.spell(frames[:10])
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(len(search.spell(frames).text), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    characters, kibibytes = map(int, done.stdout.split())
    assert characters > 500
    assert kibibytes < 800 * 1024


def test_several_texts_of_vague_frames_and_of_many_labels_are_found_in_bounded_work() -> None:
    frames = np.log(np.full((30, 3001), 1 / 3001, np.float32))
    frames[:, :40] = np.log(0.02)
    search = BeamSearch([chr(0x4E00 + index) for index in range(3000)], beam_width=10)
    assert len({spelling.text for spelling in search.spell_several(frames, 5, interrupt)}) == 5


def test_the_memory_of_a_search_is_that_of_the_prefixes_that_it_keeps() -> None:
    frames = np.log(np.random.default_rng(0).dirichlet(np.full(29, 50), 200)).astype(np.float32)
    tracemalloc.start()
    try:
        probable_texts(frames, interrupt)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3e6


def test_a_search_for_several_texts_can_be_interrupted() -> None:
    class ClientLeft(Exception):
        pass

    calls = 0

    def leave() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise ClientLeft

    search = BeamSearch(["a", "b"], beam_width=10)
    with pytest.raises(ClientLeft):
        search.spell_several(certain(*[0, 1, 2] * 100, of=3), 2, leave)
