"""The deletion of a SpeechModel: writers end first, then the published objects are removed, then the finalizer goes.

Every step is bounded in time. Without our finalizer the garbage collector removes everything that is owned.
"""

from dataclasses import dataclass
from datetime import timedelta

from speechmodel_api.reasons import Reason
from speechmodel_api.spec import DeletionPolicy
from speechmodel_api.stages.publish import PurgeInput

from speechmodel_plan.events import Event
from speechmodel_plan.observed import ALIVE, Observed, Purge, Run, RunState, Trouble
from speechmodel_plan.plan import LOOK_AGAIN, Done, Plan, Report
from speechmodel_plan.stages.publish import base
from speechmodel_plan.status import deleting_status

PURGE_LIMIT = timedelta(seconds=120)
"""Longest time that the Job may take to remove the published objects."""
QUEUE_LIMIT = timedelta(hours=1)
"""Longest time that it may wait in a queue of Kueue before, such as behind trainings."""


@dataclass(frozen=True, kw_only=True)
class DeletionPlan(Plan):
    """One step of a deletion."""

    message: str | None = None
    """The state of the deletion; None leaves the status as it is."""
    events: tuple[Event, ...] = ()
    deleting: bool = True

    def after(self, done: Done) -> Report:
        """Return the status and the Events. If the purge Job cannot be created, the purge is abandoned."""
        if done.purge_refused is not None:
            events = _given_up(self.seen, done.purge_refused)
            return Report(deleting_status(self.seen, events[0].message), events, finalizer=False)
        status = self.seen.status if self.message is None else deleting_status(self.seen, self.message)
        return Report(status, self.events, self.finalizer)


def plan_deletion(seen: Observed) -> Plan:
    """Return one step of the deletion."""
    stop = tuple(run for run in seen.runs if run.state in ALIVE)
    retained = seen.spec.publish.deletion_policy is DeletionPolicy.RETAIN
    if not seen.finalizer or retained:
        return DeletionPlan(seen=seen, finalizer=False, stop=stop)
    purge, failure = seen.purge, seen.purge.failure if seen.purge else None
    if purge and purge.finished and failure is None:
        message = "the published objects have been removed"
        return DeletionPlan(seen=seen, finalizer=False, stop=stop, message=message, events=_left_elsewhere(seen))
    if purge and purge.relabelled:  # a new one follows, with the new labels
        message = "the labels were edited: the Job that waits to remove the published objects is replaced"
        return DeletionPlan(
            seen=seen, finalizer=True, stop=stop, abandon_purge=True, message=message, look_again=timedelta(seconds=2)
        )
    late = Trouble(Reason.DEADLINE_EXCEEDED, f"the removal took longer than {PURGE_LIMIT.total_seconds():.0f} s")
    if purge and ((failure and failure.final) or _late(purge, seen)):
        events = _given_up(seen, failure or late)
        message, unfinished = events[0].message, not purge.finished
        return DeletionPlan(
            seen=seen, finalizer=False, stop=stop, message=message, events=events, abandon_purge=unfinished
        )
    writing = any(not _on_a_lost_node(run) for run in stop)
    queued = failure.message if purge and purge.queued and failure else None
    removing = f"removing {_address(seen)}" + (f": {failure.message}" if failure else "")
    return DeletionPlan(
        seen=seen,
        finalizer=True,
        stop=stop,
        purge=None if writing else PurgeInput(target=seen.spec.publish.s3.location, base=base(seen.spec, seen.owner)),
        look_again=LOOK_AGAIN if queued else timedelta(seconds=2),
        message="waiting for running stages to end" if writing else queued or removing,
    )


def _late(purge: Purge, seen: Observed) -> bool:
    if purge.queued:
        return seen.now - purge.created_at >= QUEUE_LIMIT
    return seen.now - (purge.started_at or purge.created_at) >= PURGE_LIMIT


def _address(seen: Observed) -> str:
    return f"s3://{seen.spec.publish.s3.bucket}/{base(seen.spec, seen.owner)}/"


def _on_a_lost_node(run: Run) -> bool:
    """Return True when a pod is past its grace period, so that nothing waits for it."""
    return run.state is RunState.ENDING and run.trouble is not None and run.trouble.reason == Reason.POD_STUCK


def _given_up(seen: Observed, why: Trouble) -> tuple[Event, ...]:
    """Return the Events that name what was left in the bucket."""
    reason = why.message if why.reason == Reason.DEADLINE_EXCEEDED else f"{why.reason}: {why.message}"
    message = f"{_address(seen)} was not removed ({reason}); remove it by hand"
    return (Event("Warning", Reason.PURGE_FAILED, message), *_left_elsewhere(seen))


def _left_elsewhere(seen: Observed) -> tuple[Event, ...]:
    """Return an Event that names the versions published before `publish.s3` was edited."""
    address, endpoint = _address(seen), seen.spec.publish.s3.endpoint
    elsewhere = [
        f"{model.uri} at {model.endpoint}" if model.endpoint else model.uri
        for model in seen.status.history
        if model.endpoint != endpoint or not model.uri.startswith(address)
    ]
    if not elsewhere:
        return ()
    message = (
        f"objects published before publish.s3 was edited were not removed: {', '.join(elsewhere)}; remove them by hand"
    )
    return (Event("Warning", Reason.PURGE_INCOMPLETE, message),)
