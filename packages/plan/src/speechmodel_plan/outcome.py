"""What a run came to: folds an observed run into the record of its stage."""

from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.progress import TrainProgress
from speechmodel_api.stages import StageError
from speechmodel_api.status import StageState, StageStatus
from speechmodel_api.times import whole_seconds

from speechmodel_plan.chain import OUTPUTS
from speechmodel_plan.observed import Run, RunState, Trouble

FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(minutes=30)


def fold(entry: StageStatus, run: Run | None, now: datetime, claim_uid: str | None, max_attempts: int) -> StageStatus:
    """The record of a running stage after a look at its run."""
    if run is None:
        gone = Trouble("RunVanished", f"{entry.job} was deleted while it ran")
        return _again(entry, gone, now, max_attempts, finished=now)
    match run.state:
        case RunState.PENDING | RunState.RUNNING | RunState.ENDING:
            return entry.model_copy(
                update={
                    "reason": run.trouble.reason if run.trouble else None,
                    "message": run.trouble.message if run.trouble else None,
                }
            )
        case RunState.SUCCEEDED:
            return _succeeded(entry, run, now, claim_uid, max_attempts)
        case RunState.FAILED:
            return _failed(entry, run, now, max_attempts)


def stopped(entry: StageStatus, run: Run | None, now: datetime, reason: str, message: str) -> StageStatus:
    """The record of a running stage whose run is being stopped on purpose: no failure, and no wait before it goes on."""
    return entry.model_copy(
        update={
            "state": StageState.WAITING,
            "reason": reason,
            "message": message,
            "retry_at": None,
            "finished_at": whole_seconds(now),
            "active_seconds": active_seconds(entry, run, now),
            "epoch": _epoch(run) or entry.epoch,
        }
    )


def given_up(entry: StageStatus, run: Run | None, now: datetime, trouble: Trouble) -> StageStatus:
    """The record of a stage that waits for somebody."""
    return entry.model_copy(
        update={
            "state": StageState.FAILED,
            "reason": trouble.reason,
            "message": trouble.message,
            "retry_at": None,
            "finished_at": whole_seconds(now),
            "active_seconds": active_seconds(entry, run, now),
        }
    )


def active_seconds(entry: StageStatus, run: Run | None, now: datetime) -> int:
    """How long all attempts for this key ran, the present one included."""
    before = entry.active_seconds or 0
    if entry.state is not StageState.RUNNING or entry.started_at is None:
        return before
    began: datetime | None = entry.started_at
    if run is not None:  # waiting for a node is not running
        began = run.started_at or (None if run.state is RunState.PENDING else run.created_at)
    if began is None:
        return before
    end = run.finished_at if run and run.finished_at else now
    return before + max(0, int((end - began).total_seconds()))


def _succeeded(entry: StageStatus, run: Run, now: datetime, claim_uid: str | None, max_attempts: int) -> StageStatus:
    output_type = OUTPUTS[entry.name]
    result = _result(run)
    try:
        output = output_type.model_validate(result.output) if result else None
    except ValidationError:
        output = None
    if output is None:
        unread = Trouble("OutputUnreadable", f"{run.name} succeeded, but its result could not be read; it runs again")
        return _again(entry, unread, now, max_attempts, finished=run.finished_at or now)
    return entry.model_copy(
        update={
            "state": StageState.SUCCEEDED,
            "output": output.model_dump(by_alias=True, exclude_none=True, mode="json"),
            "claim_uid": claim_uid,
            "finished_at": whole_seconds(run.finished_at or now),
            "failures": 0,
            "retry_at": None,
            "reason": None,
            "message": None,
            "epoch": None,
            "active_seconds": active_seconds(entry, run, now),
        }
    )


def _failed(entry: StageStatus, run: Run, now: datetime, max_attempts: int) -> StageStatus:
    error = _error(run)
    finished = run.finished_at or now
    if run.trouble and run.trouble.final:
        return given_up(entry, run, now, run.trouble)
    if run.exit_code in set(ExitCode) and ExitCode(run.exit_code).final:
        return given_up(entry, run, now, Trouble(error.reason, error.message))
    return _again(entry, Trouble(error.reason, error.message), finished, max_attempts, finished=finished, run=run)


def _again(
    entry: StageStatus,
    trouble: Trouble,
    now: datetime,
    max_attempts: int,
    *,
    finished: datetime,
    run: Run | None = None,
) -> StageStatus:
    """One more failure: tried again after a delay, or given up after `max_attempts` in a row without an epoch gained."""
    epoch = _epoch(run)
    gained = epoch is not None and epoch > (entry.epoch or 0)
    failures = 1 if gained else entry.failures + 1
    if failures >= max_attempts:
        todo = "mend it, then set the annotation speechops.dev/retry to a new value (`kubectl annotate --overwrite`)"
        advice = f"{trouble.message} (given up after {failures} attempts; {todo})"
        return given_up(entry, run, now, Trouble(trouble.reason, advice)).model_copy(update={"failures": failures})
    return entry.model_copy(
        update={
            "state": StageState.WAITING,
            "failures": failures,
            "reason": trouble.reason,
            "message": trouble.message,
            "finished_at": whole_seconds(finished),
            "retry_at": whole_seconds(now + _delay(failures, killed=run is None or run.result is None)),
            "active_seconds": active_seconds(entry, run, now),
            "epoch": epoch if gained else entry.epoch,
        }
    )


def _delay(failures: int, *, killed: bool) -> timedelta:
    """30 s doubling to 30 min; none for the first time that a run was killed from outside, which says nothing about itself."""
    if killed and failures <= 1:
        return timedelta()
    doublings: int = min(failures - 1, 10)
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def _epoch(run: Run | None) -> int | None:
    return run.progress.epoch if run and isinstance(run.progress, TrainProgress) else None


class _RawResult(Document):
    """A StageResult whose output is read by its stage's type later."""

    output: dict[str, Any] | None = None
    error: StageError | None = None


def _result(run: Run) -> _RawResult | None:
    try:
        return _RawResult.model_validate_json(run.result or "")
    except ValidationError:
        return None


def _error(run: Run) -> StageError:
    """What a failed run said; what was seen of it when it said nothing."""
    result = _result(run)
    if result and result.error:
        return result.error
    if run.trouble:
        return StageError(reason=run.trouble.reason, message=run.trouble.message)
    if run.exit_code is None:
        return StageError(reason="PodLost", message=f"{run.name}: its pod was deleted or its node was lost")
    return StageError(reason="StageCrashed", message=f"{run.name} ended with exit code {run.exit_code} and no result")
