"""Saves beside training: what is written, in which order, and what happens when a write fails."""

import shutil
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from queue import Queue
from types import SimpleNamespace
from typing import Any

import pytest
import tensorflow as tf
from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import Stopped, TryAgain
from speechmodel_stagekit.program import stop_requested
from speechmodel_training import checkpoints, clocks, tensor_files
from speechmodel_training.checkpoints import CheckpointStore, read_state
from speechmodel_training.errors import Superseded
from speechmodel_training.learner import Batch, Gradients, Learner, Measured, Tensors
from speechmodel_training.ownership import Owner, Ownership
from speechmodel_training.saving import CHEAP_BEST, SaveTimer
from speechmodel_training.trainer import Trainer

from .conftest import Workspace

pytestmark = pytest.mark.training

Make = Callable[[str], Workspace]
OnWrite = Callable[..., None]
WAIT_SECONDS = 600.0
"""Longest time for what takes a second on an idle machine."""
FIRST_SAVE = 4
"""Step of the first end of an epoch, which is always saved."""


@pytest.fixture
def on_write(monkeypatch: pytest.MonkeyPatch) -> OnWrite:
    """Has a function called in the middle of the first write of a training, or the first of one kind: step or best."""
    write = tensor_files.write_tensors

    def choose(action: Callable[[], None], kind: str = "") -> None:
        actions = [action]

        def act_and_write(prefix: Path, tensors: Tensors) -> None:
            if actions and prefix.parent.name.startswith(f".{kind}"):
                actions.pop()()
            write(prefix, tensors)

        monkeypatch.setattr(checkpoints, "write_tensors", act_and_write)

    return choose


@pytest.fixture
def trained_to(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Waits until a training in this process has made a given number of steps."""
    train, steps, changed = Learner.train, 0, threading.Condition()

    def train_and_count(self: Learner, batch: Batch, *run: Any) -> None:
        nonlocal steps
        train(self, batch, *run)
        with changed:
            steps = self.step
            changed.notify_all()

    def wait(step: int) -> None:
        with changed:
            assert changed.wait_for(lambda: steps >= step, timeout=WAIT_SECONDS)

    monkeypatch.setattr(Learner, "train", train_and_count)
    return wait


def data(workspace: Workspace, step: int) -> bytes:
    (folder,) = workspace.lineage.glob(f"step-{step:09d}-*")
    return (folder / "model.data-00000-of-00001").read_bytes()


def steps_on_disk(workspace: Workspace) -> list[int]:
    return sorted(int(folder.name.split("-")[1]) for folder in workspace.lineage.glob("step-*"))


def test_training_goes_on_during_a_save_which_holds_the_weights_of_its_step(
    make_workspace: Make, on_write: OnWrite, trained_to: Callable[[int], None]
) -> None:
    settings = {"checkpoints": {"everySeconds": 600, "keep": 9}}
    undisturbed, slow = make_workspace("undisturbed"), make_workspace("slow")
    expected = undisturbed.train(**settings)
    on_write(lambda: trained_to(FIRST_SAVE + 3))
    assert slow.train(**settings) == expected
    assert data(slow, FIRST_SAVE) == data(undisturbed, FIRST_SAVE)


@pytest.mark.parametrize("kind", ["best", "step"])
def test_a_stop_gives_up_the_checkpoint_before_its_own_step_and_loses_no_best_epoch(
    kind: str,
    make_workspace: Make,
    on_write: OnWrite,
    trained_to: Callable[[int], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    undisturbed, stopped = make_workspace("undisturbed"), make_workspace("stopped")
    dev_losses = iter([1.0, 2.0, 3.0, 4.0] * 2)
    measure_dev = Trainer._measure_dev
    monkeypatch.setattr(Trainer, "_measure_dev", lambda self: (next(dev_losses), measure_dev(self)[1]))
    expected, give_up, given_up = undisturbed.train(), CheckpointStore.give_up, threading.Event()
    assert expected.exported_epoch == 1

    def note(self: CheckpointStore, event: threading.Event) -> None:
        give_up(self, event)
        given_up.set()

    def stop() -> None:
        trained_to(FIRST_SAVE + 1)
        stop_requested.set()
        assert given_up.wait(WAIT_SECONDS), "the stop waited for the write"

    with monkeypatch.context() as noted:
        noted.setattr(CheckpointStore, "give_up", note)
        on_write(stop, kind)
        try:
            with pytest.raises(Stopped, match=r"step (\d+)") as error:
                stopped.train()
        finally:
            stop_requested.clear()
    assert steps_on_disk(stopped) == [int(str(error.value).rsplit(maxsplit=1)[1])]
    assert not list(stopped.lineage.glob(".*partial"))
    assert stopped.train(attempt=2) == expected
    assert stopped.graph().read_bytes() == undisturbed.graph().read_bytes()


def test_a_best_epoch_is_on_the_disk_long_before_the_next_checkpoint(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    workspace.train(maxEpochs=1)
    dev_losses, bests = iter([1.0, 2.0, 3.0]), list[list[str]]()
    measure_dev, save = Trainer._measure_dev, CheckpointStore.save

    def note(self: CheckpointStore, *arguments: Any) -> None:
        bests.append(sorted(folder.name for folder in self.folder.glob("best-*")))
        save(self, *arguments)

    monkeypatch.setattr(Trainer, "_measure_dev", lambda self: (next(dev_losses), measure_dev(self)[1]))
    monkeypatch.setattr(SaveTimer, "due_at_epoch_end", lambda self: self._cheap == CHEAP_BEST)
    monkeypatch.setattr(CheckpointStore, "save", note)
    output = workspace.train(key="33333333")
    assert output.exported_epoch == 2
    assert bests[0][-1] == "best-000000008-epoch-000002-attempt-0001"


def test_a_stop_saves_while_a_step_is_computed_and_nothing_is_lost(
    make_workspace: Make, on_write: OnWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, stopped = make_workspace("undisturbed"), make_workspace("stopped")
    expected, saved = undisturbed.train(), threading.Event()
    compute, last = Learner._gradients, FIRST_SAVE - 2

    def hold(self: Learner, batch: Batch) -> Gradients:
        if self.step == last:
            stop_requested.set()
            assert saved.wait(WAIT_SECONDS), "the stop waited for the step"
        return compute(self, batch)

    with monkeypatch.context() as held:
        held.setattr(Learner, "_gradients", hold)
        on_write(saved.set)
        try:
            with pytest.raises(Stopped, match=f"step {last}$"):
                stopped.train()
        finally:
            stop_requested.clear()
    assert steps_on_disk(stopped) == [last]
    assert stopped.train(attempt=2) == expected


def test_a_step_that_is_abandoned_leaves_the_processors_to_the_save(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    errors: Queue[BaseException | None] = Queue()

    for_seconds = tf.function(
        lambda: tf.while_loop(lambda done: done < 1_000_000, lambda done: [done + 1], [tf.constant(0)]),
        autograph=False,
    )

    def compute(self: Learner, batch: Batch) -> Gradients:
        stop_requested.set()
        try:
            for_seconds()
            errors.put(None)
        except tf.errors.CancelledError as error:
            errors.put(error)
        raise AssertionError("the step was not abandoned")

    monkeypatch.setattr(Learner, "_gradients", compute)
    try:
        with pytest.raises(Stopped):
            workspace.train()
    finally:
        stop_requested.clear()
    assert isinstance(errors.get(timeout=WAIT_SECONDS), tf.errors.CancelledError)


def test_the_time_of_a_step_that_was_abandoned_is_not_that_of_the_epoch(
    workspace: Workspace, on_write: OnWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    compute, passed, saved = Learner._gradients, [0.0], threading.Event()
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: passed[0], process_time=time.process_time))

    def take_a_second(self: Learner, batch: Batch) -> Gradients:
        passed[0] += 1
        if self.step == 2:
            passed[0] += 100
            stop_requested.set()
            assert saved.wait(WAIT_SECONDS), "the stop waited for the step"
        return compute(self, batch)

    with monkeypatch.context() as slow:
        slow.setattr(Learner, "_gradients", take_a_second)
        on_write(saved.set)
        try:
            with pytest.raises(Stopped, match=r"step 2$"):
                workspace.train()
        finally:
            stop_requested.clear()
    (folder,) = workspace.lineage.glob("step-*")
    assert read_state(folder).running.seconds == 2


def test_an_epoch_that_was_stopped_after_its_last_step_keeps_its_rate(
    make_workspace: Make, on_write: OnWrite, monkeypatch: pytest.MonkeyPatch
) -> None:
    undisturbed, stopped = make_workspace("undisturbed"), make_workspace("stopped")
    expected, saved = undisturbed.train(schedule={"type": "Cosine"}), threading.Event()
    measure = Learner.measure

    def hold(self: Learner, batch: Batch) -> Measured:
        stop_requested.set()
        assert saved.wait(WAIT_SECONDS), "the stop waited for the dev clips"
        return measure(self, batch)

    with monkeypatch.context() as held:
        held.setattr(Learner, "measure", hold)
        on_write(saved.set)
        try:
            with pytest.raises(Stopped, match=f"0 epochs finished, step {FIRST_SAVE}$"):
                stopped.train(schedule={"type": "Cosine"})
        finally:
            stop_requested.clear()
    assert stopped.train(schedule={"type": "Cosine"}, attempt=2) == expected
    rates = [[row["learning_rate"] for row in each.history()] for each in (stopped, undisturbed)]
    assert rates[0] == rates[1]
    assert len(set(rates[0])) > 1


@pytest.fixture
def full_disk(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[], AbstractContextManager[None]]]:
    """Lets the volume of the checkpoints be full for a while. It is a real one where tests may mount."""
    folder = workspace.path / "checkpoints"
    folder.mkdir()

    def mount(options: str) -> bool:
        return not subprocess.run(
            ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True
        ).returncode

    mounted = mount("size=64m")

    def no_space(**_: object) -> None:
        raise tf.errors.ResourceExhaustedError(None, None, "No space left on device")

    @contextmanager
    def full() -> Iterator[None]:
        with monkeypatch.context() as patch:
            if mounted:
                assert mount(f"remount,size={shutil.disk_usage(folder).used + 100_000}")
            else:
                patch.setattr(tf.raw_ops, "SaveV2", no_space)
            yield
            assert not mounted or mount("remount,size=64m")

    yield full
    if mounted:
        subprocess.run(["umount", "--lazy", folder], check=True)  # TensorFlow keeps files open


def test_a_full_disk_ends_training_and_leaves_the_last_checkpoint_whole(
    workspace: Workspace, full_disk: Callable[[], AbstractContextManager[None]]
) -> None:
    workspace.train(maxEpochs=1)
    assert steps_on_disk(workspace) == [FIRST_SAVE]
    with full_disk(), pytest.raises(TryAgain, match="No space left on device") as failed:
        workspace.train(maxEpochs=200, key="33333333")
    assert failed.value.reason == Reason.STORAGE_FULL
    assert steps_on_disk(workspace) == [FIRST_SAVE]
    assert not list(workspace.lineage.glob(".step-*"))
    assert workspace.train(maxEpochs=2, key="44444444").epoch == 2


def test_a_lowered_number_of_checkpoints_makes_room_before_the_next_save(
    workspace: Workspace, on_write: OnWrite
) -> None:
    workspace.train(maxEpochs=2, checkpoints={"everySeconds": 1, "keep": 9})
    kept, seen = steps_on_disk(workspace), list[list[int]]()
    on_write(lambda: seen.append(steps_on_disk(workspace)), "step")
    workspace.train(maxEpochs=3, key="33333333", checkpoints={"everySeconds": 600, "keep": 1})
    assert len(kept) > 1
    assert seen == [kept[-1:]]


def test_an_attempt_that_is_superseded_during_a_write_saves_nothing(workspace: Workspace, on_write: OnWrite) -> None:
    on_write(lambda: Ownership(workspace.lineage, Owner(owner="uid-a", attempt=2)).claim())
    with pytest.raises(Superseded):
        workspace.train(maxEpochs=200)
    assert not list(workspace.lineage.glob("*step-*"))
