"""The network in 8-bit integers against the one in floats, and runs that callers share."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from speechmodel_decoding import AcousticModel, BeamSearch
from speechmodel_decoding.shared_runs import Floats, SharedRuns
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
            until(lambda: runs._waiting, "another stream waits", every=0.01)
        return run(block, h, c)

    runs = SharedRuns(counted, 1)
    shared._outputs = runs.outputs
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(shared.log_probabilities, [each.pcm for each in heard]))
    assert max(sizes) > 1, "some runs were shared"
    for ours, theirs in zip(found, expected, strict=True):
        assert np.array_equal(ours, theirs), "a stream does not depend on those beside it"
