import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_decoding import AcousticModel, forward_score
from speechmodel_pipeline.convert.acoustic import export_acoustic_model
from speechmodel_pipeline.convert.lite import export_lite_model
from speechmodel_pipeline.convert.lite_trial import try_lite_model
from speechmodel_runtime import Model, load, read_graph
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_training.batches import BatchMaker
from speechmodel_training.graph import KERNELS, NORM_KERNELS, PRODUCER, frozen_graph, pack_alphabet
from speechmodel_training.learner import Tensors
from speechmodel_training.network import Geometry, fresh_weights, logits
from tensorflow.core.framework.graph_pb2 import GraphDef

from .conftest import ALPHABET, UNCHANGED, Row


def serialised_graph(weights: Mapping[str, Any], alphabet: str | Sequence[str], language: str) -> bytes:
    return b"".join(frozen_graph(weights, alphabet, language))


@pytest.fixture(scope="module")
def weights(fixtures: Path) -> Tensors:
    """Read from the constants of a graph that the runtime is known to understand."""
    definition = GraphDef.FromString((fixtures / "tf2_128.pb").read_bytes())
    constants = {
        node.name: tf.make_ndarray(node.attr["value"].tensor) for node in definition.node if node.op == "Const"
    }
    return {name: constants[name] for name in Geometry(128, 16).weight_shapes()}


@pytest.mark.training
def test_the_runtime_hears_what_it_hears_with_the_reference_graph(
    fixtures: Path, tmp_path: Path, weights: Tensors
) -> None:
    expected = json.loads((fixtures / "tf2_128.expected.json").read_text())
    graph = tmp_path / "output_graph.pb"
    graph.write_bytes(serialised_graph(weights, ALPHABET, "es"))
    with Model(graph) as model:
        for name, heard in expected.items():
            transcript = model.transcribe(load(fixtures / "clips" / name))
            assert transcript.text == heard["text"]
            assert [token.timestep for token in transcript.tokens] == heard["timesteps"]
            assert transcript.confidence == pytest.approx(heard["confidence"], abs=1e-5)


def test_training_computes_what_the_runtime_computes(
    fixtures: Path, rows: list[Row], tmp_path: Path, weights: Tensors
) -> None:
    """The best class of every frame, without blanks and repeats, gives the runtime's text."""
    clips = [Clip(fixtures / name, text, Part.TRAIN) for name, text in rows]
    batch = BatchMaker(clips, ALPHABET, UNCHANGED).make(tuple(range(len(rows))))
    classes = np.argmax(logits(weights, batch.features), axis=2).T
    for (_, transcript), frames, path in zip(rows, np.asarray(batch.frames), classes, strict=True):
        kept = [c for before, c in zip([-1, *path[:frames]], path[:frames], strict=False) if c not in (before, 16)]
        assert "".join(ALPHABET[c] for c in kept) == transcript


def test_equal_weights_give_equal_bytes(weights: Tensors) -> None:
    assert serialised_graph(weights, ALPHABET, "es") == serialised_graph(
        dict(reversed(weights.items())), ALPHABET, "es"
    )


def test_the_pieces_are_what_protobuf_writes_and_hold_the_weights_without_a_copy(weights: Tensors) -> None:
    pieces = list(frozen_graph(weights, ALPHABET, "es"))
    graph = b"".join(pieces)
    assert GraphDef.FromString(graph).SerializeToString(deterministic=True) == graph
    shared = [piece for piece in pieces if isinstance(piece, memoryview)]
    arrays = [np.asarray(weight) for weight in weights.values()]
    assert len(shared) == len(arrays) == 12
    assert all(any(np.shares_memory(piece, array) for array in arrays) for piece in shared)
    assert sum(len(piece) for piece in pieces) - sum(array.nbytes for array in arrays) < 10_000


def test_the_graph_says_nothing_that_the_runtime_cannot_know(weights: Tensors) -> None:
    definition = GraphDef.FromString(serialised_graph(weights, ALPHABET, "es"))
    normed = serialised_graph(fresh_weights(Geometry(128, 16, layer_norm=True), 1), ALPHABET, "es")
    assert {node.op for node in definition.node} == KERNELS
    assert {node.op for node in GraphDef.FromString(normed).node} == KERNELS | NORM_KERNELS
    attributes = {(node.op, name) for node in definition.node for name in node.attr}
    assert not [name for _, name in attributes if name.startswith("_")]
    assert ("GatherNd", "bad_indices_policy") not in attributes
    assert ("MatMul", "grad_a") not in attributes
    assert definition.versions.producer == PRODUCER
    assert not definition.library.function


def test_an_alphabet_that_does_not_fit_the_output_layer_is_refused() -> None:
    weights = fresh_weights(Geometry(16, 5), 1)
    with pytest.raises(ValueError, match="6 labels need 7 output classes, the weights have 6"):
        serialised_graph(weights, "abcdef", "es")


def test_the_alphabet_is_packed_as_the_runtime_reads_it() -> None:
    assert pack_alphabet(ALPHABET)[:12] == bytes.fromhex("1000 0000 0100 20 0100 0100 61")
    assert pack_alphabet("ñ") == bytes.fromhex("0100 0000 0200 c3b1")


@pytest.mark.training
def test_layer_norm_is_the_same_in_training_in_the_runtime_in_onnx_and_in_tflite(
    fixtures: Path, rows: list[Row], tmp_path: Path, weights: Tensors
) -> None:
    drawn = np.random.default_rng(1)
    shapes = Geometry(128, 16, layer_norm=True).weight_shapes()
    normed = {
        name: weights.get(name, (name.endswith("gamma") + drawn.normal(scale=0.2, size=shape)).astype(np.float32))
        for name, shape in shapes.items()
    }
    graph = tmp_path / "output_graph.pb"
    graph.write_bytes(serialised_graph(normed, ALPHABET, "es"))
    assert {node.op for node in GraphDef.FromString(graph.read_bytes()).node} == KERNELS | NORM_KERNELS
    export_acoustic_model(graph, tmp_path / "acoustic.onnx")
    clip = Clip(fixtures / rows[0][0], rows[0][1], Part.TRAIN)
    batch = BatchMaker([clip], ALPHABET, UNCHANGED).make((0,))
    trained = np.asarray(tf.nn.log_softmax(logits(normed, batch.features)))[:, 0]
    exported = AcousticModel(tmp_path / "acoustic.onnx").log_probabilities(load(clip.path))
    assert exported == pytest.approx(trained[: len(exported)], abs=1e-2)
    export_lite_model(graph, read_graph(graph), tmp_path / "output_graph.tflite")
    try_lite_model(tmp_path / "output_graph.tflite", tmp_path / "acoustic.onnx", [clip.path])
    with Model(graph) as model:
        heard = model.transcribe(load(clip.path))
    assert heard.text, "the runtime has kernels for every op"
    score = forward_score(exported, [ALPHABET.index(character) for character in heard.text])
    assert score == pytest.approx(heard.confidence, abs=0.5 + 0.1 * abs(heard.confidence))
    plain = np.asarray(tf.nn.log_softmax(logits(weights, batch.features)))[:, 0]
    assert not np.allclose(trained, plain, atol=1)
