"""One step: observe, plan, apply, report. This function is all that the operator and the local engine do."""

from dataclasses import replace
from datetime import timedelta
from typing import Protocol

from speechmodel_plan.deletion import plan_deletion
from speechmodel_plan.observed import Observed, Trouble
from speechmodel_plan.plan import Done, Plan, Report, plan_step


class Engine(Protocol):
    """Makes plans true: on a cluster, or with subprocesses on this machine."""

    async def observe(self) -> Observed | None:
        """Return everything that a plan is made from, read live; None when the SpeechModel is gone."""

    async def apply(self, plan: Plan) -> Done:
        """Make the plan true. Applying it twice does no harm."""

    async def report(self, report: Report) -> None:
        """Write the status if it changed, and post the Events."""


class Gone(Exception):
    """The SpeechModel no longer exists."""


class StepFailed(Exception):
    """A part of the plan could not be applied. It is reported already; the step is repeated after a delay."""

    def __init__(self, failure: Trouble) -> None:
        super().__init__(failure.message)
        self.reason = failure.reason


async def reconcile(engine: Engine) -> timedelta | None:
    """Take one step towards the spec and return the time until the next one, or None to wait for an event.

    Changes are made before they are reported. If the process ends in between, the next step finds the created objects by name.
    """
    seen = await engine.observe()
    if seen is None:
        raise Gone
    plan = make_plan(seen)
    done = await engine.apply(plan)
    if done.claim is not None:
        plan = make_plan(replace(seen, claim=done.claim))
        done = await engine.apply(plan)
    report = plan.after(done)
    await engine.report(report)
    if report.failure is not None:
        raise StepFailed(report.failure)
    return plan.look_again


def make_plan(seen: Observed) -> Plan:
    """Return the plan: a step of a deletion, or a step towards the spec."""
    return plan_deletion(seen) if seen.deleted_at is not None else plan_step(seen)
