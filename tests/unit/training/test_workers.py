"""Several programs that train together: the same losses as one, and how they end."""

import json
import os
import random
import signal
import socket
from collections.abc import Callable, Iterator
from itertools import cycle, islice
from typing import Any

import pytest
from speechmodel_api.exit_codes import ExitCode
from speechmodel_stagekit.errors import BadInput, Stopped
from speechmodel_stagekit.program import stop_requested
from speechmodel_training import workers
from speechmodel_training.batches import BatchMaker
from speechmodel_training.errors import WorkerMissing
from speechmodel_training.workers import Workers, configured_workers
from support.ports import free_port, free_ports

from .conftest import Row, Workspace
from .killed_trainings import Moment

pytestmark = pytest.mark.training

TOLERANCE = 1e-4
"""Largest relative difference of a loss from that of one worker in these few epochs. The order of rounding differs."""
SETTINGS: dict[str, Any] = {
    "hyperparameters": {"hiddenUnits": 32, "batchSize": 5, "dropout": 0.2, "gradientClipNorm": 5}
}

NEVER = 10**9
"""A step that is not reached."""


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, rows: list[Row]) -> Workspace:
    """A workspace in which two workers have trained."""
    workspace = small(Workspace(tmp_path_factory.mktemp("undisturbed")), rows)
    first, second = workspace.run_workers(2, **SETTINGS)
    assert first.output.step == 12
    assert second.code == 0
    assert second.result["output"] == {}
    assert not second.progress
    return workspace


def small(workspace: Workspace, rows: list[Row]) -> Workspace:
    """Batches of 3 and 4 clips, and two dev clips of one batch."""
    workspace.prepare(rows[:11], rows[11:16])
    return workspace


def losses(workspace: Workspace) -> list[float]:
    return [float(row[name]) for row in workspace.history() for name in ("loss", "dev_loss", "dev_wer")]


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one(undisturbed: Workspace, workspace: Workspace, rows: list[Row]) -> None:
    expected = small(workspace, rows).train(**SETTINGS)
    assert expected.step == 12
    assert losses(undisturbed) == pytest.approx(losses(workspace), rel=TOLERANCE)


@pytest.mark.slow
def test_two_workers_have_the_losses_of_one_with_two_versions_of_each_clip(
    make_workspace: Callable[[str], Workspace], rows: list[Row]
) -> None:
    hyperparameters = SETTINGS["hyperparameters"] | {"consistency": 0.5}
    alone, together = (small(make_workspace(name), rows) for name in ("alone", "together"))
    expected = alone.train(hyperparameters=hyperparameters)
    first, _ = together.run_workers(2, hyperparameters=hyperparameters)
    assert first.output.step == expected.step == 12
    assert losses(together) == pytest.approx(losses(alone), rel=TOLERANCE)


@pytest.mark.slow
def test_workers_stop_together_and_go_on_after_one_was_lost_as_if_nothing_had_happened(
    undisturbed: Workspace, workspace: Workspace, rows: list[Row]
) -> None:
    small(workspace, rows)
    stopped = workspace.run_workers(2, **SETTINGS, term_at=[0, 4])
    assert [run.code for run in stopped] == [ExitCode.STOPPED] * 2
    assert "1 epochs finished, step 5" in stopped[0].result["error"]["message"]

    survivor, lost = workspace.run_workers(2, **SETTINGS, attempt=2, kill_at=[0, 8])
    assert lost.code == -signal.SIGKILL
    assert survivor.code == ExitCode.TRY_AGAIN
    assert survivor.result["error"]["reason"] == "WorkerLost"
    assert survivor.result["error"]["message"].startswith("worker 1 (127.0.0.1:")

    finished, _ = workspace.run_workers(2, **SETTINGS, attempt=3)
    # the survivor has step 8 only if the worker's gradients had arrived when it was killed
    assert finished.progress[0]["step"] in (7, 8)
    assert workspace.graph().read_bytes() == undisturbed.graph().read_bytes()
    assert losses(workspace) == losses(undisturbed)


def moments(kills: int) -> list[list[Moment]]:
    """For each attempt, the moments at which worker 0, worker 1 or both are killed, by turns."""
    draw = random.Random(1)
    which = [(True, False), (False, True), (True, True)]
    return [
        [Moment(draw.randint(1, 4), draw.choice([None, draw.randint(1, 40)])) if dies else Moment() for dies in who]
        for who in islice(cycle(which), kills)
    ]


@pytest.mark.slow
def test_two_workers_that_are_killed_again_and_again_end_with_the_weights_of_undisturbed_ones(
    make_workspace: Callable[[str], Workspace], rows: list[Row]
) -> None:
    """Kill the first worker, the second one, and both; or as often as SPEECHMODEL_KILLS says, where 20 take minutes."""
    undisturbed, killed = (small(make_workspace(name), rows) for name in ("undisturbed", "killed"))
    kills = moments(int(os.environ.get("SPEECHMODEL_KILLS", "3")))
    most = sum(max(moment.steps or 0 for moment in attempt) for attempt in kills)
    settings = SETTINGS | {"maxEpochs": most // 3 + 1}
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    ended, attempts = (
        workspace.run(**settings, workers=2, addresses=addresses, kill_at_each=[*those, [Moment()] * 2])
        for workspace, those in ((undisturbed, []), (killed, kills))
    )
    assert ended.output.step > most, "the training must not end before the last kill"
    assert attempts.output == ended.output
    assert f"read {killed.lineage}/step-" in attempts.log, "no attempt has saved"
    assert killed.graph().read_bytes() == undisturbed.graph().read_bytes()
    assert losses(killed) == losses(undisturbed)


@pytest.mark.slow
def test_a_worker_that_hangs_ends_the_step_and_the_set_goes_on_as_if_nothing_had_happened(
    undisturbed: Workspace, workspace: Workspace, rows: list[Row]
) -> None:
    survivor, hanging = small(workspace, rows).start_workers(2, **SETTINGS, hang_at=[NEVER, 8])
    run = workspace.ended(survivor)
    assert run.code == ExitCode.TRY_AGAIN
    assert run.result["error"]["reason"] == "WorkerLost"
    assert run.result["error"]["message"].startswith("another worker")
    assert hanging.poll() is None, "it hangs, and accepts connections"
    hanging.kill()
    hanging.wait()

    workspace.run_workers(2, **SETTINGS, attempt=2)
    assert workspace.graph().read_bytes() == undisturbed.graph().read_bytes()
    assert losses(workspace) == losses(undisturbed)


def test_a_worker_that_does_not_start_is_named(monkeypatch: pytest.MonkeyPatch, listener: str) -> None:
    monkeypatch.setattr(workers, "STARTED_WITHIN", 1.0)
    gone = f"127.0.0.1:{free_port()}"
    with pytest.raises(WorkerMissing, match=rf"^worker 2 \({gone}\) did not start within 1 s"):
        Workers(["unused:1", listener, gone], 0).wait_until_all_started()


@pytest.mark.slow
def test_a_port_that_another_program_uses_is_named(workspace: Workspace, listener: str) -> None:
    process = workspace.start(addresses=[f"127.0.0.1:{free_port()}", listener], index=1, workers=2)
    run = workspace.ended(process, workspace.suffix(1, 1))
    assert run.code == ExitCode.TRY_AGAIN
    assert f"cannot listen on {listener} (" in run.result["error"]["message"]
    assert "another program probably uses this port; stop that program" in run.result["error"]["message"]


def test_a_stop_ends_the_wait_for_other_workers(stop: None) -> None:
    with pytest.raises(Stopped, match="nothing was trained"):
        Workers([f"127.0.0.1:{free_port()}", "unused:1"], 1).wait_until_all_started()


@pytest.mark.parametrize(
    ("config", "problem"),
    [
        ("", "TF_CONFIG does not name 2 workers"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}}', "task"),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"index": 0}}', "names 1 workers and the index 0"),
        ('{"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 2}}', "names 2 workers and the index 2"),
    ],
)
def test_workers_that_do_not_fit_the_document_are_refused(
    monkeypatch: pytest.MonkeyPatch, config: str, problem: str
) -> None:
    monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(BadInput, match=problem):
        configured_workers(2)


def test_one_worker_needs_no_configuration_and_ignores_that_of_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"index": 1}}))
    alone = configured_workers(1)
    assert (alone.count, alone.leads) == (1, True)


def test_every_clip_of_a_batch_belongs_to_one_worker_and_one_may_stand_in(
    workspace: Workspace, make_batches: Callable[[Workers], BatchMaker]
) -> None:
    shares = [make_batches(Workers(["unused:1"] * 4, index)).make((3, 1, 2)) for index in range(4)]
    assert [batch.share.rows.numpy().tolist() for batch in shares if batch.share] == [[0], [1], [2], [0]]
    assert [batch.counted for batch in shares] == [True, True, True, False]
    assert {batch.clips for batch in shares} == {3}
    whole = make_batches(Workers()).make((3, 1, 2))
    assert {int(batch.share.frames) for batch in shares if batch.share} == {int(max(whole.frames))}
    assert [int(batch.frames[0]) for batch in shares[:3]] == whole.frames.numpy().tolist()


@pytest.fixture
def make_batches(workspace: Workspace) -> Callable[[Workers], BatchMaker]:
    from speechmodel_training.augmentation import Augmenter
    from speechmodel_training.dataset import read_training_set

    from .conftest import ALPHABET, DATASET_DIGEST

    found = read_training_set(workspace.data, DATASET_DIGEST)
    return lambda each: BatchMaker(found.train, ALPHABET, Augmenter((), seed=1), each)


@pytest.fixture
def listener() -> Iterator[str]:
    """The address of a port that accepts connections."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def stop() -> Iterator[None]:
    stop_requested.set()
    yield
    stop_requested.clear()
