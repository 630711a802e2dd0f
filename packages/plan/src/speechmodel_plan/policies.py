"""Why a stage may not run: each policy looks at one thing, the chains are the documentation.

A policy is `Situation -> Finding or None`; the first Finding of a chain is what the user reads.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from speechmodel_api.stages import StageName
from speechmodel_api.status import StageState, StageStatus
from speechmodel_api.times import format_time

from speechmodel_plan.observed import ALIVE, STUCK, Observed, Run, RunState
from speechmodel_plan.outcome import active_seconds

IMAGE_REASONS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
IMAGE_PATIENCE = timedelta(minutes=5)
"""How long an image may fail to be pulled before a new attempt is made."""


@dataclass(frozen=True)
class Situation:
    """A stage that is to run, its record, and the runs that there are."""

    seen: Observed
    stage: StageName
    key: str
    entry: StageStatus | None

    @property
    def run(self) -> Run | None:
        """The run of the record."""
        return self.seen.run(self.entry.job) if self.entry else None

    @property
    def same(self) -> bool:
        """Whether the record is about the key and pod settings that are asked for now."""
        return (
            self.entry is not None
            and self.entry.key == self.key
            and self.entry.settings == self.seen.settings.get(self.stage)
        )


@dataclass(frozen=True)
class Finding:
    """Why not."""

    reason: str
    message: str
    until: datetime | None = None
    """When to look again, if it is known."""
    final: bool = False
    """Whether the run, if there is one, must not go on and the stage waits for somebody."""


Policy = Callable[[Situation], Finding | None]


def suspended(at: Situation) -> Finding | None:
    """spec.suspend: no stage runs; nor while the local command is being interrupted."""
    if at.seen.interrupted:
        return Finding("Interrupted", "interrupted: what was saved is kept; call the command again to go on")
    if at.seen.spec.suspend:
        return Finding("Suspended", "spec.suspend is true: no stage runs; what was saved is kept")
    return None


def superseded(at: Situation) -> Finding | None:
    """The run was made for another key or with other pod settings."""
    if at.entry is None or at.entry.state is not StageState.RUNNING or at.same:
        return None
    what = "the pod settings were" if at.entry.key == at.key else "the spec was"
    return Finding("Superseded", f"{what} edited: the running attempt is stopped, and a new one follows")


def over_deadline(at: Situation) -> Finding | None:
    """training.activeDeadlineSeconds, over all attempts."""
    limit = at.seen.spec.training.active_deadline_seconds
    if limit is None or at.stage is not StageName.TRAIN or at.entry is None or at.entry.key != at.key:
        return None
    if active_seconds(at.entry, at.run, at.seen.now) < limit:
        return None
    advice = "raise training.activeDeadlineSeconds; training then continues from its last checkpoint"
    return Finding("DeadlineExceeded", f"training ran for {limit} s, all attempts together; {advice}", final=True)


def image_unavailable(at: Situation) -> Finding | None:
    """A Job keeps the image that it was made with: a new attempt takes the one that the operator has now."""
    run = at.run
    if (
        run is None
        or run.state is not RunState.PENDING
        or run.trouble is None
        or run.trouble.reason not in IMAGE_REASONS
    ):
        return None
    if at.seen.now - run.created_at < IMAGE_PATIENCE:
        return None
    return Finding(
        run.trouble.reason, f"{run.trouble.message} (a new attempt is made with the operator's present images)"
    )


def failed_for_good(at: Situation) -> Finding | None:
    """A failure that the same spec would meet again."""
    entry = at.entry
    if entry is None or entry.state is not StageState.FAILED or not at.same or _asked_again(at):
        return None
    if entry.reason == "DeadlineExceeded":
        return None  # over_deadline decides: a higher limit is enough
    return Finding(entry.reason or "Failed", entry.message or "failed", final=True)


def backing_off(at: Situation) -> Finding | None:
    """A failure that may heal: not before retryAt."""
    entry = at.entry
    if entry is None or entry.state is not StageState.WAITING or entry.retry_at is None or entry.key != at.key:
        return None
    until = entry.retry_at
    if until <= at.seen.now or _asked_again(at):
        return None
    return Finding(
        entry.reason or "Waiting", f"{entry.message or 'failed'} (tried again at {format_time(entry.retry_at)})", until
    )


def predecessor_alive(at: Situation) -> Finding | None:
    """One writer: whatever still executes, of this stage or another, must be gone first."""
    alive = [run for run in at.seen.runs if run.state in ALIVE]
    if not alive:
        return None
    until = at.seen.now + timedelta(seconds=5)
    if stuck := next((run.trouble for run in alive if run.trouble and run.trouble.reason == STUCK), None):
        return Finding(stuck.reason, stuck.message, until)
    return Finding("WaitingForPods", f"waits for {', '.join(sorted(run.name for run in alive))} to end", until)


def claim_missing(at: Situation) -> Finding | None:
    """The workspace claim is made first."""
    if at.seen.claim is None:
        name = at.seen.spec.training.storage.claim_name
        made = "the workspace claim is being made, or one of its name is still being deleted"
        message = f"PersistentVolumeClaim {name} is not there; make it" if name else made
        return Finding("WaitingForClaim", message, at.seen.now + timedelta(seconds=10 if name else 1))
    return None


WHY_STOP: tuple[Policy, ...] = (suspended, superseded, over_deadline, image_unavailable)
"""Why a run must not go on."""
WHY_NOT_START: tuple[Policy, ...] = (
    suspended,
    over_deadline,
    failed_for_good,
    backing_off,
    predecessor_alive,
    claim_missing,
)
"""Why no run is started."""


def first(chain: tuple[Policy, ...], situation: Situation) -> Finding | None:
    """The first finding of a chain."""
    return next((finding for policy in chain if (finding := policy(situation))), None)


def _asked_again(at: Situation) -> bool:
    token = at.seen.retry_token
    return token is not None and at.entry is not None and token != at.entry.retry_token
