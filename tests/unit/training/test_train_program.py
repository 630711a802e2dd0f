"""The stage program as a process: signals, exit codes, and two of them at once."""

import json
import signal

import pytest
from speechmodel_api.exit_codes import ExitCode
from speechmodel_training.ownership import Owner, owning

from .conftest import Row, Workspace

pytestmark = pytest.mark.training


def newest_state(workspace: Workspace) -> dict[str, object]:
    newest = max(path for path in workspace.lineage.iterdir() if path.name.startswith("step-"))
    state: dict[str, object] = json.loads((newest / "state.json").read_text())
    return state


def losses(workspace: Workspace) -> list[tuple[str, str, str, str]]:
    return [(row["epoch"], row["step"], row["loss"], row["dev_loss"]) for row in workspace.history()]


def test_a_stopped_and_a_killed_run_end_with_the_weights_of_an_undisturbed_one(
    workspace: Workspace, make_workspace: object
) -> None:
    undisturbed: Workspace = make_workspace("undisturbed")  # type: ignore[operator]
    never_better = {"patience": 4, "minDelta": 1000}
    plateau = never_better | {"patience": 1, "factor": 0.5}
    settings = {"maxEpochs": 6, "earlyStop": never_better, "reduceOnPlateau": plateau}
    expected = undisturbed.train(**settings)
    assert (expected.epoch, expected.stopped_early) == (5, True)

    stopped = workspace.run(**settings, term_at=6)
    assert stopped.code == ExitCode.STOPPED
    assert "1 epochs finished, step 6" in stopped.result["error"]["message"]
    state = newest_state(workspace)
    assert (state["epoch"], state["step"], state["running"]["clips"]) == (1, 6, 7)  # type: ignore[index]

    killed = workspace.run(**settings, kill_at=15, attempt=2)
    assert killed.code == -signal.SIGKILL
    assert 6 <= newest_state(workspace)["step"] < 15  # type: ignore[operator]

    finished = workspace.run(**settings, attempt=3)
    assert finished.progress[0]["epoch"] >= 1
    assert finished.output == expected
    assert workspace.graph().read_bytes() == undisturbed.graph().read_bytes()
    assert losses(workspace) == losses(undisturbed)


def test_a_newer_attempt_takes_over_from_one_that_is_far_from_its_next_save(
    workspace: Workspace, rows: list[Row]
) -> None:
    workspace.prepare(rows * 100)
    old = workspace.start(hyperparameters={"hiddenUnits": 512, "batchSize": 1})
    workspace.wait_for_epoch(0)
    with owning(workspace.lineage, Owner(owner="uid-a", attempt=2), lock_wait=30) as ownership:
        superseded = workspace.ended(old)
        ownership.check()
    assert superseded.code == ExitCode.TRY_AGAIN
    assert superseded.result["error"]["reason"] == "Superseded"
    assert superseded.progress[-1]["epoch"] == 0


def test_a_stop_takes_seconds(workspace: Workspace) -> None:
    process = workspace.start(maxEpochs=100_000)
    workspace.wait_for_epoch(2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=5) == ExitCode.STOPPED


def test_unusable_data_is_reported_by_exit_code_and_reason(workspace: Workspace, rows: list[Row]) -> None:
    workspace.prepare([(rows[0][0], "çççç"), *rows[1:4]])
    run = workspace.run()
    assert run.code == ExitCode.BAD_DATA
    assert run.result["error"]["reason"] == "UnknownCharacters"
    assert not run.progress
