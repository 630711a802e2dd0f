"""One step: look, decide, do, say. Whoever reads this function sees all that the operator and the local engine do."""

from datetime import timedelta
from typing import Protocol

from speechmodel_plan.observed import Observed
from speechmodel_plan.plan import Plan, make_plan


class Engine(Protocol):
    """What makes a plan true: a cluster, or subprocesses on this machine."""

    async def observe(self) -> Observed | None:
        """Everything that a plan is made from, read live; None when the SpeechModel is gone."""

    async def apply(self, plan: Plan) -> None:
        """Make it true. Doing it twice does no harm."""

    async def report(self, plan: Plan) -> None:
        """Write the status if it changed, and post the events."""


class Gone(Exception):
    """The SpeechModel does not exist any more."""


async def reconcile(engine: Engine) -> timedelta | None:
    """One step towards the spec; gives when to look again at the latest, None for not before something happens.

    What is done comes before what is said: if this ends in between, the next step finds by name what was made.
    """
    seen = await engine.observe()
    if seen is None:
        raise Gone
    plan = make_plan(seen)
    await engine.apply(plan)
    await engine.report(plan)
    return plan.look_again
