"""One task for each SpeechModel uid: it starts with the first event, survives any exception, and ends with the model."""

import asyncio
import logging
import math
import time
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from speechmodel_api.field_problems import InvalidSpec
from speechmodel_api.reasons import Reason
from speechmodel_api.tracing import span
from speechmodel_plan.observed import Trouble
from speechmodel_plan.plan import RESYNC
from speechmodel_plan.reconcile import Engine, Gone, StepFailed, reconcile
from speechmodel_plan.task import Owner

from speechmodel_operator import logs
from speechmodel_operator.cluster.errors import ClusterError, Conflict, NameConflict, NoAnswer
from speechmodel_operator.cluster.policies import Policies
from speechmodel_operator.jitter import jittered
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.turns import Turns
from speechmodel_operator.upgrades import Upgrades

log = logging.getLogger(__name__)

SHORTEST_BREAK = 0.2
"""Seconds between two steps of one model: a burst of events is one step."""
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
STALLED_SECONDS = 180.0
"""Steps have stalled when none has ended for that time while one is due; every call has a time-out of 35 s."""
LONGEST_STEP_SECONDS = 900.0
"""Time after which a single step has stalled although others end."""
LIVE_SECONDS = 3600.0
"""Time after which a model at rest is read live with everything that belongs to it. Until then, only the model itself is."""
STEPS_AT_ONCE = 32
"""Steps that may go on at the same time, as many as calls to the API server. Thousands at once would all take minutes."""
LATER_SECONDS = 5.0
"""Head start of a step for a new or an edited model, for whose Job a person waits, over a step after an event about a Job or a pod, or
without an event. It matters only when more than STEPS_AT_ONCE steps are due.
"""
STEPS_AT_START = 8
"""Models that may be looked at at the same time when the operator starts, so that an edit need not wait for thousands."""


NAMED = (ClusterError, NameConflict, NoAnswer, InvalidSpec, StepFailed)
"""Errors that have a reason."""


class ClusterSteps(Engine, Protocol):
    """An engine that can also take a step after an event, and report that a step failed."""

    async def react(self) -> timedelta | None:
        """Take a step after an event, which `reconcile` takes without one, and return the time until the next one."""

    async def resync(self) -> timedelta | None:
        """Take a step without an event for a model at rest, as `react` does if the watches know the model as it is."""

    async def report_failure(self, failure: Trouble) -> None:
        """Write the failure into the condition Ready. It must not raise."""


@dataclass(eq=False)
class _Model:
    owner: Owner
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    woken_at: float | None = None
    """Monotonic time of the first event that no step has followed yet."""
    due_at: float = math.inf
    """Monotonic time at which the next step is due. Steps are taken in the order of these times."""

    def notice(self, later: float = 0.0) -> None:
        """Ask for a step. Steps that become due within `later` seconds may overtake it."""
        now = time.monotonic()
        self.woken_at = self.woken_at or now
        self.due_at = min(self.due_at, now + later)
        self.wake.set()


class Supervisor:
    """Keeps the tasks. `make_engine` makes the engine of one model."""

    def __init__(
        self,
        make_engine: Callable[[Owner], ClusterSteps],
        telemetry: Telemetry | None = None,
        upgrades: Upgrades | None = None,
        policies: Policies | None = None,
    ) -> None:
        self._make_engine = make_engine
        self._upgrades, self._policies = upgrades or Upgrades(), policies
        self._telemetry = telemetry or Telemetry()
        self._models: dict[str, _Model] = {}
        self._uids: dict[tuple[str, str], str] = {}
        """The uid of each model by its namespace and name."""
        self._selected: frozenset[str] | None = None
        self._stepping: dict[_Model, float] = {}
        """Monotonic time at which the step began of each model whose step goes on. A uid may have two for a moment."""
        self._turns = Turns(STEPS_AT_ONCE)
        self._due = 0
        """Number of steps that go on or wait for their turn."""
        self._quiet_since = 0.0
        """Monotonic time at which the last step ended, or the first one became due after none was."""
        self._outside: dict[str, Owner] = {}
        """Models in namespaces that are not selected, by uid."""

    def select(self, namespaces: frozenset[str]) -> None:
        """Manage the models of these namespaces only. Without a call, those of all namespaces are managed.

        The tasks of others end. Their Jobs and servers go on, and their status stays.
        """
        before, self._selected = self._selected, namespaces
        if before != namespaces:
            log.info("managing the namespaces %s", ", ".join(sorted(namespaces)) or "(none)")
        for uid, model in list(self._models.items()):
            if model.owner.namespace not in namespaces:
                self._outside[uid] = model.owner
                self._release(model)
        for owner in [owner for owner in self._outside.values() if owner.namespace in namespaces]:
            del self._outside[owner.uid]
            self.notice(owner)

    def wait_for_lists(self) -> None:
        """Begin no upgrade before `all_listed` is called, or its time is up: models may be there that are not known yet."""
        self._upgrades.wait_for_lists()

    def all_listed(self) -> None:
        """Take note that `take_up` was called for all models that were there before the operator."""
        self._upgrades.all_listed()

    async def take_up(self, owners: Iterable[Owner]) -> None:
        """Look at models that were there before the operator, a few at a time. One that was noticed since is left out."""
        owners = tuple(owners)
        fresh = [owner.uid for owner in owners if self._manages(owner) and owner.uid not in self._models]
        self._upgrades.expect(fresh)
        for owner in owners:
            if owner.uid not in self._models:
                self.notice(owner)
            await asyncio.sleep(0)
            while len(self._stepping) >= STEPS_AT_START:  # noqa: ASYNC110 - steps do not tell anyone when they end
                await asyncio.sleep(0.01)

    def notice(self, owner: Owner) -> None:
        """Wake a model after an event about it. The first event starts its task, if its namespace is managed."""
        if not self._manages(owner):
            self._outside[owner.uid] = owner
            self._upgrades.forget(owner.uid)  # nobody will look at it
            return
        if owner.uid not in self._models:
            model = self._models[owner.uid] = _Model(owner)
            self._uids[owner.namespace, owner.name] = owner.uid
            model.task = asyncio.create_task(self._supervise(model), name=str(owner))
        model = self._models[owner.uid]
        model.notice()
        self._turns.hasten(model, model.due_at)  # it may wait for its turn because of another event

    def _manages(self, owner: Owner) -> bool:
        return self._selected is None or owner.namespace in self._selected

    def gone(self, uid: str) -> None:
        """Take note that a model was deleted. Its task ends by itself."""
        self._outside.pop(uid, None)
        self.wake(uid)

    def wake(self, uid: str) -> None:
        """Wake a model after an event about it or its children. A model without a task is not started."""
        if model := self._models.get(uid):
            model.notice(LATER_SECONDS)

    def wake_named(self, namespace: str, name: str) -> None:
        """Wake a model after an event about one of its children."""
        self.wake(self._uids.get((namespace, name), ""))

    def stalled(self) -> list[str]:
        """Return the models whose steps go on if none has ended for too long, or else those whose own step goes on for too long.
        A step that waits for its turn has not stalled.
        """
        now = time.monotonic()
        longest = 0.0 if now - self._quiet_since > STALLED_SECONDS else LONGEST_STEP_SECONDS
        return [str(model.owner) for model, began in self._stepping.items() if now - began >= longest]

    async def stop(self) -> None:
        """End every task; the next start finds again what they created."""
        tasks = [model.task for model in self._models.values() if model.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _release(self, model: _Model) -> None:
        """End the task of a model. What it did not finish is found again."""
        self._forget(model)
        if model.task:
            model.task.cancel()

    def _forget(self, model: _Model) -> None:
        owner = model.owner
        if self._models.get(owner.uid) is model:
            del self._models[owner.uid]
            if self._uids.get((owner.namespace, owner.name)) == owner.uid:
                del self._uids[owner.namespace, owner.name]
            self._telemetry.forget(owner)
            self._upgrades.forget(owner.uid)
            if self._policies is not None:
                self._policies.forget(owner)

    @asynccontextmanager
    async def _turn(self, model: _Model) -> AsyncIterator[None]:
        """Wait until the model may take a step, and keep account of it."""
        if not self._due:
            self._quiet_since = time.monotonic()
        self._due += 1
        try:
            async with self._turns.take(model, min(model.due_at, time.monotonic() + LATER_SECONDS)):
                self._stepping[model] = time.monotonic()
                try:
                    yield
                finally:
                    del self._stepping[model]
                    self._quiet_since = time.monotonic()
        finally:
            self._due -= 1

    async def _supervise(self, model: _Model) -> None:
        """Take steps until the model is gone. An event does not put off the step that is due without one, in case a watch lost one."""
        logs.describe(namespace=model.owner.namespace, model=model.owner.name)
        about = {"k8s.namespace.name": model.owner.namespace, "speechmodel.model": model.owner.name}
        engine = self._make_engine(model.owner)
        backoff, woken, due, lasting = FIRST_BACKOFF, True, math.inf, None
        rests, live_at = False, time.monotonic()
        try:
            while True:
                pause: timedelta | None
                outcome = "done"
                async with self._turn(model):
                    model.wake.clear()
                    began, model.due_at = time.monotonic(), math.inf
                    if model.woken_at is not None:
                        self._telemetry.waited(began - model.woken_at)
                        model.woken_at = None
                    try:
                        with span("reconcile", about):
                            if woken:
                                pause = await engine.react()
                            elif rests and began - live_at < LIVE_SECONDS:
                                pause = await engine.resync()
                            else:
                                live_at = began
                                pause = await reconcile(engine)
                        backoff, lasting = FIRST_BACKOFF, None
                    except Gone:
                        return
                    except Conflict:
                        log.info("%s changed during the step: reading it again", model.owner)
                        pause, outcome = timedelta(0), "conflict"
                    except Exception as error:  # noqa: BLE001 - one failure must not stop this model for ever
                        pause, outcome = timedelta(seconds=backoff), "failed"
                        before, lasting = lasting, _lasting(error)
                        if lasting is None or lasting != before:
                            self._telemetry.failed(str(_reason(error)))
                            _log(model.owner, error, backoff)
                        if not isinstance(error, StepFailed):  # the engine has reported that
                            await engine.report_failure(Trouble(_reason(error), str(error) or type(error).__name__))
                        backoff = min(backoff * 2, LONGEST_BACKOFF)
                self._upgrades.looked_at(model.owner.uid)
                now = time.monotonic()
                self._telemetry.stepped(outcome, now - began)
                next_step = math.inf if pause is None else now + jittered(pause.total_seconds())
                due = min(due, next_step) if woken else next_step
                rests = pause is not None and pause >= RESYNC
                woken = await _sleep(model.wake, due) and time.monotonic() < due
        finally:
            self._forget(model)


def _log(owner: Owner, error: Exception, backoff: float) -> None:
    if isinstance(error, NAMED):
        log.warning("%s: %s: %s (next step in %g s)", owner, error.reason, error, backoff)
    else:
        log.error("%s: reconciling failed (next step in %g s)", owner, backoff, exc_info=error)


def _lasting(error: Exception) -> tuple[str, str] | None:
    """Return reason and message of a failure that counts and is logged once while it lasts: the spec, the quota or a policy of
    one user must not look like a fault of the operator. None for an error of the API server, a webhook or the operator.
    """
    if not isinstance(error, StepFailed | InvalidSpec) or error.reason == Reason.API_ERROR:
        return None
    return error.reason, str(error)


def _reason(error: Exception) -> str:
    """Return the reason of the condition Ready after a step that failed."""
    return error.reason if isinstance(error, NAMED) else Reason.RECONCILE_ERROR


async def _sleep(wake: asyncio.Event, until: float) -> bool:
    """Sleep until woken or a monotonic time, at least for the shortest break. Return True when woken."""
    await asyncio.sleep(SHORTEST_BREAK)
    try:
        async with asyncio.timeout(None if until == math.inf else max(0.0, until - time.monotonic())):
            return await wake.wait()
    except TimeoutError:
        return False
