"""A limited number of servers is replaced at a time when an upgrade of the operator changes the servers of every model."""

import math
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from speechmodel_operator.telemetry import Telemetry

PATIENCE_SECONDS = 600.0
"""Time for which a place is held without a further replica that was replaced, as long as the default progress deadline of a
Deployment. A roll-out that is blocked, or refused, must not hold up the others for ever.
"""
Key = tuple[str, str]
"""The uid of a SpeechModel, and the component: its server or its canary."""


@dataclass(frozen=True)
class _Place:
    """The right to replace the pods of one Deployment."""

    generation: int
    """Generation of the SpeechModel. After an edit, the roll-out is that of the user."""
    since: float
    """Monotonic time at which it was taken, or at which a further replica was replaced last."""
    replaced: int = 0
    """Largest number of replicas with the new template."""


class Upgrades:
    """Counts the Deployments that are replaced because of the operator alone, and keeps those in order that wait.

    Everything is found again after a restart. Until each model that was there has been looked at, no place is given, because
    a roll-out of before may go on.
    """

    def __init__(
        self,
        limit: float = math.inf,
        telemetry: Telemetry | None = None,
        *,
        wake: Callable[[str], None] = lambda _uid: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """`wake` is called with the uid of a model that may get a place."""
        self._limit, self._telemetry, self._wake, self._clock = limit, telemetry or Telemetry(), wake, clock
        self._places: dict[Key, _Place] = {}
        self._waiting: dict[Key, int] = {}
        """The generation of each SpeechModel that waits, the next one first."""
        self._unknown: set[str] = set()
        """The uids of models that nobody has looked at since the start."""
        self._read: dict[str, set[str]] = {}
        """The components that were read since the start, of each model that was there, by uid. A step that fails early reads none."""
        self._listed_by = -math.inf
        """Monotonic time until which models may still be listed."""

    def wait_for_lists(self) -> None:
        """Give no place before `all_listed` is called. After PATIENCE_SECONDS, a namespace that cannot be listed holds up none."""
        self._listed_by = self._clock() + PATIENCE_SECONDS

    def all_listed(self) -> None:
        """Take note that each model that was there at the start is expected."""
        self._listed_by = -math.inf
        self._wake_next()

    def expect(self, uids: Iterable[str]) -> None:
        """Give no place before each of these models was looked at."""
        for uid in uids:
            self._unknown.add(uid)
            self._read[uid] = set()

    def looked_at(self, uid: str) -> None:
        """Take note that a step for a model has ended, be it with an error."""
        if uid in self._unknown:
            self._unknown.remove(uid)
            if not self._unknown:
                self._wake_next()

    def forget(self, uid: str) -> None:
        """Free what a model has that is gone."""
        self.looked_at(uid)
        self._read.pop(uid, None)
        for key in [key for key in (*self._places, *self._waiting) if key[0] == uid]:
            self._leave(key)

    def follow(self, key: Key, generation: int, *, settled: bool, mixed: bool, replaced: int) -> None:
        """Take over how a Deployment is: whether it is settled or gone, whether some of its replicas have another template, and how
        many have its newest.

        A place is free again once every replica is ready, after an edit, and after a while without progress.
        """
        read = self._read.get(key[0])
        first = read is not None and key[1] not in read
        if read is not None:
            read.add(key[1])
        place = self._places.get(key)
        known = place.generation if place is not None else self._waiting.get(key)
        if settled or known not in (None, generation):
            self._leave(key)
        elif place is not None and replaced > place.replaced:
            self._places[key] = _Place(generation, self._clock(), replaced)
        elif mixed and first:  # it began before this operator did
            self._waiting.pop(key, None)
            self._places.setdefault(key, _Place(generation, self._clock(), replaced))
        self._expire()

    def take(self, key: Key, generation: int) -> bool:
        """Take a place for a roll-out, and return whether there is one. Otherwise, the model is woken when there may be one."""
        if key in self._places:
            return True
        self._expire()
        free = self._free() > 0
        if free:
            self._waiting.pop(key, None)
            self._places[key] = _Place(generation, self._clock())
        else:
            self._waiting.setdefault(key, generation)
        self._report()
        return free

    def waits_no_more(self, key: Key) -> None:
        """Take note that a Deployment needs no place."""
        if key in self._waiting:
            self._leave(key)

    def _leave(self, key: Key) -> None:
        if key in self._places or key in self._waiting:
            self._places.pop(key, None)
            self._waiting.pop(key, None)
            self._wake_next()

    def _expire(self) -> None:
        now, before = self._clock(), len(self._places)
        self._places = {key: place for key, place in self._places.items() if now - place.since < PATIENCE_SECONDS}
        if len(self._places) < before:
            self._wake_next()
        self._report()

    def _free(self) -> float:
        """Return the number of places that can be given now."""
        if self._unknown or self._clock() < self._listed_by:
            return 0
        return max(0, self._limit - len(self._places))

    def _wake_next(self) -> None:
        """Wake as many models as there are free places. They go to the end of those that wait, in case they take none."""
        for key in list(self._waiting)[: int(min(self._free(), len(self._waiting)))]:
            self._waiting[key] = self._waiting.pop(key)
            self._wake(key[0])
        self._report()

    def _report(self) -> None:
        self._telemetry.upgrading(going_on=len(self._places), waiting=len(self._waiting))
