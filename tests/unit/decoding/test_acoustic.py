"""The frames of the exported model against those of the graph that libdeepspeech runs, and against its own scores."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf
from speechmodel_decoding import AcousticModel, forward_score
from speechmodel_decoding.errors import AcousticModelError
from speechmodel_decoding.features import features
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_runtime import Pcm, load
from support.places import FIXTURES

from .conftest import Heard

pytestmark = pytest.mark.usefixtures("tensorflow_device")

CHUNK, WINDOW, STEP = 16, 512, 320


@pytest.fixture(scope="module", params=["tf2_128.pb", "upstream_64.pb"])
def graph(request: pytest.FixtureRequest) -> Path:
    return FIXTURES / str(request.param)


@pytest.fixture(scope="module")
def session(graph: Path) -> Iterator[tf.compat.v1.Session]:
    definition = tf.compat.v1.GraphDef.FromString(graph.read_bytes())
    with tf.Graph().as_default() as loaded, tf.compat.v1.Session(graph=loaded) as session:
        tf.import_graph_def(definition, name="")
        yield session


def by_the_graph(session: tf.compat.v1.Session, pcm: Pcm) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Features and probabilities of each frame, in chunks of 16 with the state carried on, as libdeepspeech does it."""
    full = (len(pcm) - WINDOW) // STEP + 1
    audio = np.zeros(WINDOW + STEP * full, np.float32)
    audio[: len(pcm)] = pcm / np.float32(32768)
    mfcc = np.concatenate(
        [session.run("mfccs:0", {"input_samples:0": audio[STEP * at : STEP * at + WINDOW]}) for at in range(full + 1)]
    )
    padded = np.pad(mfcc, ((9, 9), (0, 0)))
    patches = np.stack([padded[at : at + 19] for at in range(len(mfcc))])
    units = session.graph.get_tensor_by_name("previous_state_c:0").shape[1]
    c = h = np.zeros((1, units), np.float32)
    probabilities = []
    for start in range(0, len(patches), CHUNK):
        used = patches[start : start + CHUNK]
        chunk = np.zeros((1, CHUNK, 19, 26), np.float32)
        chunk[0, : len(used)] = used
        fed = {"input_node:0": chunk, "input_lengths:0": [len(used)], "previous_state_c:0": c, "previous_state_h:0": h}
        frames, c, h = session.run(["logits:0", "new_state_c:0", "new_state_h:0"], fed)
        probabilities.append(frames[: len(used), 0])
    return mfcc, np.concatenate(probabilities)


def test_every_frame_is_that_of_the_graph(graph: Path, session: tf.compat.v1.Session, tmp_path: Path) -> None:
    export_acoustic_model(graph, tmp_path / "acoustic.onnx")
    model = AcousticModel(tmp_path / "acoustic.onnx")
    for clip in sorted((FIXTURES / "clips").glob("*.wav"))[:6]:
        pcm = load(clip)
        mfcc, probabilities = by_the_graph(session, pcm)
        frames = model.log_probabilities(pcm)
        assert features(pcm) == pytest.approx(mfcc, abs=2e-3)
        assert frames.shape == probabilities.shape, "one frame for each full window, and one more"
        assert np.exp(frames) == pytest.approx(probabilities, abs=1e-4)


def test_the_score_of_a_transcript_is_that_of_libdeepspeech(
    acoustic: AcousticModel, alphabet: tuple[str, ...], heard: list[Heard]
) -> None:
    for each in heard:
        score = forward_score(
            acoustic.log_probabilities(each.pcm), [alphabet.index(character) for character in each.text]
        )
        # the runtime leaves out frames at the beginning whose blank has a probability above 0.999
        assert score == pytest.approx(each.confidence, abs=1e-3)


def test_a_long_recording_is_run_in_blocks_that_continue_each_other(
    acoustic: AcousticModel, acoustic_file: Path, heard: list[Heard], monkeypatch: pytest.MonkeyPatch
) -> None:
    pcm = heard[0].pcm
    whole = acoustic.log_probabilities(pcm)
    monkeypatch.setattr("speechmodel_decoding.acoustic.BLOCK", 20)
    blocks = list(AcousticModel(acoustic_file).blocks(pcm))
    assert [len(block) for block in blocks[:-1]] == [20] * (len(whole) // 20)
    assert np.concatenate(blocks) == pytest.approx(whole, abs=1e-4)


def test_equal_graphs_give_equal_files(acoustic_file: Path, tmp_path: Path) -> None:
    export_acoustic_model(FIXTURES / "tf2_128.pb", tmp_path / "again.onnx")
    assert (tmp_path / "again.onnx").read_bytes() == acoustic_file.read_bytes()


@pytest.mark.parametrize("content", [b"", b"no model", None], ids=["empty", "text", "missing"])
def test_a_file_that_is_no_model_is_refused_by_name(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "acoustic.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(AcousticModelError, match=r"acoustic\.onnx .*(fetch|convert)"):
        AcousticModel(path)


def test_half_a_model_is_refused(acoustic_file: Path, tmp_path: Path) -> None:
    path = tmp_path / "acoustic.onnx"
    path.write_bytes(acoustic_file.read_bytes()[:200_000])
    with pytest.raises(AcousticModelError, match="not a valid ONNX model"):
        AcousticModel(path)
