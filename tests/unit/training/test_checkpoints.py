import errno
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from speechmodel_stagekit.alphabet import read_alphabet
from speechmodel_stagekit.durable import sync_folder
from speechmodel_training import checkpoints, tensor_files
from speechmodel_training.checkpoints import Checkpoint, CheckpointStore
from speechmodel_training.epochs import EpochRecord
from speechmodel_training.errors import CheckpointMismatch, CheckpointsDamaged, ForeignCheckpoints, Superseded
from speechmodel_training.learner import Learner, Tensors
from speechmodel_training.network import Geometry
from speechmodel_training.ownership import Owner, Ownership, owning
from speechmodel_training.state import LineageFacts, RunningEpoch, TrainingState
from speechmodel_training.tensor_files import write_tensors

from .conftest import ALPHABET

Save = Callable[..., None]


@pytest.fixture
def ownership(tmp_path: Path) -> Iterator[Ownership]:
    with owning(tmp_path / "lineage", Owner(owner="a", attempt=1)) as ownership:
        yield ownership


@pytest.fixture
def store(ownership: Ownership, facts: LineageFacts) -> CheckpointStore:
    return CheckpointStore(ownership, facts, keep=2)


@pytest.fixture(scope="module")
def tensors() -> Tensors:
    learner = Learner(Geometry(16, 16), seed=1, learning_rate=0.001, dropout=0.0)
    return {name: np.asarray(tensor) for name, tensor in learner.tensors().items()}


@pytest.fixture
def save(store: CheckpointStore, facts: LineageFacts, tensors: Tensors) -> Save:
    """Saves a checkpoint at an epoch's end (with `dev_loss`) or in mid-epoch (without)."""

    def save(step: int, *, dev_loss: float | None = None, attempt: int = 1) -> None:
        record = EpochRecord(
            epoch=step // 10, step=step, loss=1.0, dev_loss=dev_loss, seconds=1.0, clips_per_second=1.0
        )
        state = TrainingState(
            facts=facts,
            attempt=attempt,
            target="11111111",
            epoch=step // 10,
            step=step,
            running=RunningEpoch() if dev_loss is not None else RunningEpoch(clips=5, loss_sum=2.5),
            history=(record,),
        )
        store.save(Checkpoint(state, tensors | {"global_step": np.array(step, np.int64)}))

    return save


def newest_step(store: CheckpointStore) -> int:
    checkpoint = store.newest()
    assert checkpoint is not None
    assert int(checkpoint.tensors["global_step"]) == checkpoint.state.step
    return checkpoint.state.step


def folders(store: CheckpointStore, ownership: Ownership) -> list[str]:
    return sorted(path.name for path in ownership.folder.iterdir() if path.is_dir())


def test_nothing_was_saved_yet(store: CheckpointStore) -> None:
    assert store.newest() is None
    assert store.best() is None


def test_what_was_saved_is_read_back(store: CheckpointStore, save: Save, tensors: Tensors) -> None:
    save(7)
    checkpoint = store.newest()
    assert checkpoint is not None
    assert checkpoint.state.running.loss_sum == 2.5
    assert set(checkpoint.tensors) == set(tensors)
    for name in set(tensors) - {"global_step"}:
        assert checkpoint.tensors[name].tobytes() == tensors[name].tobytes()


def test_the_highest_step_is_the_newest(store: CheckpointStore, save: Save) -> None:
    save(20)
    save(100, attempt=1)
    save(100, attempt=2)
    checkpoint = store.newest()
    assert checkpoint is not None
    assert (checkpoint.state.step, checkpoint.state.attempt) == (100, 2)


def test_an_epoch_that_is_measured_after_its_last_step_was_saved_replaces_nothing_before_it_is_there(
    facts: LineageFacts, ownership: Ownership, tensors: Tensors, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = CheckpointStore(ownership, facts, keep=1)
    weights = tensors | {"global_step": np.array(10, np.int64)}
    trained = TrainingState(facts=facts, attempt=1, target="1", step=10, running=RunningEpoch(clips=5, loss_sum=2.5))
    measured = trained.model_copy(update={"epoch": 1, "running": RunningEpoch()})
    store.save(Checkpoint(trained, dict(weights)))
    with monkeypatch.context() as killed:
        killed.setattr(Path, "rename", lambda *_: (_ for _ in ()).throw(OSError("killed here")))
        with pytest.raises(OSError, match="killed here"):
            store.save(Checkpoint(measured, dict(weights)))
    before = store.newest()
    assert before is not None
    assert before.state == trained
    store.save(Checkpoint(measured, dict(weights)))
    after = store.newest()
    assert after is not None
    assert after.state == measured


def test_the_newest_few_are_kept(store: CheckpointStore, save: Save, ownership: Ownership) -> None:
    for step in (1, 2, 3, 4):
        save(step)
    assert folders(store, ownership) == [
        "step-000000003-epoch-000000-attempt-0001",
        "step-000000004-epoch-000000-attempt-0001",
    ]


def test_the_best_on_dev_is_kept_until_a_better_one_is_there(
    store: CheckpointStore, save: Save, ownership: Ownership
) -> None:
    for step, dev_loss in ((10, 3.0), (20, 1.0), (30, 2.0), (40, 2.0), (50, 2.0)):
        save(step, dev_loss=dev_loss)
    best = store.best()
    assert best is not None
    assert best.state.step == 20
    assert len(folders(store, ownership)) == 3
    save(60, dev_loss=0.5)
    best = store.best()
    assert best is not None
    assert best.state.step == 60
    assert "step-000000020-epoch-000002-attempt-0001" not in folders(store, ownership)


@pytest.fixture
def save_best(store: CheckpointStore, facts: LineageFacts, tensors: Tensors) -> Save:
    """Saves the averages of an epoch with `dev_loss`."""

    def save(step: int, dev_loss: float) -> None:
        record = EpochRecord(epoch=step // 10, step=step, loss=1, dev_loss=dev_loss, seconds=1, clips_per_second=1)
        state = TrainingState(facts=facts, attempt=1, target="1", epoch=step // 10, step=step, history=(record,))
        averages: Tensors = {
            name: np.full(shape, dev_loss, np.float32) for name, shape in facts.geometry.weight_shapes().items()
        }
        store.save_best(Checkpoint(state, averages))

    return save


def best_step(store: CheckpointStore) -> int:
    best = store.best()
    assert best is not None
    assert set(best.tensors) == set(Geometry(16, 16).weight_shapes())
    return best.state.step


def test_the_averages_of_a_best_epoch_are_read_by_the_names_of_the_weights(
    store: CheckpointStore, save: Save, save_best: Save
) -> None:
    save_best(10, 2.5)
    save(20, dev_loss=3.0)
    best = store.best()
    assert best is not None
    assert np.all(np.asarray(best.tensors["layer_1/weights"]) == 2.5)
    assert newest_step(store) == 20


def test_a_best_epoch_counts_once_a_checkpoint_after_it_is_there(
    store: CheckpointStore, save: Save, save_best: Save, ownership: Ownership
) -> None:
    save_best(10, 3.0)
    save(20, dev_loss=4.0)
    save_best(30, 2.0)
    save_best(40, 1.0)
    assert best_step(store) == 10
    assert len(list(ownership.folder.glob("best-*"))) == 2, "the third takes the place of the second"
    save(45)
    assert best_step(store) == 40
    assert [folder.name for folder in ownership.folder.glob("best-*")] == ["best-000000040-epoch-000004-attempt-0001"]


def test_a_best_epoch_after_the_newest_checkpoint_is_forgotten_when_training_continues(
    store: CheckpointStore, save: Save, save_best: Save, ownership: Ownership
) -> None:
    save_best(10, 3.0)
    save(20, dev_loss=4.0)
    save_best(30, 2.0)
    store.forget_later_bests()
    save(40, dev_loss=5.0)
    assert best_step(store) == 10


def test_a_best_epoch_that_is_measured_after_its_last_step_was_saved_is_forgotten_when_training_continues(
    store: CheckpointStore, save_best: Save, facts: LineageFacts, tensors: Tensors, ownership: Ownership
) -> None:
    trained = TrainingState(facts=facts, attempt=1, target="1", step=10, running=RunningEpoch(clips=5, loss_sum=2.5))
    store.save(Checkpoint(trained, tensors | {"global_step": np.array(10, np.int64)}))
    save_best(10, 2.0)
    store.forget_later_bests()
    assert folders(store, ownership) == ["step-000000010-epoch-000000-attempt-0001"]


def test_mid_epoch_weights_are_never_the_best(store: CheckpointStore, save: Save) -> None:
    save(10, dev_loss=3.0)
    save(15)
    best = store.best()
    assert best is not None
    assert best.state.step == 10


def test_without_dev_losses_the_newest_is_the_best(store: CheckpointStore, save: Save) -> None:
    save(10)
    save(15)
    best = store.best()
    assert best is not None
    assert best.state.step == 15


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-50])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def empty(path: Path) -> None:
    path.write_bytes(b"")


TENSORS = ("model.data-00000-of-00001", "model.index")


@pytest.mark.parametrize(
    "name, damage",
    [
        *((name, damage) for name in TENSORS for damage in (cut, flip, empty, Path.unlink)),
        *(("state.json", damage) for damage in (cut, empty, Path.unlink)),  # with a flipped digit it is still JSON
    ],
)
def test_a_damaged_newest_checkpoint_falls_back_to_the_one_before(
    store: CheckpointStore,
    save: Save,
    ownership: Ownership,
    caplog: pytest.LogCaptureFixture,
    name: str,
    damage: Callable[[Path], None],
) -> None:
    save(1)
    save(2)
    damage(ownership.folder / "step-000000002-epoch-000000-attempt-0001" / name)
    assert newest_step(store) == 1
    assert "step-000000002-epoch-000000-attempt-0001" in caplog.text
    assert "falling back to the checkpoint before" in caplog.text


def test_a_damaged_checkpoint_is_not_counted_among_those_kept(
    store: CheckpointStore, save: Save, ownership: Ownership
) -> None:
    save(1)
    save(3)
    cut(ownership.folder / "step-000000003-epoch-000000-attempt-0001" / "model.data-00000-of-00001")
    assert newest_step(store) == 1
    save(2)
    assert folders(store, ownership) == [
        "step-000000001-epoch-000000-attempt-0001",
        "step-000000002-epoch-000000-attempt-0001",
    ]


def test_fewer_checkpoints_are_kept_from_the_start_and_one_that_cannot_be_read_stays_until_the_next_save(
    store: CheckpointStore, save: Save, ownership: Ownership, facts: LineageFacts
) -> None:
    save(1)
    save(2)
    second, third = (ownership.folder / f"step-00000000{step}-epoch-000000-attempt-0001" for step in (2, 3))
    shutil.copytree(second, third)
    cut(third / "model.data-00000-of-00001")
    lowered = CheckpointStore(ownership, facts, keep=1)
    assert newest_step(lowered) == 2
    lowered.prune(damaged=False)
    assert folders(lowered, ownership) == [second.name, third.name]
    lowered.prune()
    assert folders(lowered, ownership) == [second.name]


def test_a_damaged_best_gives_way_to_the_next_best(store: CheckpointStore, save: Save, ownership: Ownership) -> None:
    save(10, dev_loss=1.0)
    save(20, dev_loss=2.0)
    empty(ownership.folder / "step-000000010-epoch-000001-attempt-0001" / "model.data-00000-of-00001")
    best = store.best()
    assert best is not None
    assert best.state.step == 20


def test_training_does_not_start_over_silently_when_all_are_damaged(
    store: CheckpointStore, save: Save, ownership: Ownership
) -> None:
    save(1)
    cut(ownership.folder / "step-000000001-epoch-000000-attempt-0001" / "model.index")
    with pytest.raises(CheckpointsDamaged, match="restartToken"):
        store.newest()


def test_another_geometry_says_which_setting_changed(save: Save, ownership: Ownership, facts: LineageFacts) -> None:
    save(1)
    other = CheckpointStore(ownership, facts.model_copy(update={"hidden_units": 32}), keep=2)
    with pytest.raises(CheckpointMismatch, match="hidden_units was 16 and is now 32"):
        other.newest()


def test_who_was_superseded_saves_nothing(store: CheckpointStore, save: Save, ownership: Ownership) -> None:
    save(1)
    Ownership(ownership.folder, Owner(owner="a", attempt=2)).claim()
    with pytest.raises(Superseded):
        save(2)
    assert folders(store, ownership) == ["step-000000001-epoch-000000-attempt-0001"]


def test_what_a_killed_process_left_half_written_is_ignored_and_removed(
    store: CheckpointStore, save: Save, ownership: Ownership
) -> None:
    save(1)
    whole = ownership.folder / "step-000000001-epoch-000000-attempt-0001"
    shutil.copytree(whole, ownership.folder / ".step-000000009-epoch-000000-attempt-0001.partial")
    assert store.foreign() == []
    assert newest_step(store) == 1
    shutil.rmtree(whole)
    assert store.newest() is None, "it was killed in its first save"
    save(2)
    assert all(name.startswith("step-") for name in folders(store, ownership))


def test_an_error_of_the_disk_while_a_checkpoint_is_flushed_early_fails_the_save_and_spares_the_others(
    store: CheckpointStore, save: Save, ownership: Ownership, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(1)
    save(2)
    reported = threading.Event()

    def sync_reporting_once(folder: Path) -> None:
        if threading.current_thread().name == "flush" and not reported.is_set():
            reported.set()
            raise OSError(errno.EIO, "Input/output error")
        sync_folder(folder)

    def write_until_reported(prefix: Path, tensors: Tensors) -> None:
        write_tensors(prefix, tensors)
        assert reported.wait(60)

    monkeypatch.setattr(tensor_files, "sync_folder", sync_reporting_once)
    monkeypatch.setattr(checkpoints, "write_tensors", write_until_reported)
    with pytest.raises(OSError, match="Input/output error"):
        save(3)
    assert folders(store, ownership) == [
        "step-000000001-epoch-000000-attempt-0001",
        "step-000000002-epoch-000000-attempt-0001",
    ]


SAVE_FOREVER = """
import sys
from itertools import count
from pathlib import Path
import numpy as np
from speechmodel_training.checkpoints import Checkpoint, CheckpointStore
from speechmodel_training.learner import Learner
from speechmodel_training.ownership import Owner, owning
from speechmodel_training.state import LineageFacts, TrainingState

facts = LineageFacts.model_validate_json(sys.argv[2])
tensors = Learner(facts.geometry, seed=1, learning_rate=0.001, dropout=0.0).tensors()
with owning(Path(sys.argv[1]), Owner(owner="a", attempt=1)) as ownership:
    store = CheckpointStore(ownership, facts, keep=1)
    for step in count(1):
        state = TrainingState(facts=facts, attempt=1, target="11111111", step=step)
        store.save(Checkpoint(state, tensors | {"global_step": np.int64(step)}))
        print(step, flush=True)
"""


@pytest.mark.training
@pytest.mark.parametrize("delay", [0.0, 0.002, 0.005, 0.011])
def test_a_kill_at_any_moment_leaves_the_newest_checkpoint_whole(
    tmp_path: Path, facts: LineageFacts, delay: float
) -> None:
    command = [sys.executable, "-c", SAVE_FOREVER, str(tmp_path), facts.model_dump_json()]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process:
        reported = [int(process.stdout.readline()) for _ in range(20)]
        time.sleep(delay)
        process.send_signal(signal.SIGKILL)
        reported += [int(line) for line in process.stdout]
    with owning(tmp_path, Owner(owner="a", attempt=2), lock_wait=5) as ownership:
        assert newest_step(CheckpointStore(ownership, facts, keep=1)) >= reported[-1]


@pytest.mark.parametrize("name", ["train-8", "model", "coqui/train-8"])
def test_checkpoints_of_others_alone_are_not_passed_over_in_silence(
    name: str, store: CheckpointStore, ownership: Ownership, tensors: Tensors
) -> None:
    (ownership.folder / name).parent.mkdir(exist_ok=True)
    write_tensors(ownership.folder / name, tensors)
    with pytest.raises(
        ForeignCheckpoints, match=rf"lineage has checkpoints .*: {name}; .* name it in training\.initFrom"
    ):
        store.newest()


def test_checkpoints_of_others_beside_ours_are_named(
    store: CheckpointStore, save: Save, save_best: Save, ownership: Ownership, tensors: Tensors
) -> None:
    save_best(1, 1.0)
    save(2)
    assert store.foreign() == []
    for name in ("train-8", "._train-9"):
        write_tensors(ownership.folder / name, tensors)
    assert store.foreign() == ["train-8"]
    assert newest_step(store) == 2


@pytest.mark.parametrize("pointer", ["checkpoint", "best_dev_checkpoint"])
def test_a_checkpoint_is_a_folder_that_upstream_can_load_wherever_it_is(
    pointer: str, store: CheckpointStore, save: Save, ownership: Ownership, tmp_path: Path
) -> None:
    save(15)
    folder = ownership.folder / "step-000000015-epoch-000001-attempt-0001"
    moved = folder.rename(tmp_path / "elsewhere")
    prefix = tf.train.latest_checkpoint(str(moved), latest_filename=pointer)
    assert prefix == str(moved / "model")
    assert tf.train.load_checkpoint(prefix).get_tensor("global_step") == 15
    assert read_alphabet(moved / "alphabet.txt") == ALPHABET
