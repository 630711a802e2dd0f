"""Run folders, as a plan sees them."""

from datetime import UTC, datetime, timedelta
from pathlib import Path, PurePosixPath

import pytest
from speechmodel_api.progress import TrainProgress
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.training_spec import Checkpoints, Hyperparameters
from speechmodel_cli.local.runs import RunFolder
from speechmodel_plan.observed import Run, RunState
from speechmodel_plan.plan import StageRun

NOW = datetime.now(UTC).replace(microsecond=0)
START = StageRun(
    name="espejo-train-0123abcd-4",
    stage=StageName.TRAIN,
    settings="local",
    document=TrainInput(
        key="0123abcd",
        attempt=4,
        workspace=PurePosixPath("/w"),
        data_key="11111111",
        dataset_digest="0" * 64,
        lineage="22222222",
        language="es",
        max_epochs=75,
        hyperparameters=Hyperparameters(),
        checkpoints=Checkpoints(),
    ),
    bucket=None,
)
RECORD = TrainProgress(epoch=7, max_epochs=75, step=99, fraction=0.5, loss=3.5, time="2026-01-01T00:00:00Z")


@pytest.fixture
def folder(tmp_path: Path) -> RunFolder:
    return RunFolder.make(tmp_path, START, NOW)


def observe(folder: RunFolder, **given: object) -> Run:
    defaults: dict[str, object] = {"alive": False, "stopping": False, "progress": None}
    run = folder.observe(**{**defaults, **given})  # type: ignore[arg-type] # a table of cases
    assert run is not None
    return run


def test_a_run_says_what_it_was_made_for(folder: RunFolder) -> None:
    run = observe(folder, alive=True)
    assert (run.name, run.stage, run.key, run.attempt, run.settings) == (
        START.name,
        StageName.TRAIN,
        "0123abcd",
        4,
        "local",
    )
    assert run.created_at == NOW
    assert run.state is RunState.RUNNING
    assert TrainInput.model_validate_json((folder.folder / "input.json").read_bytes()) == START.document


@pytest.mark.parametrize(
    ("code", "result", "state", "reason"),
    [
        (0, '{"output": {}}', RunState.SUCCEEDED, None),
        (65, '{"error": {"reason": "InvalidDataset", "message": "no good row"}}', RunState.FAILED, None),
        (143, '{"error": {"reason": "Stopped", "message": "saved"}}', RunState.FAILED, None),
        (1, None, RunState.FAILED, "StageCrashed"),
        (137, None, RunState.FAILED, "StageCrashed"),
    ],
)
def test_an_exit_code_decides(
    folder: RunFolder, code: int, result: str | None, state: RunState, reason: str | None
) -> None:
    if result:
        folder.result.write_text(result)
    folder.note_exit(code)
    run = observe(folder)
    assert (run.state, run.exit_code, run.result) == (state, code, result)
    assert (run.trouble.reason if run.trouble else None) == reason
    assert run.finished_at is not None
    assert abs(run.finished_at - datetime.now(UTC)) < timedelta(minutes=1)


def test_an_end_without_an_exit_code_is_a_failure_without_one(folder: RunFolder) -> None:
    folder.log.write_text("working\n")
    run = observe(folder)
    assert (run.state, run.exit_code, run.result) == (RunState.FAILED, None, None)
    assert run.trouble is not None
    assert run.trouble.reason == "ProcessLost"
    assert not run.trouble.final


def test_a_run_that_was_asked_to_end_is_neither_usable_nor_absent(folder: RunFolder) -> None:
    assert observe(folder, alive=True, stopping=True).state is RunState.ENDING


def test_progress_of_an_earlier_process_is_found_in_the_log(folder: RunFolder) -> None:
    line = RECORD.model_dump_json(by_alias=True, exclude_none=True)
    folder.log.write_text("x" * 200_000 + f"\n{line}\n2026 INFO saved\n" + '{"record": "train", "epo')
    assert observe(folder).progress == RECORD


def test_a_folder_without_a_record_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "espejo-train-0123abcd-5").mkdir()
    assert RunFolder(tmp_path / "espejo-train-0123abcd-5").observe(alive=False, stopping=False, progress=None) is None
