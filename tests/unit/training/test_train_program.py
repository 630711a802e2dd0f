"""The stage program as a process: signals, exit codes, and two of them at once."""

import random
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from speechmodel_api.exit_codes import ExitCode
from speechmodel_training.checkpoints import read_state
from speechmodel_training.ownership import Owner, owning
from support.waiting import until_ended

from .conftest import Row, Workspace
from .killed_trainings import Moment

pytestmark = pytest.mark.training


def newest(workspace: Workspace) -> Path:
    return max(workspace.lineage.glob("step-*"))


def history(workspace: Workspace) -> list[dict[str, str]]:
    """The epochs without what depends on the time."""
    timed = "seconds", "clips_per_second"
    return [{name: row[name] for name in row if name not in timed} for row in workspace.history()]


def moments(seed: int) -> list[Moment]:
    """20 kills: 18 in training, of which half may be at a change of a file, and two during the export."""
    draw = random.Random(seed)
    in_training = [Moment(draw.randint(1, 6), draw.choice([None, draw.randint(1, 60)])) for _ in range(18)]
    return [*in_training, *(Moment(None, draw.randint(1, most), "output_graph.pb") for most in (4, 6))]


@pytest.mark.slow
def test_a_training_that_is_killed_20_times_ends_with_the_weights_and_the_report_of_an_undisturbed_one(
    workspace: Workspace, make_workspace: Callable[[str], Workspace]
) -> None:
    undisturbed = make_workspace("undisturbed")
    never_better = {"patience": 17, "minDelta": 1000}
    plateau = never_better | {"patience": 4, "factor": 0.5}
    settings = {"maxEpochs": 30, "earlyStop": never_better, "reduceOnPlateau": plateau}
    expected = undisturbed.train(**settings)
    assert (expected.epoch, expected.stopped_early) == (18, True)

    kills = moments(seed=1)
    assert sum(kill.steps or 0 for kill in kills) < expected.step, "the training must not end before the last kills"
    killed = workspace.run(**settings, kill_at_each=[[kill] for kill in kills])
    assert killed.code == 0, killed.log
    assert list(workspace.temporary.iterdir()) == [], "nobody removes what killed programs leave"
    assert workspace.train(**settings, attempt=len(kills) + 1) == expected
    assert workspace.graph().read_bytes() == undisturbed.graph().read_bytes()
    assert history(workspace) == history(undisturbed)
    assert read_state(newest(workspace)).reductions == read_state(newest(undisturbed)).reductions == 4
    data = "model.data-00000-of-00001"  # Adam's moments too
    assert (newest(workspace) / data).read_bytes() == (newest(undisturbed) / data).read_bytes()


def test_a_newer_attempt_takes_over_from_one_that_is_far_from_its_next_save(
    workspace: Workspace, rows: list[Row]
) -> None:
    workspace.prepare(rows * 100)
    old = workspace.start(hyperparameters={"hiddenUnits": 512, "batchSize": 1})
    workspace.until_epoch(old, 0)
    with owning(workspace.lineage, Owner(owner="uid-a", attempt=2), lock_wait=600) as ownership:
        superseded = workspace.ended(old)
        ownership.check()
    assert superseded.code == ExitCode.TRY_AGAIN
    assert superseded.result["error"]["reason"] == "Superseded"
    assert superseded.progress[-1]["epoch"] == 0


def test_a_stop_does_not_wait_for_the_epochs_that_are_left(workspace: Workspace) -> None:
    process = workspace.start(maxEpochs=100_000)
    workspace.until_epoch(process, 2)
    process.send_signal(signal.SIGTERM)
    assert until_ended(process) == ExitCode.STOPPED


def test_unusable_data_is_reported_by_exit_code_and_reason(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare([(rows[0][0], "çççç"), *rows[1:4]])
    run = workspace.run()
    assert run.code == ExitCode.BAD_DATA
    assert run.result["error"]["reason"] == "UnknownCharacters"
    assert not run.progress
