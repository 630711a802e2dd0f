"""Policies decide whether a stage may run. Each checks one condition, and the chains define their order.

A policy maps a Situation to a Finding or None. The user reads the first Finding of a chain.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import StageState
from speechmodel_api.times import format_time

from speechmodel_plan.observed import ALIVE, Observed, Run, RunState, Trouble
from speechmodel_plan.outcome import run_time
from speechmodel_plan.records import StageRecord

IMAGE_PATIENCE, LONGEST_IMAGE_PATIENCE = timedelta(minutes=5), timedelta(hours=1)
"""Time for which pulling an image may fail before a new attempt is made. It doubles with each attempt in a row."""


@dataclass(frozen=True)
class Situation:
    """A stage that is due, its record, and the runs that exist."""

    seen: Observed
    stage: StageName
    key: str
    record: StageRecord | None
    settings: str
    """Hash of the settings that are due."""

    @property
    def run(self) -> Run | None:
        """The run of the record."""
        return self.seen.run(self.record.run) if self.record else None

    @property
    def same_key(self) -> bool:
        """True when the record is about the key that is due."""
        return self.record is not None and self.record.key == self.key

    @property
    def same(self) -> bool:
        """True when the record is about the key and the settings that are due."""
        return self.record is not None and self.same_key and self.record.settings == self.settings

    @property
    def retry_requested(self) -> bool:
        """True when the retry annotation has a value that the record's run did not have."""
        token = self.seen.retry_token
        return token is not None and self.record is not None and token != self.record.retry_token


@dataclass(frozen=True)
class Finding:
    """The reason why a policy does not let a stage run."""

    reason: str
    message: str
    until: datetime | None = None
    """Time of the next check, if it is known."""
    final: bool = False
    """True when a run must not continue and the stage waits for a user to act."""

    @property
    def trouble(self) -> Trouble:
        """The finding as a record keeps it."""
        return Trouble(self.reason, self.message)


Policy = Callable[[Situation], Finding | None]


def suspended(at: Situation) -> Finding | None:
    """No stage runs while spec.suspend is true, or while the local command is being interrupted."""
    if at.seen.interrupted:
        message = "interrupted: everything that was saved is kept; run the same command to continue"
        return Finding(Reason.INTERRUPTED, message)
    if at.seen.spec.suspend:
        message = "spec.suspend is true: no stage runs, and everything that was saved is kept"
        return Finding(Reason.SUSPENDED, message)
    return None


def superseded(at: Situation) -> Finding | None:
    """A run that was created for another key or with other settings is stopped."""
    if at.record is None or at.record.state is not StageState.RUNNING or at.same:
        return None
    edited = "the pod settings were" if at.same_key else "the spec was"
    message = f"{edited} edited: the running attempt is stopped, and a new one follows"
    return Finding(Reason.SUPERSEDED, message)


def relabelled(at: Situation) -> Finding | None:
    """A run that waits with labels that were edited since is replaced. Only a new Job gets into another queue."""
    if at.run is None or not at.run.relabelled:
        return None
    message = "the labels of the SpeechModel were edited: the Job that waits is replaced by one with the new labels"
    return Finding(Reason.SUPERSEDED, message)


def over_deadline(at: Situation) -> Finding | None:
    """training.activeDeadlineSeconds limits all attempts together."""
    limit = at.seen.spec.training.active_deadline_seconds
    if limit is None or at.stage is not StageName.TRAIN or at.record is None or not at.same_key:
        return None
    if run_time(at.record, at.run, at.seen.now) < limit:
        return None
    advice = "raise training.activeDeadlineSeconds to continue from the last checkpoint"
    message = f"training ran for {limit} s over all attempts; {advice}"
    return Finding(Reason.DEADLINE_EXCEEDED, message, final=True)


def image_unavailable(at: Situation) -> Finding | None:
    """The image of a Job cannot change, so after a while, or when asked to, a new attempt uses the operator's current image."""
    run = at.run
    if run is None or at.record is None or run.state is not RunState.PENDING or run.trouble is None:
        return None
    patience = min(IMAGE_PATIENCE * (1 << min(at.record.image_failures, 10)), LONGEST_IMAGE_PATIENCE)
    waited = at.retry_requested or at.seen.now - run.created_at >= patience
    if run.trouble.reason != Reason.IMAGE_PULL_FAILED or not waited:
        return None
    message = f"{run.trouble.message} (a new attempt is made with the operator's current images)"
    return Finding(run.trouble.reason, message)


def failed_for_good(at: Situation) -> Finding | None:
    """A failure that would recur with the same spec waits for an edit or a retry."""
    record = at.record
    if record is None or record.state is not StageState.FAILED or not at.same or at.retry_requested:
        return None
    trouble = record.trouble or Trouble(Reason.FAILED, "the stage failed without reporting a reason")
    if trouble.reason == Reason.DEADLINE_EXCEEDED:
        return None  # over_deadline decides: a higher limit is enough
    return Finding(trouble.reason, trouble.message, final=True)


def backing_off(at: Situation) -> Finding | None:
    """A stage whose failure may recover is not retried before retryAt, unless its pod settings were edited."""
    record = at.record
    if record is None or record.state is not StageState.WAITING or record.retry_at is None or not at.same:
        return None
    if record.retry_at <= at.seen.now or at.retry_requested:
        return None
    trouble = record.trouble or Trouble(Reason.WAITING, "the last attempt failed")
    message = f"{trouble.message} (next attempt at {format_time(record.retry_at)})"
    return Finding(trouble.reason, message, record.retry_at)


def predecessor_alive(at: Situation) -> Finding | None:
    """Only one run may write to the workspace, so runs of any stage must end first."""
    alive = [run for run in at.seen.runs if run.state in ALIVE]
    if not alive:
        return None
    until = at.seen.now + timedelta(seconds=5)
    troubles = (run.trouble for run in alive if run.trouble)
    if stuck := next((trouble for trouble in troubles if trouble.reason == Reason.POD_STUCK), None):
        return Finding(stuck.reason, stuck.message, until)
    names = ", ".join(sorted(run.name for run in alive))
    return Finding(Reason.WAITING_FOR_PODS, f"waiting for {names} to end", until)


def claim_missing(at: Situation) -> Finding | None:
    """No stage starts before the workspace claim exists."""
    if at.seen.claim is not None:
        return None
    if name := at.seen.spec.training.storage.claim_name:
        until = at.seen.now + timedelta(seconds=10)
        return Finding(Reason.WAITING_FOR_CLAIM, f"PersistentVolumeClaim {name} does not exist; create it", until)
    message = "the workspace claim is being created, or an earlier one of its name waits for the pods that mount it to be deleted"
    return Finding(Reason.WAITING_FOR_CLAIM, message, at.seen.now + timedelta(seconds=1))


WHY_STOP: tuple[Policy, ...] = (suspended, superseded, relabelled, over_deadline, image_unavailable)
"""Policies that end a running attempt, in order."""
WHY_NOT_START: tuple[Policy, ...] = (
    suspended,
    over_deadline,
    failed_for_good,
    backing_off,
    predecessor_alive,
    claim_missing,
)
"""Policies that keep an attempt from starting, in order."""


def first(chain: tuple[Policy, ...], situation: Situation) -> Finding | None:
    """Return the first finding of a chain."""
    return next((finding for policy in chain if (finding := policy(situation))), None)
