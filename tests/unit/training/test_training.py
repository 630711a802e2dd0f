"""Training, stopping, going on and exporting, as a user sees them."""

import errno
import logging
import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_api.augmentation import AS_BEFORE
from speechmodel_api.learning import TrainingFacts, choose_settings
from speechmodel_api.progress import TrainProgress
from speechmodel_api.stages.train import TrainOutput
from speechmodel_runtime import Model, load
from speechmodel_stagekit.alphabet import write_alphabet
from speechmodel_stagekit.artefacts import recorded_output
from speechmodel_stagekit.errors import Stopped
from speechmodel_training.batches import BatchMaker
from speechmodel_training.checkpoints import Checkpoint, CheckpointStore, read_state
from speechmodel_training.errors import LossDiverged, NothingToExport, UnknownCharacters
from speechmodel_training.export import export
from speechmodel_training.learner import Batch, tensor_shapes
from speechmodel_training.network import Geometry
from speechmodel_training.schedule import ClipIndexes
from speechmodel_training.tensor_files import read_tensors, write_tensors
from speechmodel_training.trainer import Trainer
from tensorflow.core.framework.graph_pb2 import GraphDef

from .conftest import ALPHABET, Row, Workspace

pytestmark = pytest.mark.training

Make = Callable[[str], Workspace]


def test_training_gives_a_graph_a_history_and_progress(
    workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    output = workspace.train()
    assert (output.epoch, output.trained_epochs, output.step) == (4, 4, 16)
    assert recorded_output(workspace.graph().parent, TrainOutput) == output
    history = workspace.history()
    assert [row["epoch"] for row in history] == ["1", "2", "3", "4"]
    assert output.exported_epoch == int(min(history, key=lambda row: float(row["dev_loss"]))["epoch"])
    records = [TrainProgress.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    ends = [record for record in records if record.fraction == 0]
    assert [record.epoch for record in ends] == [0, 1, 2, 3, 4]
    assert records[-1].loss == output.loss == float(history[-1]["loss"])
    assert records[-1].dev_loss == output.dev_loss
    assert records[0].seconds_left is None, "no step was made"
    assert (ends[-2].seconds_left or 0) > 0 == records[-1].seconds_left
    assert records[-1].dev_wer == output.dev_wer == float(history[-1]["dev_wer"]) > 0
    assert [float(row["learning_rate"]) > 0 for row in history] == [True] * 4
    assert {record.warning for record in records} == {None}
    assert (workspace.lineage / "training.csv").read_text() == workspace.graph().with_name("training.csv").read_text()


def test_the_best_epoch_is_exported_although_few_are_saved(workspace: Workspace) -> None:
    learning_badly = {"hiddenUnits": 32, "batchSize": 4, "learningRate": 0.05}
    output = workspace.train(maxEpochs=12, hyperparameters=learning_badly, schedule={"type": "Constant"})
    history = workspace.history()
    best = min(history, key=lambda row: float(row["dev_loss"]))
    assert best is not history[-1]
    assert output.exported_epoch == int(best["epoch"])
    assert output.dev_loss == float(history[-1]["dev_loss"])


@pytest.mark.parametrize("precision", ["Float32", "BFloat16"])
def test_a_stopped_run_goes_on_as_if_nothing_had_happened(
    precision: str, make_workspace: Make, stop_at: Callable[[int], None], capsys: pytest.CaptureFixture[str]
) -> None:
    undisturbed, stopped = make_workspace("undisturbed"), make_workspace("stopped")
    expected = undisturbed.train(precision=precision)
    stop_at(6)
    with pytest.raises(Stopped, match="1 epochs finished, step 6"):
        stopped.train(precision=precision)
    stop_at(0)
    capsys.readouterr()
    assert stopped.train(precision=precision, attempt=2) == expected
    first = TrainProgress.model_validate_json(capsys.readouterr().out.splitlines()[0])
    assert (first.epoch, first.step, first.fraction) == (1, 6, 0.5)
    assert stopped.graph().read_bytes() == undisturbed.graph().read_bytes()


def test_a_stop_saves_its_state_although_the_checkpoint_that_it_gives_up_finds_the_volume_full(
    workspace: Workspace, stop_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    save = CheckpointStore.save

    def fail_when_given_up(
        self: CheckpointStore,
        checkpoint: Checkpoint,
        require_good: Callable[[Any], None],
        given_up: threading.Event,
    ) -> None:
        if checkpoint.state.step < 6:
            assert given_up.wait(60)
            raise OSError(errno.ENOSPC, "No space left on device")
        save(self, checkpoint, require_good, given_up)

    monkeypatch.setattr(CheckpointStore, "save", fail_when_given_up)
    stop_at(6)
    with pytest.raises(Stopped, match="1 epochs finished, step 6"):
        workspace.train()
    assert [read_state(folder).step for folder in workspace.lineage.glob("step-*")] == [6]


def test_a_checkpoint_that_could_not_be_read_once_is_continued_by_the_next_attempt(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for epochs in (1, 2):
        workspace.train(maxEpochs=epochs, attempt=epochs, key=f"{epochs:08}")
    index = max(workspace.lineage.glob("step-*")) / "model.index"
    away = index.rename(index.with_name("unreadable"))
    with monkeypatch.context() as killed:
        killed.setattr(Trainer, "run", lambda _: (_ for _ in ()).throw(OSError("killed here")))
        with pytest.raises(OSError, match="killed here"):
            workspace.train(maxEpochs=3, attempt=3, key="00000003")
    away.rename(index)
    capsys.readouterr()
    workspace.train(maxEpochs=3, attempt=4, key="00000003")
    assert TrainProgress.model_validate_json(capsys.readouterr().out.splitlines()[0]).epoch == 2


def test_a_stopped_run_that_stops_early_on_a_plateau_goes_on_as_if_nothing_had_happened(
    make_workspace: Make, stop_at: Callable[[int], None]
) -> None:
    never_better = {"patience": 3, "minDelta": 1000}
    settings = {
        "maxEpochs": 9,
        "earlyStop": never_better,
        "reduceOnPlateau": never_better | {"patience": 1, "factor": 0.5},
        "hyperparameters": {"hiddenUnits": 32, "batchSize": 4, "layerNorm": True, "gradientClipNorm": 5},
    }
    undisturbed, stopped = make_workspace("undisturbed"), make_workspace("stopped")
    expected = undisturbed.train(**settings)
    assert (expected.epoch, expected.stopped_early) == (4, True)
    for attempt, step in enumerate((6, 12), start=1):
        stop_at(step)
        with pytest.raises(Stopped):
            stopped.train(attempt=attempt, **settings)
    stop_at(0)
    assert stopped.train(attempt=3, **settings) == expected
    assert stopped.graph().read_bytes() == undisturbed.graph().read_bytes()
    state = read_state(max(stopped.lineage.glob("step-*")))
    assert (state.reductions, state.early_stop.epochs) == (3, 3)
    assert state.facts.layer_norm


def test_an_epoch_in_which_augmentation_and_max_epochs_change_sees_every_clip_once(
    workspace: Workspace, stop_at: Callable[[int], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    stream = BatchMaker.stream

    def record(self: BatchMaker, batches: list[ClipIndexes], epoch: int = 0) -> Iterator[Batch]:
        of_training = len(self._clips) == 14
        for clips, batch in zip(batches, stream(self, batches, epoch), strict=True):
            yield batch
            seen.extend(clips if of_training else ())

    monkeypatch.setattr(BatchMaker, "stream", record)
    stop_at(2)
    with pytest.raises(Stopped):
        workspace.train(maxEpochs=1)
    stop_at(4)
    with pytest.raises(Stopped):
        workspace.train(attempt=2, key="33333333", maxEpochs=2, augmentation=["speed[p=0.5,factor=1.3]"])
    assert sorted(seen) == list(range(14))


def test_gradients_are_shortened_to_the_given_norm(workspace: Workspace) -> None:
    def moved(clip_norm: float) -> float:
        """Second moments of Adam, which are squares of the gradients."""
        shutil.rmtree(workspace.lineage, ignore_errors=True)
        shutil.rmtree(workspace.graph().parent, ignore_errors=True)
        given = {"hiddenUnits": 32, "batchSize": 14, "gradientClipNorm": clip_norm}
        workspace.train(maxEpochs=1, hyperparameters=given)
        shapes = tensor_shapes(Geometry(32, len(ALPHABET)))
        tensors = read_tensors(max(workspace.lineage.glob("step-*")) / "model", shapes)
        return float(sum(tensors[name].sum() for name in tensors if name.endswith("/Adam_1")))

    assert moved(0.5) == pytest.approx(0.001 * 0.5**2, rel=1e-3)
    assert moved(0.25) == pytest.approx(0.001 * 0.25**2, rel=1e-3)


def test_raising_max_epochs_continues_from_the_last_checkpoint(make_workspace: Make) -> None:
    """Auto is out of place here: some of its shares grow from the first epoch to the last of maxEpochs."""
    at_once, in_two = make_workspace("at-once"), make_workspace("in-two")
    settings = {"schedule": {"type": "Constant"}, "augmentation": AS_BEFORE}
    whole = at_once.train(maxEpochs=5, **settings)
    in_two.train(maxEpochs=3, **settings)
    more = in_two.train(maxEpochs=5, key="33333333", **settings)
    assert more.trained_epochs == 2
    assert more.graph_sha256 == whole.graph_sha256
    assert [row["epoch"] for row in in_two.history("33333333")] == ["1", "2", "3", "4", "5"]


def test_a_model_that_learns_under_another_augmentation_is_exported_though_its_dev_clips_are_harder(
    workspace: Workspace,
) -> None:
    settings: dict[str, Any] = {
        "hyperparameters": {"hiddenUnits": 32, "batchSize": 4, "learningRate": 0.01},
        "schedule": {"type": "Constant"},
    }
    plain = workspace.train(maxEpochs=12, augmentation=[], **settings)
    harder = workspace.train(maxEpochs=15, augmentation=["add[stddev=0.5]"], key="33333333", **settings)
    losses = [float(row["dev_loss"]) for row in workspace.history("33333333")]
    assert min(losses[12:]) > min(losses[:12]), "the clips are no harder, which the test is about"
    assert harder.exported_epoch == 13 + int(np.argmin(losses[12:]))
    assert harder.graph_sha256 != plain.graph_sha256


def test_raising_max_epochs_raises_the_rate_to_the_longer_curve(workspace: Workspace) -> None:
    def rate_in_the_end() -> float:
        newest = max(workspace.lineage.glob("step-*"))
        return float(read_tensors(newest / "model", {"learning_rate": ()})["learning_rate"])

    curve = {"type": "Cosine", "warmupPercent": 0, "floorPercent": 1}
    given = {"hiddenUnits": 32, "batchSize": 14, "learningRate": 0.002}
    workspace.train(maxEpochs=2, schedule=curve, hyperparameters=given)
    assert rate_in_the_end() == pytest.approx(0.00002)
    workspace.train(maxEpochs=3, schedule=curve, hyperparameters=given, key="33333333")
    assert rate_in_the_end() == pytest.approx(0.00002)
    workspace.train(maxEpochs=4, schedule=curve | {"floorPercent": 100}, hyperparameters=given, key="44444444")
    assert rate_in_the_end() == pytest.approx(0.002)


def test_settings_that_are_not_given_are_chosen_once_for_a_lineage(
    workspace: Workspace, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.INFO, "speechmodel_training")
    first = workspace.train(maxEpochs=1, hyperparameters={"hiddenUnits": 32})
    facts = TrainingFacts(clips=14, hours=0.01, speakers=None, labels=len(ALPHABET))
    chosen = choose_settings(facts)
    assert first.settings == chosen.model_copy(update={"hidden_units": 32, "max_epochs": 1})
    assert "14 clips, 0.01 hours, unknown speakers and 16 labels" in caplog.text
    tuned = chosen.model_copy(update={"dropout": 0.9, "hidden_units": 16})
    monkeypatch.setattr("speechmodel_training.chosen.choose_settings", lambda *_, **__: tuned)
    later = workspace.train(maxEpochs=2, hyperparameters={"hiddenUnits": 32}, key="33333333")
    assert later.settings == chosen.model_copy(update={"hidden_units": 32, "max_epochs": 2})


def test_each_clip_is_in_two_versions_only_if_neither_batch_nor_epochs_are_given(
    workspace: Workspace, stop_at: Callable[[int], None]
) -> None:
    given = {"hiddenUnits": 32}
    once = workspace.train(maxEpochs=1, hyperparameters=given).settings
    assert once is not None
    assert once.consistency is None
    stop_at(3)
    with pytest.raises(Stopped):
        workspace.train(maxEpochs=None, hyperparameters=given, lineage="77777777", key="33333333")
    stop_at(0)
    raised = workspace.train(maxEpochs=2, hyperparameters=given, lineage="77777777", key="44444444").settings
    assert raised is not None
    assert (raised.consistency, raised.batch_size) == (0.2, 8)


def test_layer_norm_brings_its_rate_and_clipped_gradients(workspace: Workspace) -> None:
    chosen = workspace.train(maxEpochs=1, hyperparameters={"layerNorm": True}).settings
    assert chosen is not None
    assert (chosen.layer_norm, chosen.gradient_clip_norm, chosen.learning_rate) == (True, 10, 0.005)
    assert read_state(max(workspace.lineage.glob("step-*"))).facts.layer_norm


def test_epochs_of_all_attempts_count_as_trained_for_the_target(
    workspace: Workspace, stop_at: Callable[[int], None]
) -> None:
    workspace.train(maxEpochs=2)
    stop_at(14)
    with pytest.raises(Stopped):
        workspace.train(maxEpochs=4, key="33333333")
    stop_at(0)
    assert workspace.train(maxEpochs=4, key="33333333", attempt=2).trained_epochs == 2


def test_with_nothing_left_to_train_the_same_graph_is_exported_again(workspace: Workspace) -> None:
    first = workspace.train(maxEpochs=3)
    lowered = workspace.train(maxEpochs=2, key="33333333")
    assert (lowered.trained_epochs, lowered.epoch) == (0, 3)
    assert workspace.graph("33333333").read_bytes() == workspace.graph().read_bytes()
    shutil.rmtree(workspace.graph().parent)
    assert export(workspace.input(maxEpochs=3)) == first


def test_nothing_is_exported_before_an_epoch_is_finished(workspace: Workspace) -> None:
    with pytest.raises(NothingToExport, match="train first"):
        export(workspace.input())


def test_a_finished_run_is_not_run_again(workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    first = workspace.train(maxEpochs=1)
    shutil.rmtree(workspace.lineage)
    capsys.readouterr()
    assert workspace.train(maxEpochs=1, attempt=2) == first
    assert not capsys.readouterr().out
    assert not workspace.lineage.exists()


def test_another_batch_size_goes_on_with_the_clips_not_yet_seen(
    workspace: Workspace, stop_at: Callable[[int], None]
) -> None:
    stop_at(6)
    with pytest.raises(Stopped):
        workspace.train(maxEpochs=2)
    stop_at(0)
    output = workspace.train(maxEpochs=2, attempt=2, hyperparameters={"hiddenUnits": 32, "batchSize": 2})
    # 4 steps and 2 more of the old size saw 14 + 7 clips; the 7 left are 4 batches of at most 2
    assert output.step == 6 + 4
    assert [row["step"] for row in workspace.history()] == ["4", "10"]


def test_a_loss_that_diverges_ends_training_and_spares_the_last_checkpoint(workspace: Workspace) -> None:
    workspace.train(maxEpochs=1)
    (checkpoint,) = workspace.lineage.glob("step-*")
    tensors = read_tensors(checkpoint / "model", tensor_shapes(Geometry(32, len(ALPHABET))))
    write_tensors(checkpoint / "model", tensors | {"layer_6/weights": np.full((32, 17), 3e38, np.float32)})
    wild = {"hiddenUnits": 32, "batchSize": 4, "learningRate": 0.5}
    with pytest.raises(
        LossDiverged, match=r"the training loss became .* lower hyperparameters.learningRate \(now 0.5\)"
    ):
        workspace.train(maxEpochs=3, key="33333333", hyperparameters=wild)
    assert list(workspace.lineage.glob("step-*")) == [checkpoint]
    assert not workspace.graph("33333333").exists()


def test_settings_that_the_dataset_leaves_no_effect_are_reported(
    workspace: Workspace, rows: list[Row], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    workspace.prepare(rows)
    settings = {"hyperparameters": {"hiddenUnits": 32, "batchSize": 500}, "earlyStop": {"patience": 2}}
    assert workspace.train(maxEpochs=1, **settings).step == 1
    sentences = (
        f"batchSize 500 is above the number of training clips, so {len(rows)} is used",
        "earlyStop and reduceOnPlateau have no effect, because there are no dev clips; add dev clips, or remove these settings",
    )
    assert all(sentence in caplog.text for sentence in sentences)
    records = [TrainProgress.model_validate_json(line) for line in capsys.readouterr().out.splitlines()]
    assert {record.warning for record in records} == {"; ".join(sentences)}


def test_what_is_exported_is_the_average_of_the_weights(workspace: Workspace) -> None:
    workspace.train(maxEpochs=1)
    (checkpoint,) = workspace.lineage.glob("step-*")
    tensors = read_tensors(checkpoint / "model", tensor_shapes(Geometry(32, len(ALPHABET))))
    graph = GraphDef.FromString(workspace.graph().read_bytes())
    (bias,) = [node.attr["value"].tensor for node in graph.node if node.name == "layer_6/bias"]
    np.testing.assert_array_equal(tf.make_ndarray(bias), tensors["layer_6/bias/ExponentialMovingAverage"])
    assert not np.array_equal(tf.make_ndarray(bias), tensors["layer_6/bias"])


def test_without_dev_clips_the_last_epoch_is_exported(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare(rows)
    output = workspace.train(maxEpochs=3)
    assert output.exported_epoch == 3
    assert output.dev_loss is None
    assert {row["dev_loss"] for row in workspace.history()} == {""}


def test_unusable_data_ends_before_anything_is_written(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare([(rows[0][0], "çççç"), *rows[1:4]])
    with pytest.raises(UnknownCharacters):
        workspace.train()
    assert not workspace.lineage.exists()


def test_a_model_that_learned_its_clips_says_them_in_the_runtime(workspace: Workspace, rows: list[Row]) -> None:
    """In Cyrillic, so that labels of more than one byte are covered. With the augmentation Auto, a few
    clips are never learned by heart.
    """
    cyrillic = str.maketrans("aehijklmnoprsuv", "аехийклмнопрсув")
    by_phrase = {transcript.translate(cyrillic): name for name, transcript in rows}
    workspace.prepare([(name, phrase) for phrase, name in by_phrase.items()])
    write_alphabet(workspace.data / "alphabet.txt", [label.translate(cyrillic) for label in ALPHABET])
    output = workspace.train(
        maxEpochs=250, hyperparameters={"hiddenUnits": 128, "batchSize": 6}, augmentation=AS_BEFORE
    )
    assert output.loss < 1
    with Model(workspace.graph()) as model:
        right = [model.transcribe(load(workspace.data / name)).text == said for said, name in by_phrase.items()]
    assert sum(right) >= len(right) - 1
