"""The stage program for the engine CoquiSTT, on a program that behaves as Coqui does (fake_coqui.py)."""

import csv
import errno
import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.training_engine import COQUI_PYTHON
from speechmodel_stagekit.dataset import Clip
from speechmodel_stagekit.errors import StageFailure, Stopped
from speechmodel_stagekit.program import stop_requested
from speechmodel_training.coqui import epochs, program
from speechmodel_training.coqui.flags import augmentation
from speechmodel_training.coqui.stage import train
from speechmodel_training.errors import TranscriptsTooLong
from support.waiting import STALLED_SECONDS, until

from .conftest import Row, Workspace

FAKE = Path(__file__).with_name("fake_coqui.py")
Losses = list[tuple[float, float | None] | tuple[float, float, float]]


class Coqui:
    """A workspace, and the stage on the program of the tests."""

    def __init__(self, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
        self.workspace = workspace
        self._monkeypatch = monkeypatch
        self._calls = workspace.path / "calls"
        python = workspace.path / "python3.7"
        python.write_text(f'#!/bin/sh\nexec {sys.executable} {FAKE} "$@"\n')
        python.chmod(0o755)
        monkeypatch.setenv(COQUI_PYTHON, str(python))
        monkeypatch.setenv("FAKE_COQUI_CALLS", str(self._calls))

    def train(self, losses: Losses, then: str = "", unreadable: tuple[str, ...] = (), **changes: Any) -> TrainOutput:
        """Run the stage. `losses` are those of the epochs that Coqui trains before `then`."""
        plan = {"epochs": losses, "then": then, "unreadable": unreadable}
        self._monkeypatch.setenv("FAKE_COQUI", json.dumps(plan))
        return train(self.workspace.input(**{"maxEpochs": 2, "augmentation": []} | changes))

    def calls(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self._calls.read_text().splitlines()]

    def flag(self, name: str, call: int = -1) -> str:
        """The value of a flag of a call of the trainer."""
        words: list[str] = [call for call in self.calls() if call["module"].endswith("train")][call]["words"]
        return words[words.index(f"--{name}") + 1]

    def names(self) -> list[str]:
        """The checkpoints in the folder of the lineage."""
        return sorted(path.stem for path in self.workspace.lineage.glob("*train-*.index"))


@pytest.fixture
def coqui(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> Coqui:
    return Coqui(workspace, monkeypatch)


def test_the_log_becomes_an_output_a_history_and_progress_records(
    coqui: Coqui, capsys: pytest.CaptureFixture[str]
) -> None:
    output = coqui.train([(5, 6), (3, 4)])
    assert (output.epoch, output.step, output.loss, output.dev_loss) == (2, 6, 3, 4)
    assert (output.exported_epoch, output.trained_epochs, output.stopped_early) == (2, 2, False)
    assert output.settings is not None and output.settings.schedule == "Constant"
    assert [(row["epoch"], row["loss"], row["dev_loss"]) for row in coqui.workspace.history()] == [
        ("1", "5.0", "6.0"),
        ("2", "3.0", "4.0"),
    ]
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    records = [{record["epoch"]: record for record in reversed(printed)}[epoch] for epoch in range(3)]
    assert [(record["epoch"], record.get("devLoss")) for record in records] == [(0, None), (1, 6), (2, 4)]
    assert ["secondsLeft" in record for record in records] == [False, True, True]
    assert ["cpuUtilization" in record for record in records] == [False, True, True]
    assert records[2]["secondsLeft"] == 0
    assert coqui.workspace.graph().read_text() == "weights after 2 epochs"


def test_progress_within_an_epoch_is_that_of_the_time_of_the_last_one(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    coqui.train([(5, 6)], maxEpochs=1)
    monkeypatch.setattr(epochs, "_CHECK_SECONDS", -1.0)
    capsys.readouterr()
    coqui.train([(3, 4)], key="33333333")
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    within = [record for record in records if record["fraction"]]
    assert within and all(record["epoch"] == 1 and record["fraction"] <= 0.99 for record in within)
    assert within[-1]["secondsLeft"] >= 0
    assert (records[-1]["epoch"], records[-1]["fraction"]) == (2, 0)


def test_coqui_gets_flags_without_its_traps(coqui: Coqui, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TF2_BEHAVIOR", "PYTHONPATH", "STAGE_INPUT"):
        monkeypatch.setenv(name, "1")
    hyperparameters = {"hiddenUnits": 32, "batchSize": 100, "dropout": 0.2, "seed": 7, "layerNorm": True}
    changes: dict[str, Any] = {"hyperparameters": hyperparameters, "checkpoints": {"everySeconds": 60, "keep": 2}}
    coqui.train([(5, 6)] * 2, earlyStop={"patience": 9}, reduceOnPlateau={}, augmentation=["volume[p=0.5]"], **changes)
    # clips are named relative to the table, so the table is that of the dataset
    assert coqui.flag("train_files") == str(coqui.workspace.data / "train.csv")
    assert coqui.flag("train_batch_size") == "14", "of a larger batch, Coqui trains on nothing and reports success"
    assert [coqui.flag(name) for name in ("checkpoint_secs", "load_train", "epochs")] == ["60", "init", "2"]
    assert [coqui.flag(name) for name in ("n_hidden", "layer_norm", "dropout_rate")] == ["32", "true", "0.2"]
    assert [coqui.flag(name) for name in ("early_stop", "es_epochs", "es_min_delta")] == ["true", "9", "0.05"]
    assert [coqui.flag(name) for name in ("reduce_lr_on_plateau", "plateau_epochs")] == ["true", "10"]
    assert coqui.flag("augment") == "volume[p=0.5,dbfs=3.0103:3.0103~0]"
    export = coqui.calls()[-1]
    assert export["words"][export["words"].index("--export_tflite") + 1] == "false"
    assert [call["environment"] for call in coqui.calls()] == [{"CUDA_VISIBLE_DEVICES": "-1"}] * 2


def test_the_best_checkpoint_of_all_runs_is_exported(coqui: Coqui) -> None:
    coqui.train([(5, 4), (3, 2)])
    output = coqui.train([(3, 3), (3, 9)], key="33333333", maxEpochs=4)  # Coqui takes the first one for its best
    assert (output.epoch, output.exported_epoch, output.trained_epochs) == (4, 2, 2)
    assert coqui.workspace.graph("33333333").read_text() == "weights after 2 epochs"
    assert coqui.flag("load_train") == "last" and coqui.flag("epochs") == "2", "its epochs are those of a run"


def test_a_reduced_learning_rate_is_recorded_also_after_a_restart(coqui: Coqui) -> None:
    def rates() -> list[float]:
        rows = csv.DictReader((coqui.workspace.lineage / "training.csv").read_text().splitlines())
        return [float(row["learning_rate"]) for row in rows]

    hyperparameters = {"hiddenUnits": 32, "batchSize": 5, "learningRate": 0.001}
    changes: dict[str, Any] = {"hyperparameters": hyperparameters, "reduceOnPlateau": {"patience": 1}}
    coqui.train([(5, 4), (5, 5, 0.0005), (5, 5)], maxEpochs=3, **changes)
    assert rates() == [0.001, 0.001, 0.0005]
    coqui.train([(3, 3), (3, 4, 0.00025)], key="33333333", maxEpochs=5, **changes)
    assert coqui.flag("force_initialize_learning_rate") == "false"
    assert rates() == [0.001, 0.001, 0.0005, 0.0005, 0.0005]
    coqui.train([(3, 3)], key="44444444", maxEpochs=6, **changes)
    assert rates()[-1] == 0.0005, "the checkpoint of the last epoch is from before the reduction"
    changes["hyperparameters"] = hyperparameters | {"learningRate": 0.002}
    coqui.train([(3, 3)], key="55555555", maxEpochs=7, **changes)
    assert rates()[-1] == 0.002


def test_the_best_checkpoint_is_kept_when_coqui_is_ahead_of_its_log(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "_CHECK_SECONDS", -1)  # every look at the log removes checkpoints
    output = coqui.train([(5, 2), (4, 3), (3, 4), (2, 5)], maxEpochs=4, checkpoints={"keep": 1})
    assert (output.epoch, output.exported_epoch) == (4, 1)
    assert coqui.workspace.graph().read_text() == "weights after 1 epochs"
    assert coqui.names() == ["train-12"]


def test_without_dev_clips_the_last_epoch_is_exported(
    coqui: Coqui, rows: list[Row], capsys: pytest.CaptureFixture[str]
) -> None:
    coqui.workspace.prepare(rows)
    output = coqui.train(
        [(5, None), (6, None)], earlyStop={"patience": 2}, hyperparameters={"hiddenUnits": 32, "batchSize": 5}
    )
    assert (output.dev_loss, output.exported_epoch) == (None, 2)
    records = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {record["warning"] for record in records} == {
        "earlyStop and reduceOnPlateau have no effect, because there are no dev clips; add dev clips, or remove these "
        "settings; Coqui leaves the 3 longest clips out of every epoch: they do not fill a batch; choose a batchSize that divides "
        f"the {len(rows)} training clips"
    }
    assert coqui.workspace.graph().read_text() == "weights after 2 epochs"


def test_a_stop_ends_coqui_and_the_next_attempt_trains_the_epochs_that_are_left(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish_epoch = epochs.Epochs._finish_epoch

    def finish_and_stop(self: epochs.Epochs, *, stopped_early: bool) -> None:
        finish_epoch(self, stopped_early=stopped_early)
        stop_requested.set()

    try:
        with monkeypatch.context() as patched, pytest.raises(Stopped, match="1 epochs finished"):
            patched.setattr(epochs.Epochs, "_finish_epoch", finish_and_stop)
            coqui.train([(5, 6)], then="waits", maxEpochs=3)
    finally:
        stop_requested.clear()
    output = coqui.train([(4, 5), (3, 4)], maxEpochs=3, attempt=2)
    assert coqui.flag("epochs") == "2"
    assert (output.epoch, output.loss) == (3, 3)


@pytest.mark.parametrize("number, code", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_coqui_ends_with_the_stage_program(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    monkeypatch.setenv("FAKE_COQUI", json.dumps({"epochs": [(5, 6)], "then": "waits"}))
    monkeypatch.setenv("STAGE_INPUT", coqui.workspace.input(augmentation=[]).model_dump_json(by_alias=True))
    command = [sys.executable, "-m", "speechmodel_training.coqui"]
    stage = subprocess.Popen(command, cwd=coqui.workspace.path, stdout=subprocess.PIPE, text=True)
    assert stage.stdout is not None
    while json.loads(stage.stdout.readline())["epoch"] == 0:
        pass
    (child,) = psutil.Process(stage.pid).children()
    stage.send_signal(number)
    assert stage.wait() == code
    until(lambda: not child.is_running(), "Coqui has ended")


def test_a_newer_attempt_ends_coqui(coqui: Coqui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(epochs, "_CHECK_SECONDS", 0.0)
    finish_epoch = epochs.Epochs._finish_epoch

    def finish_and_lose(self: epochs.Epochs, *, stopped_early: bool) -> None:
        finish_epoch(self, stopped_early=stopped_early)
        (coqui.workspace.lineage / "owner").write_text('{"owner": "uid-a", "attempt": 2}')

    monkeypatch.setattr(epochs.Epochs, "_finish_epoch", finish_and_lose)
    with pytest.raises(StageFailure) as failure:
        coqui.train([(5, 6)], then="waits")
    assert failure.value.reason is Reason.SUPERSEDED


def test_early_stop_ends_training_for_good(coqui: Coqui) -> None:
    (coqui.workspace.path / "exports").mkdir()
    output = coqui.train([(5, 6), (4, 6)], then="stops early", maxEpochs=9, earlyStop={"patience": 2})
    assert (output.epoch, output.stopped_early, output.exported_epoch) == (2, True, 1)
    coqui.workspace.graph().unlink()  # the export was lost
    assert coqui.train([(1, 1)], maxEpochs=9, earlyStop={"patience": 2}).epoch == 2


def test_a_loss_of_zero_is_right_once_nearly_everything_is_learned(coqui: Coqui) -> None:
    assert coqui.train([(0.05, 1), (0, 1)]).loss == 0
    with pytest.raises(StageFailure, match="Coqui found no clip"):
        coqui.train([(5, 6), (0, 1)], lineage="33333333", key="44444444")


def test_the_loss_of_no_clips_is_not_success(coqui: Coqui) -> None:
    with pytest.raises(StageFailure, match="Coqui found no clip in the dataset dddddddd") as failure:
        coqui.train([(0, 0), (0, 0)])
    assert (failure.value.reason, failure.value.code) == (Reason.ARTEFACT_DAMAGED, 66)


@pytest.mark.parametrize("bad", [(math.nan, 1.0), (2.0, math.inf)])
def test_training_that_diverged_continues_from_the_last_good_epoch(coqui: Coqui, bad: tuple[float, float]) -> None:
    with pytest.raises(StageFailure) as failure:
        coqui.train([(5, 6), bad], maxEpochs=3)
    assert failure.value.reason is Reason.LOSS_DIVERGED
    assert coqui.names() == ["train-3"]
    lower = {"hiddenUnits": 32, "batchSize": 4, "learningRate": 1e-5}
    output = coqui.train([(4, 5), (3, 4)], maxEpochs=3, hyperparameters=lower)
    assert (output.epoch, coqui.flag("force_initialize_learning_rate"), coqui.flag("learning_rate")) == (
        3,
        "true",
        "1e-05",
    )


def test_an_unreadable_checkpoint_is_put_aside_and_its_epoch_is_trained_again(coqui: Coqui) -> None:
    coqui.train([(5, 4), (3, 2)])
    output = coqui.train([(9, 8), (7, 6)], unreadable=("train-6",), key="33333333", maxEpochs=3)
    assert [(row["epoch"], row["loss"]) for row in coqui.workspace.history("33333333")] == [
        ("1", "5.0"),
        ("2", "9.0"),
        ("3", "7.0"),
    ]
    assert "damaged-train-6" in coqui.names()
    assert (output.epoch, output.exported_epoch) == (3, 2)


def test_epochs_that_coqui_finished_and_nobody_recorded_are_trained_again(coqui: Coqui) -> None:
    coqui.train([(5, 4), (3, 2)])
    for number, step in enumerate((7, 9, 12)):  # 7 is within the third epoch
        put_checkpoint(coqui, step, epochs=3, at=2e9 + number)
    output = coqui.train([(2, 1)], key="33333333", maxEpochs=3)
    assert (output.epoch, output.step, coqui.flag("epochs")) == (3, 10, "1")
    assert coqui.workspace.graph("33333333").read_text() == "weights after 4 epochs", "it continued within the third"


def put_checkpoint(coqui: Coqui, step: int, epochs: int, at: float) -> None:
    for ending in ("index", "data-00000-of-00001"):
        path = coqui.workspace.lineage / f"train-{step}.{ending}"
        path.write_text(str(epochs))
        os.utime(path, (at, at))


def test_checkpoints_of_which_none_can_be_read_are_an_error(coqui: Coqui) -> None:
    coqui.train([(5, 4), (3, 2)])
    with pytest.raises(StageFailure, match=r"train-6: .*Checksum.*train-3: .*restartToken") as failure:
        coqui.train([(3, 3)], unreadable=("train-3", "train-6", "best/model"), key="33333333", maxEpochs=3)
    assert failure.value.reason is Reason.CHECKPOINTS_DAMAGED


@pytest.mark.parametrize("name", ["best_dev-12", "train-99"])
def test_checkpoints_of_another_program_are_refused_with_the_engine_that_continues_them(
    coqui: Coqui, name: str
) -> None:
    lineage = coqui.workspace.lineage
    lineage.mkdir(parents=True)
    for ending in ("index", "data-00000-of-00001", "meta"):
        (lineage / f"{name}.{ending}").touch()
    with pytest.raises(
        StageFailure, match=f"{name}; the engine CoquiSTT continues only its own: move them away.*initFrom"
    ) as failure:
        coqui.train([(5, 4), (3, 2)])
    assert failure.value.reason is Reason.CHECKPOINT_MISMATCH
    for path in lineage.glob(f"{name}.*"):
        path.unlink()
    (lineage / f"._{name}.index").touch()  # of macOS
    assert coqui.train([(5, 4), (3, 2)]).epoch == 2


def test_old_checkpoints_are_removed_but_not_the_end_of_the_last_epoch(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epochs, "_CHECK_SECONDS", 0.0)
    coqui.train([(9 - n, 9 - n) for n in range(5)], maxEpochs=5)
    for number, step in enumerate((16, 17)):  # within the epoch after that
        put_checkpoint(coqui, step, epochs=5, at=2e9 + number)
    coqui.train([], key="33333333", maxEpochs=5, checkpoints={"everySeconds": 60, "keep": 1})
    assert coqui.names() == ["train-15", "train-17"]


@pytest.mark.parametrize(
    "then, reason, code, message",
    [
        ("", Reason.INTERNAL_ERROR, 75, "ended without an error after 1 of 2 epochs"),
        ("fails: ValueError: odd", Reason.INTERNAL_ERROR, 75, r"train failed \(exit code 1\): ValueError: odd"),
        ("hangs", Reason.INTERNAL_ERROR, 75, r"train failed \(exit code none\): FileNotFoundError: clip.wav"),
        ("is killed", Reason.OUT_OF_MEMORY, 75, "set training.podTemplate.resources.limits.memory"),
        ("fails: No module named coqui_stt_training", Reason.ENGINE_MISSING, 78, "images/requirements/coqui.txt"),
        (
            "fails: ModuleNotFoundError: No module named 'tensorflow'",
            Reason.ENGINE_MISSING,
            78,
            "no module tensorflow;",
        ),
        (
            "fails: ImportError: libm.so.6: wrong ELF class",
            Reason.ENGINE_MISSING,
            78,
            r"used \(ImportError: libm.so.6: ",
        ),
        ("fails: setpriv: failed to execute x: Exec format error", Reason.ENGINE_MISSING, 78, "Exec format error"),
    ],
)
def test_a_failure_says_what_to_do(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch, then: str, reason: Reason, code: int, message: str
) -> None:
    if then == "hangs":
        monkeypatch.setattr(program, "HANG_SECONDS", 10.0)
    with pytest.raises(StageFailure, match=message) as failure:
        coqui.train([(5, 6)], then=then)
    assert (failure.value.reason, failure.value.code) == (reason, code)


def test_lines_that_are_read_after_coqui_has_ended_count(coqui: Coqui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "CHECK_SECONDS", 0.01)
    monkeypatch.setattr(program, "DRAIN_SECONDS", STALLED_SECONDS)
    read = program._read

    def read_late(*arguments: Any) -> None:
        time.sleep(1)
        read(*arguments)

    monkeypatch.setattr(program, "_read", read_late)
    assert coqui.train([(5, 6), (3, 4)]).epoch == 2
    with pytest.raises(program.EngineMissing, match="no module tensorflow;"):
        coqui.train(
            [], then="fails: ModuleNotFoundError: No module named 'tensorflow'", lineage="33333333", key="4" * 8
        )


@pytest.mark.parametrize("process", ["exec sleep 600", "while sleep 0.1; do echo alive; done"], ids=["mute", "loud"])
def test_a_process_that_outlives_coqui_is_not_waited_for(
    process: str, coqui: Coqui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(program, "DRAIN_SECONDS", 3.0)
    try:
        assert coqui.train([(5, 6), (3, 4)], then=f"leaves a process: {process}").epoch == 2
    finally:
        os.kill(int((coqui.workspace.path / "left").read_text()), signal.SIGKILL)


def test_a_full_volume_is_a_system_error(coqui: Coqui) -> None:
    with pytest.raises(OSError) as error:
        coqui.train([(5, 6)], then="fails: ResourceExhaustedError: train-3: No space left on device")
    assert error.value.errno == errno.ENOSPC


def test_a_missing_python_is_named_with_its_variable(coqui: Coqui, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(COQUI_PYTHON, "/nowhere/python3.7")
    with pytest.raises(program.EngineMissing, match=r"SPEECHMODEL_COQUI_PYTHON is /nowhere/python3.7, which is not"):
        coqui.train([])
    monkeypatch.setenv(COQUI_PYTHON, "/usr/bin")
    with pytest.raises(program.EngineMissing, match=r"SPEECHMODEL_COQUI_PYTHON is /usr/bin, which is not"):
        coqui.train([])
    monkeypatch.delenv(COQUI_PYTHON)
    with pytest.raises(program.EngineMissing, match=r"SPEECHMODEL_COQUI_PYTHON is not set.* or set training.engine"):
        coqui.train([])


def test_a_clip_that_needs_the_frame_of_the_runtime_is_refused_before_training(
    coqui: Coqui, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Clip, "frames", Clip.frames_needed)
    with pytest.raises(TranscriptsTooLong, match="has 8 frames, needs 9"):
        coqui.train([])


@pytest.mark.parametrize(
    "entry, words",
    [
        ("reverb[p=0.1,delay=50~30]", "reverb[p=0.1,delay=50:50~30,decay=10:10~0]"),
        ("warp[wt=0.1:0.2]", "warp[p=1,num_t=1:1~0,num_f=1:1~0,warp_t=0.1:0.2~0,warp_f=0:0~0]"),
        ("time_mask[domain=signal]", "time_mask[p=1,n=3:3~0,size=10:10~0,domain=signal]"),
        ("codec[bitrate=24000~8000]", "codec[p=1,bitrate=24000:24000~8000]"),
    ],
)
def test_an_entry_of_augmentation_in_the_words_of_coqui(entry: str, words: str) -> None:
    assert augmentation(entry) == words
