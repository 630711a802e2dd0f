"""A step after an event reads Jobs and pods again before it writes, unless the watches can hide nothing that executes."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any, cast

import pytest
from speechmodel_operator.cluster import refusals
from speechmodel_operator.cluster.api import JOBS, MODELS, PODS, Api, Resource
from speechmodel_operator.cluster.cache import Cache, Rehearsal
from speechmodel_operator.cluster.connection import Connection
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import Conflict, Refused
from speechmodel_operator.cluster.views import Job, Manifest, Model
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import STAGE_CONTAINER
from speechmodel_operator.resources.workers import JOB_NAME
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.watches import Watches
from speechmodel_plan import names
from speechmodel_plan.reconcile import Gone, StepFailed
from support.views import as_sent
from support.world import World

from .test_engine import SOME_TIME, New, claim, ended_job, metadata
from .test_resources import IMAGES, OWNER

ENDED, LATER = 40, 50
"""Versions: of the last change of the Job that has ended, and one after it."""


class Listing(New):
    """An API server with an edited model and its claim, which notes lists of Jobs and pods too."""

    def __init__(self) -> None:
        super().__init__(claim(OWNER.name))
        self.lost: set[str] = set()
        """Kinds whose creation is not answered."""
        self.refused: set[str] = set()
        """Kinds whose creation is refused."""
        self.status: dict[str, Any] = {}
        """Status of the model."""
        self.meanwhile: Callable[[], object] = lambda: None
        """Called while the model is read."""
        self.deleted = False
        """True once the model is gone."""
        self.version = "3"
        """The resourceVersion of the model."""

    async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        found = await super().get(resource, namespace, name)
        if resource is not MODELS:
            return found
        self.meanwhile()
        if self.deleted:
            return None
        document = as_sent(found) | {"status": self.status}
        return Model.read(document | {"metadata": document["metadata"] | {"resourceVersion": self.version}})

    async def find(self, resource: Resource[Any], *about: object) -> tuple[Any, ...]:
        self.calls.append(f"LIST {resource.kind}")
        return await super().find(resource, *about)

    async def events_about(self, _thing: object) -> tuple[Any, ...]:
        return ()

    async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
        if resource.kind in self.refused:
            raise Refused(403, "a policy forbids it")
        made = await super().create(resource, namespace, manifest)
        if resource.kind in self.lost:
            raise TimeoutError
        return made


class Known:
    """The objects that the watches have reported, and an engine that takes steps after events."""

    def __init__(self, *jobs: Manifest, pods_until: int = LATER) -> None:
        self.server, self.cache = Listing(), Watches((), 60, Telemetry()).cache
        self.rehearsal = Rehearsal(Api(cast(Connection, None)), self.cache)
        self.engine = ClusterEngine(
            cast(Api, self.server), IMAGES, OWNER, progress_interval=timedelta(seconds=60), rehearsal=self.rehearsal
        )
        about = metadata(OWNER.name, 3, uid=OWNER.uid, generation=1)
        self.cache["speechmodels"].put({"metadata": about, "spec": World().spec})
        self.cache["persistentvolumeclaims"].put(as_sent(self.server.existing[0]))
        for job in jobs:
            self.cache[JOBS.plural].put(job)
        self.cache[PODS.plural].reach("", pods_until)

    def keep_claim(self) -> None:
        """Let the claim be as it is wanted, so that nothing is written for it."""
        unowned = as_sent(claim(OWNER.name))
        unowned["metadata"] |= {"ownerReferences": [], "resourceVersion": "6"}
        self.cache["persistentvolumeclaims"].put(unowned)

    async def lists(self) -> bool:
        """Take a step after an event. Return True when it has listed Jobs and pods before it created a Job."""
        self.server.calls.clear()
        await self.engine.react()
        assert "POST Job" in self.server.calls
        listed = [call for call in self.server.calls if call.startswith("LIST")]
        assert listed in ([], ["LIST Job", "LIST Pod"])
        return bool(listed)


def job(version: int = ENDED, **about: object) -> dict[str, Any]:
    found = as_sent(ended_job())
    return found | {"metadata": {**found["metadata"], "resourceVersion": str(version), **about}}


async def test_jobs_that_have_all_ended_are_not_listed_again() -> None:
    assert not await Known(job()).lists()
    assert not await Known().lists()


RUNNING = job() | {"status": {}}
OTHER_NAME = {"name": "espejo-prepare-11111111-1"}


def _deletion(cache: Cache) -> None:
    cache[JOBS.plural].remove({"metadata": metadata("gone", LATER + 1)})


def _unreadable(plural: str) -> Callable[[Cache], object]:
    marks = {labels.MODEL: "another"}
    return lambda cache: cache[plural].put({"metadata": metadata("other", 9, labels=marks), "status": 7})


@pytest.mark.parametrize(
    ("jobs", "pods_until", "happens"),
    [
        ((job(), RUNNING | {"metadata": {**RUNNING["metadata"], **OTHER_NAME}}), LATER, None),
        ((job(deletionTimestamp="2026-01-01T00:00:00Z"),), LATER, None),
        ((job(),), ENDED - 1, None),
        ((), LATER, _deletion),
        ((job(),), LATER, lambda cache: cache[JOBS.plural].asked_to_delete(OWNER.namespace, job()["metadata"]["name"])),
        ((), LATER, _unreadable(JOBS.plural)),
        ((), LATER, _unreadable(PODS.plural)),
    ],
    ids=[
        "one still runs",
        "one is being deleted",
        "the pods are older than its end",
        "the pods are older than the deletion of a Job",
        "its deletion was asked for",
        "a Job cannot be read",
        "a pod cannot be read",
    ],
)
async def test_they_are_listed_where_the_watches_may_hide_something_that_executes(
    jobs: tuple[Manifest, ...], pods_until: int, happens: Callable[[Cache], None] | None
) -> None:
    known = Known(*jobs, pods_until=pods_until)
    if happens is not None:
        happens(known.cache)
    assert await known.lists()


async def test_they_are_listed_after_a_creation_without_an_answer_until_the_next_one_has_one() -> None:
    known = Known()
    known.server.lost = {"Job"}
    with pytest.raises(TimeoutError):
        await known.lists()
    known.server.lost = set()
    assert await known.lists()
    assert not await known.lists()


async def test_a_job_that_was_only_rehearsed_does_not_count_as_a_creation_without_an_answer() -> None:
    known = Known(job())
    known.server.status = {"observedGeneration": 1}
    about = metadata(OWNER.name, 4, uid=OWNER.uid, generation=1)
    known.cache["speechmodels"].put({"metadata": about, "spec": World().spec, "status": known.server.status})
    known.keep_claim()
    assert not await known.lists()


async def test_they_are_listed_where_another_operator_has_started_a_job_that_the_watch_has_not_reported() -> None:
    known = Known(job())
    record = {"name": "prepare", "key": "11111111", "state": "Running", "attempt": 1, "failures": 0}
    known.server.status = {"stages": [record | {"job": OTHER_NAME["name"]}]}
    marks = job()["metadata"]["labels"] | {labels.KEY: "11111111"}
    started = Job.read(job(labels=marks, name=OTHER_NAME["name"]) | {"status": {}})
    known.server.existing += (started,)
    await known.engine.react()
    assert "LIST Job" in known.server.calls
    assert "POST Job" not in known.server.calls


async def test_runs_that_ended_while_the_model_was_read_are_known() -> None:
    known = Known(RUNNING)
    record = {"name": "prepare", "key": "00000000", "state": "Running", "attempt": 1, "failures": 0}
    known.server.status = {"stages": [record | {"job": job()["metadata"]["name"]}]}
    known.server.meanwhile = lambda: known.cache[JOBS.plural].put(job(ENDED + 1))
    assert not await known.lists()


async def test_a_creation_that_was_refused_is_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "FIRST_PAUSE_SECONDS", 0.0)
    known = Known()
    known.server.refused = {"Job"}
    with pytest.raises(StepFailed):
        await known.lists()
    known.server.refused = set()
    assert not await known.lists()


def test_an_answer_counts_only_for_the_model_and_the_job_that_were_asked_for() -> None:
    rehearsal, made_again = Known().rehearsal, replace(OWNER, uid="uid-of-the-next")
    rehearsal.asked_for(OWNER.uid, "espejo-prepare-11111111-1")
    rehearsal.asked_for(made_again.uid, "espejo-prepare-11111111-1")
    rehearsal.answered(OWNER.uid, "espejo-prepare-11111111-1")
    assert rehearsal.ended_runs(made_again) is None
    rehearsal.answered(made_again.uid, "espejo-prepare-00000000-1")
    assert rehearsal.ended_runs(made_again) is None
    rehearsal.answered(made_again.uid, "espejo-prepare-11111111-1")
    assert rehearsal.ended_runs(made_again) == ((), ())


def test_a_creation_without_an_answer_is_answered_by_the_watch() -> None:
    known = Known()
    known.rehearsal.asked_for(OWNER.uid, job()["metadata"]["name"])
    assert known.rehearsal.ended_runs(replace(OWNER, uid="uid-of-the-next")) is not None
    known.cache[JOBS.plural].put(job())
    assert known.rehearsal.ended_runs(OWNER) is not None
    known.cache[JOBS.plural].remove(job(ENDED + 1))
    assert known.rehearsal.ended_runs(OWNER) is not None


async def test_what_a_deleted_model_asked_for_is_forgotten() -> None:
    known = Known()
    known.server.lost = {"Job"}
    with pytest.raises(TimeoutError):
        await known.lists()
    known.server.deleted = True
    with pytest.raises(Gone):
        await known.engine.react()
    assert known.rehearsal.ended_runs(OWNER) is not None


@pytest.mark.parametrize(("version", "lists"), [("3", False), ("4", True)], ids=["known", "an event was lost"])
async def test_a_model_at_rest_is_compared_with_what_the_watches_know(version: str, lists: bool) -> None:
    known = Known()
    known.server.version = version
    known.server.calls.clear()
    await known.engine.resync()
    assert ("LIST Job" in known.server.calls) is lists


class Started(Known):
    """A model whose first Job was started, and whose pod then finds no node."""

    async def begin(self) -> None:
        """Take the step that starts the Job, and let the watches report all that follows."""
        server, patched = self.server, list[Manifest]()

        async def create(resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            del namespace
            server.calls.append(f"POST {resource.kind}")
            place = {"resourceVersion": str(ENDED), "uid": "u", "creationTimestamp": "2026-01-01T00:00:00Z"}
            item = {**manifest, "metadata": {**manifest["metadata"], **place}}
            if resource is JOBS:
                self.cache[JOBS.plural].put(item)
            return resource.view.read(item)

        async def merge_patch(resource: Resource[Any], *patch: Any) -> None:
            server.calls.append(f"PATCH {resource.kind}")
            if self.conflict is not None:
                raise self.conflict
            patched.append(patch[2])

        self.conflict: Conflict | None = None
        self.patched = patched
        self.keep_claim()
        server.create, server.merge_patch = create, merge_patch  # type: ignore[method-assign]
        await self.engine.react()
        server.version, server.status = str(LATER), patched.pop()["status"]
        about = metadata(OWNER.name, LATER, uid=OWNER.uid)
        self.cache["speechmodels"].put({"metadata": about, "spec": World().spec, "status": server.status})
        (created,) = self.cache[JOBS.plural].find(OWNER.namespace, OWNER.name)
        self.job = created
        waiting = {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "no node fits"}
        self.pod(LATER, {"phase": "Pending", "conditions": [waiting]})
        server.calls.clear()

    def pod(self, version: int, status: Manifest) -> None:
        """Let the watch report the pod of the Job."""
        marks = {labels.MODEL: OWNER.name, labels.STAGE: "prepare", JOB_NAME: self.job.metadata.name}
        about = metadata("pod", version, labels=marks, creationTimestamp="2026-01-01T00:00:00Z")
        self.cache[PODS.plural].put({"metadata": about, "status": status})


async def test_words_about_a_job_are_written_without_reading_anything_again() -> None:
    known = Started()
    await known.begin()
    await known.engine.react()
    assert known.server.calls == ["PATCH SpeechModel", "POST Event"]
    (patch,) = known.patched
    assert patch["metadata"] == {"resourceVersion": str(LATER)}, "that of the watch, for the API server to compare"
    assert "no node fits" in str(patch["status"]["conditions"])


async def test_words_about_a_model_that_the_watch_has_not_as_it_is_are_refused_and_it_is_read_again() -> None:
    known = Started()
    await known.begin()
    known.conflict = Conflict(409, "the object has been modified")
    with pytest.raises(Conflict):
        await known.engine.react()
    assert known.server.calls == ["PATCH SpeechModel"]


async def test_the_end_of_a_job_is_never_recorded_without_reading_jobs_and_pods_again() -> None:
    known = Started()
    await known.begin()
    ended = {"conditions": [{"type": "Failed", "status": "True"}]}
    about = as_sent(known.job.metadata) | {"resourceVersion": str(LATER + 1)}
    known.cache[JOBS.plural].put({"metadata": about, "status": ended})
    # it is tried again later, so nothing is started now
    failed = {"name": STAGE_CONTAINER, "state": {"terminated": {"exitCode": 1}}}
    known.pod(LATER + 2, {"phase": "Failed", "containerStatuses": [failed]})
    await known.engine.react()
    assert known.server.calls[:3] == ["GET SpeechModel", "LIST Job", "LIST Pod"]


async def test_the_end_of_a_deletion_is_reported_once() -> None:
    """The finalizer is removed by a step that has read everything again, so the one before may not report anything."""

    class Deleting(Listing):
        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            return found if resource is not MODELS else Model.read(deleted)

    publish = World().spec["publish"] | {"deletionPolicy": "Delete"}
    marks = {"finalizers": [labels.FINALIZER], "deletionTimestamp": SOME_TIME, "generation": 1}
    about = metadata(OWNER.name, 3, uid=OWNER.uid, **marks)
    status = {"observedGeneration": 1, "phase": "Deleting"}
    deleted = {"metadata": about, "spec": World().spec | {"publish": publish}, "status": status}
    failed = {"conditions": [{"type": "Failed", "status": "True", "message": "the bucket is gone"}]}
    name = names.purge_name(OWNER.name, OWNER.uid)
    purge = {"metadata": job()["metadata"] | {"name": name, "resourceVersion": str(ENDED)}, "status": failed}
    known = Known()
    known.engine = ClusterEngine(
        cast(Api, server := Deleting()),
        IMAGES,
        OWNER,
        progress_interval=timedelta(minutes=1),
        rehearsal=known.rehearsal,
    )
    server.existing = (Job.read(purge),)
    known.cache["persistentvolumeclaims"].keep("", (), LATER)
    known.cache["speechmodels"].put(deleted | {"metadata": about | {"resourceVersion": "4"}})
    known.cache[JOBS.plural].put(purge)
    await known.engine.react()
    assert server.calls.count("POST Event") == 1
    assert server.calls.count("PATCH SpeechModel") == 2, "the status, and the finalizer"
