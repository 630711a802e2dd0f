"""The network in 8-bit integers against the one in floats, and runs that callers share."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from speechmodel_decoding import AcousticModel, BeamSearch
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_decoding.shared_runs import MOST_STREAMS, Floats, SharedRuns
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.quantised import export_quantised_model
from support.places import FIXTURES
from support.waiting import until

from .conftest import Heard

LARGEST_DIFFERENCE = 0.05
"""Largest error of a probability. 0.033 and 0.045 were measured on the two graphs."""


@pytest.fixture(scope="module")
def quantised_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("quantised") / "acoustic.int8.onnx"
    export_quantised_model(FIXTURES / "tf2_128.pb", path)
    return path


@pytest.mark.parametrize("graph", ["tf2_128.pb", "upstream_64.pb"])
def test_every_frame_is_nearly_that_of_the_network_in_floats(graph: str, heard: list[Heard], tmp_path: Path) -> None:
    export_acoustic_model(FIXTURES / graph, tmp_path / "floats.onnx")
    export_quantised_model(FIXTURES / graph, tmp_path / "integers.onnx")
    floats, integers = AcousticModel(tmp_path / "floats.onnx"), AcousticModel(tmp_path / "integers.onnx")
    assert (tmp_path / "integers.onnx").stat().st_size < 0.4 * (tmp_path / "floats.onnx").stat().st_size
    for each in heard:
        expected = floats.log_probabilities(each.pcm)
        found = integers.log_probabilities(each.pcm)
        assert found.shape == expected.shape
        assert np.exp(found) == pytest.approx(np.exp(expected), abs=LARGEST_DIFFERENCE)


def test_equal_graphs_give_equal_files(quantised_file: Path, tmp_path: Path) -> None:
    export_quantised_model(FIXTURES / "tf2_128.pb", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == quantised_file.read_bytes()


def test_free_text_is_what_libdeepspeech_hears(
    quantised_file: Path, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    model, search = AcousticModel(quantised_file), BeamSearch(alphabet, beam_width=500)
    assert [search.spell(model.log_probabilities(each.pcm)).text for each in heard] == [each.text for each in heard]


def test_streams_that_share_runs_get_the_same_frames_as_alone(quantised_file: Path, heard: list[Heard]) -> None:
    alone = AcousticModel(quantised_file)
    expected = [alone.log_probabilities(each.pcm) for each in heard]
    sizes: list[int] = []
    shared = AcousticModel(quantised_file)
    run = shared._run

    def counted(block: Floats, h: Floats, c: Floats) -> tuple[Floats, Floats, Floats]:
        sizes.append(block.shape[1])
        if len(sizes) == 1:
            until(lambda: runs._waiting, "another step waits", every=0.01)
        return run(block, h, c)

    runs = SharedRuns(counted, 1)
    shared._step = runs.step
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.log_probabilities, [each.pcm for each in heard]))
    assert max(sizes) > 1, "some runs were shared"
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs), "a stream does not depend on those beside it"


def test_steps_that_wait_go_together_into_the_next_run() -> None:
    sizes, first, go_on = [], threading.Event(), threading.Event()

    def run(block: Floats, h: Floats, c: Floats) -> Sequence[Floats]:
        sizes.append(block.shape[1])
        if len(sizes) == 1:
            first.set()
            go_on.wait()
        return block * 2, h + 1, c + 1

    runs = SharedRuns(run, 1)
    waiting = MOST_STREAMS + 2

    def step(number: int) -> tuple[Floats, Floats, Floats]:
        state = np.full((1, 1, 3), number, np.float32)
        return runs.step(np.full((number % 3 + 1, 2), number, np.float32), state, state)

    with ThreadPoolExecutor(waiting + 1) as pool:
        leading = pool.submit(step, 100)
        first.wait()
        others = [pool.submit(step, number) for number in range(waiting)]
        try:
            until(lambda: len(runs._waiting) == waiting, "every other step waits", every=0.01)
        finally:
            go_on.set()
        for number, each in enumerate(others):
            outputs, h, c = each.result()
            assert outputs.tolist() == [[2 * number] * 2] * (number % 3 + 1)
            assert h.tolist() == c.tolist() == [[[number + 1] * 3]]
    assert leading.result()[0].tolist() == [[200, 200]] * 2
    assert sizes == [1, MOST_STREAMS, 2]


def test_an_error_of_a_run_reaches_every_caller_and_the_next_run_takes_place() -> None:
    fails = True

    def run(block: Floats, h: Floats, c: Floats) -> Sequence[Floats]:
        if fails:
            raise AcousticModelError("broken")
        return block, h, c

    runs = SharedRuns(run, 1)
    zeros = np.zeros((1, 1, 1), np.float32)
    with pytest.raises(AcousticModelError, match="broken"):
        runs.step(zeros[0], zeros, zeros)
    fails = False
    assert runs.step(zeros[0], zeros, zeros)[0].shape == (1, 1)
