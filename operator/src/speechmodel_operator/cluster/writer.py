"""Writes of single objects: what exists is not adopted, what was refused is not repeated at once, and no two programs
replace each other's objects without end.
"""

import time
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

from speechmodel_api.reasons import Reason
from speechmodel_plan.observed import RETRY_ANNOTATION
from speechmodel_plan.task import Owner

from speechmodel_operator.cluster.api import CLAIMS, Api, Resource
from speechmodel_operator.cluster.errors import AlreadyExists, Conflict, ManagedTwice, NameConflict, Refused
from speechmodel_operator.cluster.refusals import Refusals
from speechmodel_operator.cluster.views import Deployment, Manifest, Metadata, ObjectView, Service, ViewT
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.serving import applied_hash

T = TypeVar("T")

REPEATS, REPEATS_SECONDS = 3, 3600.0
"""Number of times in an hour that an object is applied again after something else has applied it. Two operators with
different images would otherwise replace the servers of each other without end.
"""


class Writer:
    """Writes the objects of one SpeechModel, and remembers from step to step what became of them."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._api: Api | None = None
        self._refusals = Refusals()
        self._asked: tuple[object, ...] = ()
        """Generation, retry annotation, inherited labels and served versions of this step. A refused write is repeated at
        once when they change."""
        self._hashes: dict[str, str] = {}
        """Hash of each object as it was applied last, by kind and name."""
        self._repeated: dict[str, list[float]] = {}
        """Monotonic times at which it was applied again although its hash was the same. A requested retry forgets them: the other
        program may have been stopped."""
        self._retry: str | None = None

    def begin(self, api: Api, model: Metadata, versions: Iterable[str]) -> None:
        """Begin a step that writes with `api`. `model` is the metadata of the SpeechModel, and `versions` are those to be served.

        A refused write is repeated at once after an edit of the spec, a change of inherited labels or versions, or a
        requested retry. What was changed back too often is applied again after a requested retry.
        """
        inherited, retry = tuple(labels.inherited(model.labels).items()), model.annotations.get(RETRY_ANNOTATION)
        self._asked = model.generation, retry, inherited, tuple(versions)
        if retry != self._retry:
            self._repeated, self._retry = {}, retry
        self._api = api

    async def create(
        self, resource: Resource[ViewT], wanted: Manifest, ours: Callable[[ObjectView], bool]
    ) -> ViewT | None:
        """Create an object and return it. Return None if it is there already.

        Raises NameConflict when it belongs to something else, also when a quota is full: the API server compares
        the quota before the name.
        """
        api, namespace, name = self._current(), self._owner.namespace, wanted["metadata"]["name"]
        try:
            return await self.unless_refused(resource, name, lambda: api.create(resource, namespace, wanted))
        except (AlreadyExists, Refused) as error:
            if isinstance(error, Refused) and error.reason is not Reason.QUOTA_EXCEEDED:
                raise
            existing = await api.get(resource, namespace, name)
            if existing is not None and not ours(existing):
                label = f"{labels.MODEL}={self._owner.name}" if resource is CLAIMS else ""
                raise NameConflict(resource.kind, name, label) from None
            if existing is None and isinstance(error, Refused):
                raise
            return None

    async def ensure(self, resource: Resource[ViewT], wanted: Manifest, existing: ViewT | None) -> ViewT | None:
        """Apply an object that differs and return it. One that is not ours keeps its fields: the first apply does not force.

        Raises NameConflict, and ManagedTwice when something else has changed it too often.
        """
        name = wanted["metadata"]["name"]
        return await self.unless_refused(resource, name, lambda: self._apply(resource, wanted, existing))

    async def delete(self, resource: Resource[ViewT], existing: ViewT | None) -> None:
        """Delete an object unless it is gone or being deleted."""
        if existing is not None and not existing.deleting:
            await self._current().delete(resource, existing)

    async def unless_refused(self, resource: Resource[Any], name: str, write: Callable[[], Awaitable[T]]) -> T:
        """Return the result of a write, unless it was refused a short time ago and nothing that `begin` names has changed since."""
        return await self._refusals.unless_refused(f"{resource.kind} {name}", self._asked, write)

    async def _apply(self, resource: Resource[ViewT], wanted: Manifest, existing: ViewT | None) -> ViewT | None:
        api, namespace, name = self._current(), self._owner.namespace, wanted["metadata"]["name"]
        if existing is None:
            # one of ours that has lost its labels, or that a second operator made a moment ago, is compared too
            existing = await api.get(resource, namespace, name)
            if existing is None:
                try:
                    created = await api.apply(resource, namespace, wanted, force=False)
                except Conflict:
                    raise NameConflict(resource.kind, name) from None
                self._hashes[f"{resource.kind} {name}"] = applied_hash(wanted)
                return created
            if not existing.metadata.owned_by(self._owner.uid):
                raise NameConflict(resource.kind, name)
        if existing.deleting or not differs(existing, wanted):
            return None
        repeated = self._repeats(resource.kind, existing, wanted)
        read = {"uid": existing.metadata.uid}
        if isinstance(existing, Deployment):
            # its replicas may be those that were read, and a watch may be late
            read["resourceVersion"] = existing.metadata.resource_version
        same = {**wanted, "metadata": {**wanted["metadata"], **read}}
        applied = await api.apply(resource, namespace, same, force=True)
        self._hashes[f"{resource.kind} {name}"] = applied_hash(wanted)
        self._repeated[f"{resource.kind} {name}"] = repeated
        return applied

    def _repeats(self, kind: str, existing: ObjectView, wanted: Manifest) -> list[float]:
        """Return the times of the last hour at which an object was applied again, this one included if something else has
        applied it since.

        Raises ManagedTwice when there are too many.
        """
        name, digest, now = f"{kind} {existing.metadata.name}", applied_hash(wanted), time.monotonic()
        recent = [at for at in self._repeated.get(name, []) if now - at < REPEATS_SECONDS]
        if self._hashes.get(name) != digest or existing.metadata.annotations.get(labels.APPLIED) == digest:
            return recent
        if len(recent) >= REPEATS:
            raise ManagedTwice(kind, existing.metadata.name, len(recent))
        return [*recent, now]

    def _current(self) -> Api:
        if self._api is None:
            raise RuntimeError("objects are written in a step only")
        return self._api


def differs(existing: ObjectView, wanted: Manifest) -> bool:
    """Return True when another object is wanted than was applied last, or when something was edited that serving, or finding the
    object again, depends on.
    """
    if existing.metadata.annotations.get(labels.APPLIED) != applied_hash(wanted):
        return True
    if any(existing.metadata.labels.get(name) != wanted["metadata"]["labels"][name] for name in labels.FOUND_BY):
        return True
    if isinstance(existing, Service):
        return bool(existing.spec.selector != wanted["spec"]["selector"])
    if isinstance(existing, Deployment):
        return bool(existing.spec.replicas != wanted["spec"]["replicas"])
    return False
