"""One task for each SpeechModel uid: started by the first event, restarted after any exception, ended when the model is gone."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from speechmodel_plan.reconcile import Engine, Gone, reconcile

from speechmodel_operator.cluster.errors import ClusterError, Conflict, NameConflict, Refused

log = logging.getLogger(__name__)

SHORTEST_BREAK = 0.2
"""Seconds between two steps of one model: a burst of events is one step."""
FIRST_BACKOFF, LONGEST_BACKOFF = 1.0, 60.0
STANDSTILL_SECONDS = 180.0
"""A step that takes longer than this hangs; every call has a time-out of 30 s."""


class FailureReporter(Engine, Protocol):
    """An engine that can also say that a step failed."""

    async def report_failure(self, reason: str, message: str) -> None:
        """Put it into the condition Ready; must not raise."""


@dataclass
class _Model:
    wake: asyncio.Event = field(default_factory=asyncio.Event)
    task: "asyncio.Task[None] | None" = None
    stepping_since: float | None = None


class Supervisor:
    """Keeps the tasks. `make_engine(namespace, name, uid)` gives the engine of one model."""

    def __init__(self, make_engine: Callable[[str, str, str], FailureReporter]) -> None:
        self._make_engine = make_engine
        self._models: dict[str, _Model] = {}

    def notice(self, namespace: str, name: str, uid: str) -> None:
        """Something happened to this model or to a child of it."""
        if uid not in self._models:
            model = self._models[uid] = _Model()
            model.task = asyncio.create_task(self._supervise(namespace, name, uid, model), name=f"{namespace}/{name}")
        self._models[uid].wake.set()

    def wake(self, uid: str) -> None:
        """The same for a child: a model that nobody supervises is not started by it."""
        if model := self._models.get(uid):
            model.wake.set()

    def wake_named(self, namespace: str, name: str) -> None:
        """The same for a child that knows its model by name only."""
        for model in self._models.values():
            if model.task and model.task.get_name() == f"{namespace}/{name}":
                model.wake.set()

    def standing_still(self) -> list[str]:
        """Models whose present step hangs."""
        now = time.monotonic()
        return [
            model.task.get_name() if model.task else uid
            for uid, model in self._models.items()
            if model.stepping_since is not None and now - model.stepping_since > STANDSTILL_SECONDS
        ]

    async def stop(self) -> None:
        """End every task; what they made is found again at the next start."""
        tasks = [model.task for model in self._models.values() if model.task]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _supervise(self, namespace: str, name: str, uid: str, model: _Model) -> None:
        engine = self._make_engine(namespace, name, uid)
        backoff = FIRST_BACKOFF
        try:
            while True:
                model.wake.clear()
                model.stepping_since = time.monotonic()
                pause: timedelta | None
                try:
                    pause = await reconcile(engine)
                    backoff = FIRST_BACKOFF
                except Gone:
                    return
                except Conflict:
                    log.info("%s/%s changed meanwhile: read again", namespace, name)
                    pause = timedelta(0)
                except Exception as error:  # noqa: BLE001 - whatever it was, this model must not stop for ever
                    pause = timedelta(seconds=backoff)
                    await self._failed(engine, namespace, name, error, backoff)
                    backoff = min(backoff * 2, LONGEST_BACKOFF)
                model.stepping_since = None
                await _sleep(model.wake, pause)
        finally:
            if self._models.get(uid) is model:
                del self._models[uid]

    async def _failed(
        self, engine: FailureReporter, namespace: str, name: str, error: Exception, backoff: float
    ) -> None:
        if isinstance(error, ClusterError | NameConflict):
            log.warning("%s/%s: %s: %s (again in %g s)", namespace, name, error.reason, error, backoff)
        else:
            log.exception("%s/%s: reconciling failed (again in %g s)", namespace, name, backoff)
        reason = error.reason if isinstance(error, NameConflict | Refused) else "ReconcileError"
        await engine.report_failure(reason, str(error) or type(error).__name__)


async def _sleep(wake: asyncio.Event, pause: timedelta | None) -> None:
    """Until woken, at the latest after `pause`; never shorter than the shortest break."""
    await asyncio.sleep(SHORTEST_BREAK)
    try:
        await asyncio.wait_for(wake.wait(), None if pause is None else max(0.0, pause.total_seconds() - SHORTEST_BREAK))
    except TimeoutError:
        return
