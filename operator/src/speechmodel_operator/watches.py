"""The watches of SpeechModels and their children: what changes wakes the supervisor."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from speechmodel_plan.task import Owner

from speechmodel_operator.cluster.api import MODELS, NAMESPACES, Api, Resource
from speechmodel_operator.cluster.cache import CHILDREN, Cache, Store
from speechmodel_operator.cluster.informer import Informer
from speechmodel_operator.cluster.views import Manifest, Metadata, Model, ObjectView
from speechmodel_operator.resources import labels
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry


class Watches:
    """Watches the namespaces that are given, or all of them if there are none."""

    def __init__(self, namespaces: Iterable[str], seconds: float, telemetry: Telemetry) -> None:
        self._places, self._seconds, self._telemetry = tuple(dict.fromkeys(namespaces)) or ("",), seconds, telemetry
        self._signatures: dict[str, int] = {}
        """Hash of all that a person can change in a model, by uid: a status that we wrote does not wake us."""
        self._listed: dict[str, dict[str, Owner]] = {place: {} for place in self._places}
        """The models that were there at the start, by namespace and uid, until everything in the namespace is listed.

        No model is looked at before its children are known. A namespace that cannot be listed does not stop the others.
        """
        self._supervisor: Supervisor | None = None
        children = {resource.plural: Store(resource.view, self._child_changed) for resource in CHILDREN}
        self.cache: Cache = children | {MODELS.plural: Store(Model, self._model_changed)}

    async def run(
        self, api: Api, supervisor: Supervisor, selector: str = "", namespaces_changed: Callable[[], None] | None = None
    ) -> None:
        """Watch until cancelled. `namespaces_changed` is called after each change of the namespaces that `selector` matches."""
        api.written, api.deleting, self._supervisor = self._written, self._deleting, supervisor
        supervisor.wait_for_lists()
        async with asyncio.TaskGroup() as tasks:
            for place in self._places:
                found = [self._informer(api, resource, place) for resource in (MODELS, *CHILDREN)]
                for informer in found:
                    tasks.create_task(informer.run())
                tasks.create_task(self._take_up(place, found, supervisor))
            if namespaces_changed is not None:
                names = Store(NAMESPACES.view, lambda _namespace, _gone: namespaces_changed())
                namespaces = Informer(api, NAMESPACES, names, "", selector, self._seconds, self._telemetry)
                tasks.create_task(namespaces.run())

    def _informer(self, api: Api, resource: Resource[Any], place: str) -> Informer[Any]:
        labelled = "" if resource is MODELS else labels.MODEL
        store = self.cache[resource.plural]
        return Informer(api, resource, store, place, labelled, self._seconds, self._telemetry)

    async def _take_up(self, place: str, found: Iterable[Informer[Any]], supervisor: Supervisor) -> None:
        """Hand the models of a namespace to the supervisor once everything in it is listed."""
        for informer in found:
            await informer.listed.wait()
        await supervisor.take_up(self._listed.pop(place).values())
        if not self._listed:
            supervisor.all_listed()

    def _model_changed(self, model: ObjectView, gone: bool) -> None:
        metadata = model.metadata
        owner = Owner(metadata.namespace, metadata.name, metadata.uid)
        waiting = self._listed.get("" if "" in self._places else owner.namespace)
        if gone:
            self._signatures.pop(owner.uid, None)
            if waiting is not None:
                waiting.pop(owner.uid, None)
            if self._supervisor is not None:
                self._supervisor.gone(owner.uid)
            return
        annotations = tuple(sorted(metadata.annotations.items()))
        inherited = labels.inherited_as(labels.inherited(metadata.labels))
        edited = metadata.generation, annotations, inherited
        signature = hash((*edited, metadata.deletion_timestamp, metadata.finalizers))
        if self._signatures.get(owner.uid) == signature:
            return
        self._signatures[owner.uid] = signature
        if waiting is not None:
            waiting[owner.uid] = owner
        elif self._supervisor is not None:
            self._supervisor.notice(owner)

    def _child_changed(self, child: ObjectView, gone: bool) -> None:
        """Wake by label: pods belong to a Job or a ReplicaSet, and the purge Job has no owner."""
        del gone
        if self._supervisor is not None:
            self._supervisor.wake_named(child.metadata.namespace, child.metadata.labels.get(labels.MODEL, ""))

    def _written(self, resource: Resource[Any], item: Manifest) -> None:
        """Take over what a write of ours returned, so that the cache is never behind it."""
        if (store := self.cache.get(resource.plural)) is not None:
            store.put_written(item)

    def _deleting(self, resource: Resource[Any], metadata: Metadata) -> None:
        """Take note of a deletion of ours, so that nothing is decided by what is no longer there."""
        if (store := self.cache.get(resource.plural)) is not None:
            store.asked_to_delete(metadata.namespace, metadata.name)
