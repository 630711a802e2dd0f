"""The objects that the watches reported, kept small, and steps that read them instead of the API server."""

import logging
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Generic

from msgspec import ValidationError
from msgspec.structs import replace
from speechmodel_plan.task import Owner

from speechmodel_operator.cluster.api import CLAIMS, DEPLOYMENTS, JOBS, MODELS, PODS, SERVICES, Api, Resource
from speechmodel_operator.cluster.views import Job, Manifest, Model, ObjectView, Pod, ViewT
from speechmodel_operator.resources import labels

log = logging.getLogger(__name__)

CHILDREN: tuple[Resource[Any], ...] = (JOBS, PODS, CLAIMS, DEPLOYMENTS, SERVICES)
"""Kinds that belong to a SpeechModel and are watched by its label."""
Key = tuple[str, str]
"""Namespace and name."""
BEGIN = b'{"metadata":{'
"""Start of the JSON of every view. The resourceVersion is inserted after it."""
Runs = tuple[tuple[Job, ...], tuple[Pod, ...]]
"""The Jobs of a SpeechModel and its pods."""


class WriteNeeded(Exception):
    """Something has to be written, so the step must be taken on what the API server has now."""


@dataclass(frozen=True, slots=True)
class _Entry:
    version: int
    """The resourceVersion, which grows with each change of the object."""
    model: str
    """Name of the SpeechModel in the label of the object."""
    document: bytes
    """The fields of the view in JSON, without BEGIN and the version. They take less memory than the view."""


class Store(Generic[ViewT]):
    """The objects of one kind. `changed` is called after each change that a step could see, with the object and whether it is gone."""

    def __init__(self, view: type[ViewT], changed: Callable[[ObjectView, bool], None]) -> None:
        self._view, self._changed = view, changed
        self._entries: dict[Key, _Entry] = {}
        self._by_model: dict[Key, dict[str, None]] = {}
        """Names of the objects of each SpeechModel, by its namespace and name, in the order of their creation here."""
        self._complete: dict[str, int] = {}
        """The version until which every deletion in a namespace, or in all (empty), is known: of the last one or of a list."""
        self._reached: dict[str, int] = {}
        """The version until which every change is known, by namespace, or of all (empty)."""
        self._asked_to_delete: set[Key] = set()
        """Objects that are here until the watch reports their deletion, for which we asked."""
        self._unreadable: dict[Key, int] = {}
        """The version of each object that cannot be read."""

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def readable(self) -> bool:
        """True while every object can be read."""
        return not self._unreadable

    def get(self, namespace: str, name: str) -> ViewT | None:
        """Return an object, or None when it does not exist."""
        entry = self._entries.get((namespace, name))
        return None if entry is None else self._parse(entry)

    def find(self, namespace: str, model: str) -> tuple[ViewT, ...]:
        """Return the objects of a SpeechModel."""
        entries = (self._entries[namespace, name] for name in self._by_model.get((namespace, model), ()))
        return tuple(self._parse(entry) for entry in entries)

    def put(self, item: ViewT | Manifest) -> Key:
        """Take an object over unless a newer version is known. Return its key.

        One that cannot be read, such as a status of a newer release, counts as absent. A live read then reports the error.
        """
        metadata = item.metadata if isinstance(item, ObjectView) else ObjectView.read(item).metadata
        key, version = (metadata.namespace, metadata.name), int(metadata.resource_version)
        old = self._entries.get(key)
        if version <= (old.version if old is not None else self._unreadable.get(key, 0)):
            return key
        try:
            view = self._view.read(item)
        except ValidationError as error:
            log.warning("%s/%s cannot be read: %s", *key, error)
            self._unreadable[key] = version
            if old is not None:
                del self._entries[key]
                self._forget(key, old)
            self._changed(ObjectView(metadata=metadata), False)
            return key
        self._unreadable.pop(key, None)
        # the version is inserted when the document is read: to_json leaves out an empty one
        model, without = view.metadata.labels.get(labels.MODEL, ""), replace(view.metadata, resource_version="")
        document = replace(view, metadata=without).to_json().removeprefix(BEGIN)
        if old is not None and old.model != model:
            self._forget(key, old)
        self._entries[key] = _Entry(version, model, document)
        self._by_model.setdefault((key[0], model), {})[key[1]] = None
        if old is None or old.document != document:
            self._changed(view, False)
        return key

    def put_written(self, item: Manifest) -> None:
        """Take over the answer to a write of ours, which may come after the event that the object was deleted."""
        key, metadata = _key(item), item["metadata"]
        if metadata.get("deletionTimestamp") and not metadata.get("finalizers"):  # the write removed the last one
            self.remove(item)
            return
        if key in self._entries or int(metadata["resourceVersion"]) > self.last_deletion(key[0]):
            self.put(item)

    def asked_to_delete(self, namespace: str, name: str) -> None:
        """Take note that we asked for the deletion of an object, until the watch reports it. A change may be one from before."""
        if (namespace, name) in self._entries:
            self._asked_to_delete.add((namespace, name))

    def may_be_gone(self, namespace: str, name: str) -> bool:
        """Return True while an object is here whose deletion we asked for."""
        return (namespace, name) in self._asked_to_delete

    def remove(self, item: Manifest) -> None:
        """Forget an object that was deleted, unless a newer version is known."""
        key, version = _key(item), int(item["metadata"]["resourceVersion"])
        self._complete[key[0]] = max(self._complete.get(key[0], 0), version)
        old = self._entries.get(key)
        if old is not None and version >= old.version:
            self._remove(key, old)
        if self._unreadable.get(key, version + 1) <= version:
            del self._unreadable[key]

    def keep(self, namespace: str, names: Collection[Key], version: int) -> None:
        """Forget what a complete list of a version lacks. Without a namespace, the list was one of all."""
        self._complete[namespace] = max(self._complete.get(namespace, 0), version)
        for key, entry in list(self._entries.items()):
            if namespace in ("", key[0]) and key not in names and entry.version <= version:
                self._remove(key, entry)
        for key, unreadable in list(self._unreadable.items()):
            if namespace in ("", key[0]) and key not in names and unreadable <= version:
                del self._unreadable[key]

    def reach(self, namespace: str, version: int) -> None:
        """Take note that a list or the watch of a namespace, or of all (empty), has brought every change until a version."""
        self._reached[namespace] = version

    def reached(self, namespace: str) -> int:
        """Return the version until which every change in a namespace is known."""
        return max(self._reached.get(namespace, 0), self._reached.get("", 0))

    def last_deletion(self, namespace: str) -> int:
        """Return the version of the last deletion in a namespace, or a later one."""
        return max(self._complete.get(namespace, 0), self._complete.get("", 0))

    def _remove(self, key: Key, entry: _Entry) -> None:
        del self._entries[key]
        self._forget(key, entry)
        self._changed(self._parse(entry), True)

    def _parse(self, entry: _Entry) -> ViewT:
        version = b'"resourceVersion":"%d",' % entry.version
        return self._view.from_json(BEGIN + version + entry.document)

    def _forget(self, key: Key, entry: _Entry) -> None:
        self._asked_to_delete.discard(key)
        place = (key[0], entry.model)
        del self._by_model[place][key[1]]
        if not self._by_model[place]:
            del self._by_model[place]


Cache = Mapping[str, Store[Any]]
"""The stores by the plural of their kind."""


class Rehearsal(Api):
    """The API server as the watches know it. Reads of watched kinds come from the cache, and every write raises WriteNeeded.

    A step that ends here without an error would change nothing on the cluster either but words of the status, which the engine writes,
    unless a watch is late. Calls count towards the limit of `api`.
    """

    def __init__(self, api: Api, cache: Cache) -> None:
        super().__init__(api._connection, api._telemetry)
        self._gate, self._cache = api._gate, cache
        self._unanswered: dict[str, str] = {}
        """Name of the Job whose creation was asked for last, by the uid of the SpeechModel, until its outcome is known."""

    async def get(self, resource: Resource[ViewT], namespace: str, name: str) -> ViewT | None:
        """Return the object, or None when it does not exist."""
        store = self._cache.get(resource.plural)
        if store is None:
            return await super().get(resource, namespace, name)
        found: ViewT | None = store.get(namespace, name)
        if isinstance(found, Model) and found.status.observed_generation != found.metadata.generation:
            raise WriteNeeded  # the status is about an earlier spec
        if found is None and resource.plural == CLAIMS.plural:  # a claim that a person made has no label of ours
            return await super().get(resource, namespace, name)
        return found

    def knows(self, model: Model) -> bool:
        """Return True when the cache has the current resourceVersion of a SpeechModel."""
        found = self._cache[MODELS.plural].get(model.metadata.namespace, model.metadata.name)
        return found is not None and found.metadata.resource_version == model.metadata.resource_version

    async def find(self, resource: Resource[ViewT], namespace: str, model: str) -> tuple[ViewT, ...]:
        """Return the objects with the label of a SpeechModel."""
        found: tuple[ViewT, ...] = self._cache[resource.plural].find(namespace, model)
        return found

    def asked_for(self, uid: str, job: str) -> None:
        """Take note that we ask for the creation of a Job of a SpeechModel. Without an answer, it may be there unseen."""
        self._unanswered[uid] = job

    def answered(self, uid: str, job: str) -> None:
        """Take note that the cache has a Job that we asked for, or that the API server did not create it."""
        if self._unanswered.get(uid) == job:
            del self._unanswered[uid]

    def gone(self, uid: str) -> None:
        """Forget a SpeechModel that the API server no longer has."""
        self._unanswered.pop(uid, None)

    def ended_runs(self, owner: Owner) -> Runs | None:
        """Return the Jobs and the pods of a SpeechModel if reading them live could show nothing more that executes, else None.

        That is so when every Job has ended, which is final: it gets no other pods. The pods must be known until the last change of
        these Jobs and the last deletion of a Job, so that none of theirs is missing. No Job of ours that has its label is missing,
        since a write of ours is in the cache at once, unless its creation was not answered. Those of another operator are in the
        status of the SpeechModel, which has to be compared.
        """
        known_jobs, known_pods = self._cache[JOBS.plural], self._cache[PODS.plural]
        jobs: tuple[Job, ...] = known_jobs.find(owner.namespace, owner.name)
        for job in (each for each in jobs if each.metadata.owned_by(owner.uid)):  # the watch has brought it
            self.answered(owner.uid, job.metadata.name)
        if owner.uid in self._unanswered:
            return None
        if not (known_jobs.readable and known_pods.readable) or any(job.deleting or not job.finished for job in jobs):
            return None
        if any(known_jobs.may_be_gone(owner.namespace, job.metadata.name) for job in jobs):
            return None
        changes = [int(job.metadata.resource_version) for job in jobs]
        if known_pods.reached(owner.namespace) < max(known_jobs.last_deletion(owner.namespace), *changes, 0):
            return None
        return jobs, known_pods.find(owner.namespace, owner.name)

    async def _call(self, method: str, path: str, body: Manifest | None = None, **options: Any) -> tuple[int, bytes]:
        if method != "GET":
            raise WriteNeeded
        return await super()._call(method, path, body, **options)


def _key(item: Manifest) -> Key:
    metadata = item["metadata"]
    return metadata.get("namespace", ""), metadata["name"]
