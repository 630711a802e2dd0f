import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_api.augmentation import parse
from speechmodel_stagekit.dataset import Clip, Part
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_training.augmentation import Augmenter
from speechmodel_training.batches import BatchMaker
from speechmodel_training.learner import Learner, average_of, tensor_shapes, upstream_shapes
from speechmodel_training.network import CONTEXT, Dropout, Geometry, fresh_weights, logits, patches

from .conftest import ALPHABET, UNCHANGED, Row

GEOMETRY = Geometry(hidden_units=16, labels=len(ALPHABET))
CELL = "cudnn_lstm/rnn/multi_rnn_cell/cell_0/cudnn_compatible_lstm_cell"
UPSTREAM_WEIGHTS = {
    "layer_1/weights": (494, 16),
    "layer_1/bias": (16,),
    "layer_2/weights": (16, 16),
    "layer_2/bias": (16,),
    "layer_3/weights": (16, 16),
    "layer_3/bias": (16,),
    "layer_5/weights": (16, 16),
    "layer_5/bias": (16,),
    "layer_6/weights": (16, 17),
    "layer_6/bias": (17,),
    f"{CELL}/kernel": (32, 64),
    f"{CELL}/bias": (64,),
}


@pytest.fixture
def clips(fixtures: Path, rows: list[Row]) -> list[Clip]:
    return [Clip(fixtures / name, transcript, Part.TRAIN) for name, transcript in rows]


def learner(dropout: float = 0.0, seed: int = 1) -> Learner:
    return Learner(GEOMETRY, seed=seed, learning_rate=0.001, dropout=dropout)


def test_a_checkpoint_holds_upstreams_forty_names_and_the_averages() -> None:
    scalars = {"beta1_power", "beta2_power", "global_step", "learning_rate"}
    moments = {f"{name}/{moment}" for name in UPSTREAM_WEIGHTS for moment in ("Adam", "Adam_1")}
    shapes = upstream_shapes(GEOMETRY)
    assert set(shapes) == set(UPSTREAM_WEIGHTS) | moments | scalars
    assert len(shapes) == 40
    assert {name: shapes[name] for name in UPSTREAM_WEIGHTS} == UPSTREAM_WEIGHTS
    averages = {f"{name}/ExponentialMovingAverage": shape for name, shape in UPSTREAM_WEIGHTS.items()}
    assert tensor_shapes(GEOMETRY) == shapes | averages
    assert {name: tensor.shape for name, tensor in learner().tensors().items()} == shapes | averages
    assert learner().tensors()["global_step"].dtype == np.int64


def test_fresh_weights_depend_on_the_seed_only() -> None:
    one, same, other = fresh_weights(GEOMETRY, 1), fresh_weights(GEOMETRY, 1), fresh_weights(GEOMETRY, 2)
    for name, weight in one.items():
        assert weight.tobytes() == same[name].tobytes()
        assert name.endswith("bias") or weight.tobytes() != other[name].tobytes()


def test_fresh_weights_are_glorot_uniform() -> None:
    weights = fresh_weights(Geometry(256, 20), 1)["layer_2/weights"]
    edge = np.sqrt(6 / 512)
    assert np.abs(weights).max() <= edge
    assert weights.std() == pytest.approx(edge / np.sqrt(3), rel=0.02)


def test_fresh_cells_keep_their_state() -> None:
    bias = fresh_weights(GEOMETRY, 1)[f"{CELL}/bias"]
    gates = np.split(bias, 4)
    assert [set(gate) for gate in gates] == [{0}, {0}, {1}, {0}]  # input, candidate, forget, output
    assert bias.dtype == np.float32


def test_a_patch_is_a_frame_between_its_neighbours() -> None:
    features = tf.reshape(tf.range(1.0, 1 + 30 * 26), [1, 30, 26])
    middle = np.asarray(patches(features))[12, 0].reshape(19, 26)
    np.testing.assert_array_equal(middle, np.asarray(features)[0, 12 - CONTEXT : 13 + CONTEXT])
    first = np.asarray(patches(features))[0, 0].reshape(19, 26)
    assert not first[:CONTEXT].any()
    np.testing.assert_array_equal(first[CONTEXT], np.asarray(features)[0, 0])


def test_dropout_is_the_same_for_the_same_step_and_another_for_the_next() -> None:
    def mask(step: int, layer: str = "layer_1", seed: int = 5) -> bytes:
        dropped = Dropout(0.3, seed, tf.constant(step, tf.int64))(tf.ones([40, 16]), layer)
        return np.asarray(dropped).tobytes()

    assert mask(1) == mask(1)
    assert len({mask(1), mask(2), mask(1, "layer_2"), mask(1, seed=6)}) == 4
    values = np.frombuffer(mask(3), np.float32)
    assert set(np.round(values, 5)) == {0.0, np.float32(round(1 / 0.7, 5))}
    assert (values == 0).mean() == pytest.approx(0.3, abs=0.06)


@pytest.mark.slow
def test_the_company_in_a_batch_does_not_change_a_clips_loss(clips: list[Clip]) -> None:
    batches, model = BatchMaker(clips, ALPHABET, UNCHANGED), learner()
    alone = model.measure(batches.make((0,))).loss_sum + model.measure(batches.make((17,))).loss_sum
    assert model.measure(batches.make((0, 17))).loss_sum == pytest.approx(alone, rel=1e-5)


@pytest.mark.slow
def test_learning_lowers_the_loss(clips: list[Clip]) -> None:
    batches, model = BatchMaker(clips, ALPHABET, UNCHANGED), learner()
    batch = batches.make(tuple(range(6)))
    before = model.measure(batch).loss_sum
    for _ in range(20):
        model.train(batch)
    assert model.step == 20
    assert model.measure(batch).loss_sum < 0.9 * before


@pytest.mark.training
def test_the_average_follows_the_weights_and_is_what_is_measured(clips: list[Clip]) -> None:
    batches, model = BatchMaker(clips, ALPHABET, UNCHANGED), learner()
    batch = batches.make(tuple(range(6)))
    average = np.asarray(model.tensors()["layer_6/weights"], np.float32)
    for step in range(1, 31):
        model.train(batch)
        tensors = model.tensors()
        decay = (1 + step) / (10 + step)
        average = decay * average + (1 - decay) * np.asarray(tensors["layer_6/weights"], np.float32)
        np.testing.assert_allclose(np.asarray(tensors[average_of("layer_6/weights")], np.float32), average, atol=1e-6)
    assert not np.allclose(average, tensors["layer_6/weights"], atol=1e-4)
    measured = learner()
    measured.load(tensors | {name: np.zeros_like(tensors[name]) for name in UPSTREAM_WEIGHTS})
    assert measured.measure(batch).loss_sum == model.measure(batch).loss_sum


@pytest.mark.training
def test_two_learners_of_one_seed_stay_equal_to_the_last_bit(clips: list[Clip]) -> None:
    batches = BatchMaker(clips, ALPHABET, UNCHANGED)
    models = [learner(dropout=0.2), learner(dropout=0.2)]
    for model in models:
        for first in range(0, 12, 3):
            model.train(batches.make((first, first + 1, first + 2)))
    one, other = (model.tensors() for model in models)
    assert all(np.asarray(one[name]).tobytes() == np.asarray(other[name]).tobytes() for name in one)


@pytest.mark.slow
def test_consistency_lets_the_network_answer_alike_to_both_versions_of_a_clip(clips: list[Clip]) -> None:
    louder = Augmenter([parse("gain[db=0~30]")], seed=1, max_epochs=2)
    batch = BatchMaker(clips, ALPHABET, louder, versions=2).make(tuple(range(6)), epoch=1)
    assert (batch.clips, len(batch.features)) == (6, 12)

    def apart(consistency: float) -> float:
        """Return the mean difference of the log probabilities of the versions after 10 steps."""
        model = Learner(GEOMETRY, seed=1, learning_rate=0.003, dropout=0, consistency=consistency)
        for _ in range(10):
            model.train(batch)
        weights = {name: tf.constant(model.tensors()[name]) for name in GEOMETRY.weight_shapes()}
        first, second = tf.split(tf.nn.log_softmax(logits(weights, batch.features)), 2, axis=1)
        return float(tf.reduce_mean(tf.abs(first - second)))

    assert apart(10.0) < 0.8 * apart(1e-6)


@pytest.mark.training
def test_equal_versions_are_not_moved_by_consistency(clips: list[Clip]) -> None:
    batch = BatchMaker(clips, ALPHABET, UNCHANGED, versions=2).make(tuple(range(6)))
    weak, strong = (
        Learner(GEOMETRY, seed=1, learning_rate=0.003, dropout=0, consistency=weight) for weight in (1e-6, 9.0)
    )
    once = learner()
    once.learning_rate = 0.003
    for model in (weak, strong):
        model.train(batch)
    once.train(BatchMaker(clips, ALPHABET, UNCHANGED).make(tuple(range(6))))
    for name in GEOMETRY.weight_shapes():
        one, other = (np.asarray(model.tensors()[name], np.float32) for model in (weak, strong))
        np.testing.assert_allclose(one, other, atol=1e-4)
    assert strong.loss_sum == pytest.approx(once.loss_sum, rel=1e-4)


@pytest.mark.slow
def test_a_step_copies_only_tensors_that_somebody_holds(clips: list[Clip]) -> None:
    batch, model = BatchMaker(clips, ALPHABET, UNCHANGED).make((0, 1)), learner()
    model.train(batch)

    def places() -> list[int]:
        return [np.asarray(model.tensors()[name]).ctypes.data for name in UPSTREAM_WEIGHTS]

    before = places()
    model.train(batch)
    assert places() == before
    kept = model.tensors()
    bits = {name: np.asarray(tensor).tobytes() for name, tensor in kept.items()}
    model.train(batch)
    assert not set(places()) & set(before)
    assert {name: np.asarray(tensor).tobytes() for name, tensor in kept.items()} == bits


def test_the_learning_rate_of_this_run_wins_over_the_checkpoints(clips: list[Clip]) -> None:
    old = learner()
    new = Learner(GEOMETRY, seed=1, learning_rate=0.25, dropout=0.0)
    new.load(old.tensors())
    assert new.tensors()["learning_rate"] == 0.25


def test_a_stream_gives_the_batches_in_order(clips: list[Clip]) -> None:
    order = [(0, 1), (2,), (3, 4, 5), (6,)]
    batches = BatchMaker(clips, ALPHABET, UNCHANGED)
    assert [batch.clips for batch in batches.stream(order)] == [2, 1, 3, 1]
    for batch, chosen in zip(batches.stream(order), order, strict=True):
        np.testing.assert_array_equal(batch.features, batches.make(chosen).features)


def test_a_stream_passes_on_what_went_wrong(clips: list[Clip], tmp_path: Path) -> None:
    gone = Clip(tmp_path / "gone.wav", "a", Part.TRAIN)
    with pytest.raises(ArtefactMissing):
        list(BatchMaker([*clips, gone], ALPHABET, UNCHANGED).stream([(0,), (18,), (1,)]))


def test_clips_that_are_the_same_in_every_epoch_are_read_once_as_far_as_there_is_room(
    clips: list[Clip], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copies = [replace(clip, path=Path(shutil.copy(clip.path, tmp_path))) for clip in clips[:3]]
    expected = BatchMaker(copies, ALPHABET, UNCHANGED).make((0, 1, 2))
    monkeypatch.setattr("speechmodel_training.batches.MOST_KEPT_FRAMES", int(sum(expected.frames[:2])))
    changing, repeating = (BatchMaker(copies, ALPHABET, UNCHANGED, repeats=repeats) for repeats in (False, True))
    for batches in (changing, repeating):
        np.testing.assert_array_equal(batches.make((0, 1, 2)).features, expected.features)
    copies[0].path.unlink()
    copies[2].path.unlink()
    np.testing.assert_array_equal(
        repeating.make((0, 1), epoch=1).features[1], expected.features[1, : expected.frames[1]]
    )
    with pytest.raises(ArtefactMissing):
        repeating.make((2,), epoch=1)
    with pytest.raises(ArtefactMissing):
        changing.make((0,), epoch=1)
