"""The outcome of a run, folded into the record of its stage."""

import signal
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.progress import TrainProgress
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageError, VolumeUse
from speechmodel_api.status import StageState
from speechmodel_api.times import whole_seconds

from speechmodel_plan.observed import Run, RunState, Trouble
from speechmodel_plan.records import StageRecord
from speechmodel_plan.stages import stage_named

FIRST_DELAY = timedelta(seconds=30)
LONGEST_DELAY = timedelta(minutes=30)
DISRUPTIONS = frozenset({Reason.EVICTED, Reason.NODE_LOST, Reason.PREEMPTED})
"""Reasons for which a run ends that say nothing about it. A Job of one pod replaces the pod by itself; a run of several
programs ends, since all of them have to start together."""
LOST = DISRUPTIONS | {Reason.POD_STUCK}
"""Reasons for which the other workers of a run report WorkerLost. The lost pod itself may be gone when the run has ended."""
LOG_LINES, LOG_LENGTH = 5, 1000
"""Lines and characters at the end of a log that a message quotes."""


def fold(record: StageRecord, run: Run | None, now: datetime, claim_uid: str | None, max_attempts: int) -> StageRecord:
    """Return the record of a running stage, updated from its run."""
    if run is None:
        gone = Trouble(Reason.RUN_VANISHED, f"{record.run} was deleted while it ran")
        return _failed_once(record, None, gone, now, max_attempts)
    if run.state in (RunState.RUNNING, RunState.SUCCEEDED, RunState.FAILED):
        record = replace(record, image_failures=0)
    match run.state:
        case RunState.SUCCEEDED:
            return _succeeded(record, run, now, claim_uid, max_attempts)
        case RunState.FAILED:
            return _failed(record, run, now, max_attempts)
        case RunState.PENDING | RunState.RUNNING | RunState.ENDING:
            return replace(record, trouble=_trouble(record, run))


def _trouble(record: StageRecord, run: Run) -> Trouble | None:
    """Return the trouble of a run that has not ended. One that lost a worker is about to end, so the loss stays its trouble. So does
    an image that the attempt before could not pull, until it is pulled.
    """
    if run.state is RunState.PENDING and run.trouble is None and record.unpulled is not None:
        return record.unpulled
    loss = _loss(record) if run.workers > 1 else None
    return run.trouble if loss is None or (run.trouble and run.trouble.reason in LOST) else loss


def _loss(record: StageRecord) -> Trouble | None:
    """Return the reason for which a worker was lost while the run went on."""
    return record.trouble if record.trouble and record.trouble.reason in LOST else None


def stopped(record: StageRecord, run: Run | None, now: datetime, trouble: Trouble) -> StageRecord:
    """Return the record of a stage that is stopped on purpose, which is no failure and delays nothing but the next attempt to pull
    an image.
    """
    unpulled = trouble.reason == Reason.IMAGE_PULL_FAILED
    return replace(
        _timed(record, run, now),
        state=StageState.WAITING,
        trouble=trouble,
        retry_at=None,
        finished_at=now,
        epoch=_epoch(run) or record.epoch,
        image_failures=record.image_failures + unpulled,
    )


def given_up(record: StageRecord, run: Run | None, now: datetime, trouble: Trouble) -> StageRecord:
    """Return the record of a stage that waits for a user to act."""
    return replace(
        _timed(record, run, now),
        state=StageState.FAILED,
        trouble=trouble,
        retry_at=None,
        finished_at=_ended(run, now),
    )


def run_time(record: StageRecord, run: Run | None, now: datetime) -> int:
    """Return the running time in seconds of all attempts for a record's key, the current one included.

    Time spent waiting for a node does not count.
    """
    before = record.active_seconds or 0
    began = record.started_at
    if run is not None:
        began = run.started_at or (None if run.state is RunState.PENDING else run.created_at)
    if record.state is not StageState.RUNNING or record.started_at is None or began is None:
        return before
    return before + max(0, int((_ended(run, now) - began).total_seconds()))


def _timed(record: StageRecord, run: Run | None, now: datetime) -> StageRecord:
    """Return the record with the running time of the attempt that ends. The record of an earlier release has no sum for pods."""
    before, total = record.active_seconds or 0, run_time(record, run, now)
    if record.state is not StageState.RUNNING:
        return replace(record, active_seconds=total)
    workers = run.workers if run else 1
    pods = before * workers if record.pod_seconds is None else record.pod_seconds
    return replace(record, active_seconds=total, pod_seconds=pods + (total - before) * workers)


def volume_use(run: Run) -> VolumeUse | None:
    """Return the use of the workspace's volume that a finished run reported."""
    result = _result(run)
    return result.storage if result else None


def _succeeded(record: StageRecord, run: Run, now: datetime, claim_uid: str | None, max_attempts: int) -> StageRecord:
    result = _result(run)
    output = stage_named(record.stage).parse(result.output) if result else None
    if output is None:
        message = f"{run.name} succeeded, but its result cannot be read; the stage runs again"
        return _failed_once(record, None, Trouble(Reason.OUTPUT_UNREADABLE, message), _ended(run, now), max_attempts)
    return replace(
        _timed(record, run, now),
        state=StageState.SUCCEEDED,
        output=output.model_dump(by_alias=True, exclude_none=True, mode="json"),
        claim_uid=claim_uid,
        finished_at=_ended(run, now),
        failures=0,
        retry_at=None,
        trouble=None,
        epoch=None,
    )


def _failed(record: StageRecord, run: Run, now: datetime, max_attempts: int) -> StageRecord:
    if run.trouble and run.trouble.final:
        return given_up(record, run, now, run.trouble)
    if run.trouble and run.trouble.reason in DISRUPTIONS:
        return stopped(record, run, now, run.trouble)
    trouble = _reported(run)
    if trouble.reason == Reason.WORKER_LOST and (loss := _loss(record)):
        return stopped(record, run, now, loss)
    if run.exit_code == ExitCode.STOPPED:
        return stopped(record, run, now, trouble)
    if run.exit_code in set(ExitCode) and ExitCode(run.exit_code).final:
        return given_up(record, run, now, trouble)
    return _failed_once(record, run, trouble, now, max_attempts)


def _failed_once(
    record: StageRecord, run: Run | None, trouble: Trouble, now: datetime, max_attempts: int
) -> StageRecord:
    """Return the record after one more failure.

    The stage is retried after a delay, until `max_attempts` failures in a row have gained no epoch.
    """
    finished = _ended(run, now)
    epoch = _epoch(run)
    gained = epoch is not None and epoch > (record.epoch or 0)
    failures = 1 if gained else record.failures + 1
    if failures >= max_attempts:
        advice = (
            f"{trouble.message} (given up after {failures} attempts; fix the cause, then set the annotation "
            "speechops.dev/retry to a new value with `kubectl annotate --overwrite`)"
        )
        crashed = trouble.reason == Reason.STAGE_CRASHED
        reason = Reason.BACKOFF_LIMIT_EXCEEDED if crashed else trouble.reason
        return replace(given_up(record, run, now, Trouble(reason, advice)), failures=failures)
    return replace(
        _timed(record, run, now),
        state=StageState.WAITING,
        failures=failures,
        trouble=trouble,
        finished_at=finished,
        retry_at=whole_seconds(finished + _delay(failures, killed=run is None or _killed(run))),
        epoch=epoch if gained else record.epoch,
    )


def _delay(failures: int, *, killed: bool) -> timedelta:
    """Return 30 s doubling to 30 min, but no delay when a run was killed from outside for the first time."""
    if killed and failures <= 1:
        return timedelta()
    doublings: int = min(failures - 1, 10)
    return min(FIRST_DELAY * (1 << doublings), LONGEST_DELAY)


def _killed(run: Run) -> bool:
    """Return True for a program that did not end by itself, by its exit code."""
    return _result(run) is None and run.exit_code in (None, 128 + signal.SIGKILL, 128 + signal.SIGTERM)


def _ended(run: Run | None, now: datetime) -> datetime:
    """Return the end of a run, or the time of its observation where the end is unknown."""
    return run.finished_at if run and run.finished_at else now


def _epoch(run: Run | None) -> int | None:
    return run.progress.epoch if run and isinstance(run.progress, TrainProgress) else None


class _RawResult(Document):
    """A StageResult whose output its stage parses."""

    output: dict[str, Any] | None = None
    error: StageError | None = None
    storage: VolumeUse | None = None


def _result(run: Run) -> _RawResult | None:
    try:
        return _RawResult.model_validate_json(run.result or "")
    except ValidationError:
        return None


def _reported(run: Run) -> Trouble:
    """Return the error that a failed run reported, or else the trouble that was observed."""
    result = _result(run)
    if result and result.error:
        return Trouble(result.error.reason, result.error.message)
    if run.trouble:
        return run.trouble
    if run.exit_code is None:
        return Trouble(Reason.POD_LOST, f"the pod of {run.name} was deleted or its node was lost")
    log = " | ".join(line for line in (run.result or "").splitlines()[-LOG_LINES:] if line.strip())
    ending = f"; its log ends with: {log[-LOG_LENGTH:]}" if log else ""
    return Trouble(Reason.STAGE_CRASHED, f"{run.name} exited with code {run.exit_code} and no result{ending}")
