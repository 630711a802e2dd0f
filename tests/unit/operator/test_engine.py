"""The engine creates what a user waits for first, and does not undo what others changed since it read an object."""

import asyncio
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from msgspec import structs
from speechmodel_api.field_problems import InvalidSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PurgeInput
from speechmodel_api.status import ModelStatus
from speechmodel_operator.cluster import refusals
from speechmodel_operator.cluster.api import (
    ACCESSORIES,
    CLAIMS,
    DEPLOYMENTS,
    EVENTS,
    JOBS,
    MODELS,
    PODS,
    SERVICES,
    Api,
    Resource,
)
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, Refused
from speechmodel_operator.cluster.policies import Policies
from speechmodel_operator.cluster.snapshot import read_snapshot
from speechmodel_operator.cluster.views import Claim, Deployment, Job, Manifest, Model, ObjectView, Pod, Service
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import STAGE_CONTAINER, CaBundle, settings_hashes
from speechmodel_operator.resources.workers import JOB_NAME
from speechmodel_operator.settings import PolicySettings
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import PATIENCE_SECONDS, Upgrades
from speechmodel_plan import names
from speechmodel_plan.conditions import Failures
from speechmodel_plan.observed import RunState, Trouble
from speechmodel_plan.plan import CanaryIntent, Done, Plan, Report, ServingIntent
from speechmodel_plan.reconcile import Gone, StepFailed, make_plan, reconcile
from speechmodel_plan.task import Owner
from support.views import with_metadata
from support.world import World

from .test_resources import IMAGES, MODEL, OWNER

SOME_TIME = "2026-01-01T00:00:00Z"
RESULT = '{"output": {}}'
SCALED = World().spec | {"serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}}}


def metadata(name: str, version: int, **more: object) -> dict[str, Any]:
    owner = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "name": OWNER.name, "uid": OWNER.uid}
    place = {"namespace": OWNER.namespace, "name": name, "uid": f"u-{name}", "resourceVersion": str(version)}
    return place | {"ownerReferences": [owner]} | more


class Server:
    """An API server with a Deployment that an autoscaler set to 8 replicas in version 9. Reads are behind: version 7 with 2."""

    def __init__(self) -> None:
        self.version, self.applied = "9", list[Manifest]()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def get(self, resource: Resource[Any], _namespace: str, name: str) -> Any:
        if resource is MODELS:
            return Model.read({"metadata": metadata(name, 3, uid=OWNER.uid), "spec": SCALED})
        if resource is DEPLOYMENTS and name == names.deployment_name(OWNER.name):
            spec = {"replicas": 2, "template": {"metadata": {}}}
            return Deployment.read({"metadata": metadata(name, 7), "spec": spec})
        return None

    async def find(self, resource: Resource[Any], *_: object) -> tuple[Service, ...]:
        return ()

    async def apply(self, resource: Resource[Any], _namespace: str, manifest: Manifest, *, force: bool) -> Any:
        if manifest["metadata"].get("resourceVersion", self.version) != self.version:
            raise Conflict(409, "the object has been modified")
        self.applied.append(manifest)
        return resource.view.read(manifest)


class Serve(Plan):
    """A plan that serves a version."""

    def after(self, done: object) -> Report:
        raise NotImplementedError


async def test_replicas_that_an_autoscaler_set_since_the_deployment_was_read_stay() -> None:
    server = Server()
    engine = ClusterEngine(cast(Api, server), IMAGES, OWNER, progress_interval=timedelta(seconds=60))
    seen = await engine.observe()
    assert seen is not None and seen.server is not None and seen.server.replicas == 2
    plan = Serve(seen=seen, finalizer=False, serving=ServingIntent(MODEL, 2))
    with pytest.raises(Conflict):
        await engine.apply(plan)
    assert server.applied == []
    server.version = "7"
    await engine.apply(plan)
    assert server.applied[0]["kind"] == "Deployment"


async def test_a_deployment_that_is_refused_does_not_keep_the_service_from_its_name() -> None:
    class Refusing(Server):
        async def apply(self, resource: Resource[Any], namespace: str, manifest: Manifest, *, force: bool) -> Any:
            if resource is DEPLOYMENTS:
                raise Refused(403, "a policy forbids it")
            return await super().apply(resource, namespace, manifest, force=force)

    server = Refusing()
    engine = engine_of(cast(New, server))
    seen = await engine.observe()
    assert seen is not None
    done = await engine.apply(Serve(seen=seen, finalizer=False, serving=ServingIntent(MODEL, 2)))
    assert done.failures == Failures(serving=Trouble("Refused", "a policy forbids it"))
    assert [manifest["kind"] for manifest in server.applied] == ["Service"]


@pytest.mark.parametrize("exists", [True, False])
async def test_a_service_that_cannot_be_changed_answers_all_the_same(exists: bool) -> None:
    class Refusing(Server):
        async def find(self, resource: Resource[Any], *_: object) -> tuple[Any, ...]:
            about = metadata(OWNER.name, 7, labels=labels.common(OWNER, labels.SERVER))
            return (resource.view.read({"metadata": about, "spec": {}}),) if resource is SERVICES and exists else ()

        async def apply(self, resource: Resource[Any], namespace: str, manifest: Manifest, *, force: bool) -> Any:
            if resource is SERVICES:
                raise Refused(403, "a policy forbids it")
            return await super().apply(resource, namespace, manifest, force=force)

    server = Refusing()
    server.version = "7"
    engine = engine_of(cast(New, server))
    seen = await engine.observe()
    assert seen is not None
    done = await engine.apply(Serve(seen=seen, finalizer=False, serving=ServingIntent(MODEL, 2)))
    trouble = Trouble("Refused", "a policy forbids it")
    assert done.failures == (Failures(beside=trouble) if exists else Failures(service=trouble))


class Clock:
    """A clock that is put forward."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


async def test_what_is_refused_is_written_seldom_until_an_edit_or_a_retry(monkeypatch: pytest.MonkeyPatch) -> None:
    class Refusing(Server):
        writes = 0

        def __init__(self) -> None:
            super().__init__()
            self.about: dict[str, Any] = {"generation": 1}

        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            return found if resource is not MODELS else with_metadata(found, **self.about)

        async def apply(self, resource: Resource[Any], namespace: str, manifest: Manifest, *, force: bool) -> Any:
            if resource is not DEPLOYMENTS:
                return await super().apply(resource, namespace, manifest, force=force)
            self.writes += 1
            raise Refused(403, reason)

    async def writes(minutes: int) -> int:
        before = server.writes
        for _ in range(minutes):
            seen = await engine.observe()
            assert seen is not None
            done = await engine.apply(Serve(seen=seen, finalizer=False, serving=ServingIntent(served, 2)))
            assert done.failures.serving and done.failures.serving.message == reason
            clock.now += 60
        return server.writes - before

    clock, server, reason, served = Clock(), Refusing(), "a policy forbids it", MODEL
    monkeypatch.setattr(refusals, "time", clock)
    engine = engine_of(cast(New, server))
    assert await writes(32) == 6
    assert await writes(600) == 20
    server.about = {"generation": 2}
    assert await writes(1) == 1
    assert await writes(20) == 5
    server.about |= {"annotations": {"speechops.dev/retry": "1"}}
    assert await writes(1) == 1
    assert await writes(20) == 5
    server.about |= {"labels": {"kueue.x-k8s.io/queue-name": "other"}}
    assert await writes(1) == 1
    assert await writes(20) == 5
    served = MODEL.model_copy(update={"version": "1badcafe"})
    assert await writes(1) == 1
    reason = "exceeded quota: pods"
    assert await writes(90) == 90, "a quota may have room at any time"


class Serving(Server):
    """That API server, with the version in the status."""

    async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        if resource is MODELS:
            status = {"model": MODEL.model_dump(by_alias=True, exclude_none=True, mode="json")}
            return Model.read({"metadata": metadata(name, 3, uid=OWNER.uid), "spec": SCALED, "status": status})
        return await super().get(resource, namespace, name)


class Upgrading(Serving):
    """An API server with a Deployment that an earlier operator applied, of a server or a canary. A webhook may refuse another one."""

    def __init__(self, component: str) -> None:
        super().__init__()
        name = names.deployment_name if component == labels.SERVER else names.canary_name
        self.name = name(OWNER.name)
        self.version, self.refusing, self.generation, self.applied_hash = "7", False, 1, "earlier"
        self.status: dict[str, int] = {"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}

    async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
        if resource is not DEPLOYMENTS:
            return await super().get(resource, namespace, name)
        if name != self.name:
            return None
        annotations = {"annotations": {labels.APPLIED: self.applied_hash}, "generation": self.generation}
        spec = {"replicas": 2, "template": {"metadata": {}}}
        return Deployment.read({"metadata": metadata(name, 7, **annotations), "spec": spec, "status": self.status})

    async def apply(self, resource: Resource[Any], namespace: str, manifest: Manifest, *, force: bool) -> Any:
        if resource is DEPLOYMENTS and self.refusing:
            raise Refused(403, "a webhook denied it")
        return await super().apply(resource, namespace, manifest, force=force)

    @property
    def replaced(self) -> bool:
        return DEPLOYMENTS.kind in {manifest["kind"] for manifest in self.applied}


@dataclass
class Upgrade:
    """Steps of an engine after an upgrade that changes one component, with one place for all models."""

    component: str
    now: float = 0.0

    def __post_init__(self) -> None:
        self.server = Upgrading(self.component)
        self.telemetry = Telemetry()
        self.upgrades = Upgrades(1, self.telemetry, clock=lambda: self.now)
        interval = timedelta(seconds=60)
        self.engine = ClusterEngine(
            cast(Api, self.server), IMAGES, OWNER, progress_interval=interval, upgrades=self.upgrades
        )

    async def step(self, *, upgrade_only: bool = True, model: ModelStatus = MODEL) -> Done:
        seen = await self.engine.observe()
        assert seen is not None
        if self.component == labels.SERVER:
            plan = Serve(seen=seen, finalizer=False, serving=ServingIntent(model, 2, upgrade_only))
        else:
            plan = Serve(seen=seen, finalizer=False, keep_servers=True, canary=CanaryIntent(model, 2, upgrade_only))
        return await self.engine.apply(plan)


OTHER = "other", labels.SERVER


@pytest.mark.parametrize("component", [labels.SERVER, labels.CANARY])
async def test_an_upgrade_waits_for_a_place_and_one_that_is_refused_keeps_it(component: str) -> None:
    """Otherwise every model would fail while a webhook is down, and be replaced at once when it is back."""
    upgrade = Upgrade(component)
    assert upgrade.upgrades.take(OTHER, 1)
    assert (await upgrade.step()).put_off == (component == labels.SERVER)
    assert not upgrade.server.replaced
    upgrade.upgrades.forget(OTHER[0])
    upgrade.server.refusing = True
    done = await upgrade.step()
    assert not done.put_off
    assert done.failures.first == Trouble("Refused", "a webhook denied it")
    await upgrade.engine.observe()
    assert not upgrade.upgrades.take(OTHER, 1)


@pytest.mark.parametrize("component", [labels.SERVER, labels.CANARY])
async def test_one_that_waits_keeps_its_turn_while_it_is_looked_at(component: str) -> None:
    woken: list[str] = []
    upgrade = Upgrade(component)
    upgrade.upgrades = upgrade.engine._servers._upgrades = Upgrades(1, wake=woken.append)
    assert upgrade.upgrades.take(OTHER, 1)
    await upgrade.step()
    assert not upgrade.upgrades.take(("last", labels.SERVER), 1)
    await upgrade.step()
    upgrade.upgrades.forget(OTHER[0])
    assert woken == [OWNER.uid]


@pytest.mark.parametrize("component", [labels.SERVER, labels.CANARY])
async def test_one_that_was_refused_waits_for_another_turn_until_another_version_is_wanted(component: str) -> None:
    upgrade = Upgrade(component)
    upgrade.server.refusing = True
    await upgrade.step()
    upgrade.now = PATIENCE_SECONDS
    assert upgrade.upgrades.take(OTHER, 1)
    upgrade.server.refusing = False
    done = await upgrade.step(upgrade_only=False)  # the status is about a Deployment that was refused
    assert (done.put_off, upgrade.server.replaced) == (component == labels.SERVER, False)
    assert upgrade.telemetry.registry.get_sample_value("speechmodel_upgrades", {"state": "waiting"}) == 1
    await upgrade.step(upgrade_only=False, model=MODEL.model_copy(update={"version": "1badcafe"}))
    assert upgrade.server.replaced


def status(observed: int, replicas: int, updated: int, ready: int) -> dict[str, int]:
    return {"observedGeneration": observed, "replicas": replicas, "updatedReplicas": updated, "readyReplicas": ready}


@pytest.mark.parametrize(
    ("found", "rolls_out"),
    [
        (status(1, 2, 2, 2), False),
        (status(1, 3, 1, 2), True),
        (status(1, 2, 1, 2), True),
        (status(0, 2, 2, 2), True),
        (status(1, 2, 2, 1), False),
    ],
    ids=["ready", "another pod", "another template", "not yet begun", "a pod that is not ready"],
)
async def test_a_roll_out_of_before_a_restart_holds_a_place(found: dict[str, int], rolls_out: bool) -> None:
    upgrade = Upgrade(labels.SERVER)
    upgrade.server.status = found
    upgrade.upgrades.expect([OWNER.uid])
    await upgrade.engine.observe()
    upgrade.upgrades.looked_at(OWNER.uid)
    assert upgrade.upgrades.take(OTHER, 1) is not rolls_out


@pytest.mark.parametrize(
    ("found", "applied", "progress"),
    [
        (status(1, 3, 1, 2), True, True),
        (status(0, 3, 1, 2), True, False),
        (status(1, 2, 2, 1), False, False),
    ],
    ids=[
        "a replica was replaced",
        "the numbers are of before",
        "the Deployment was refused and one of its pods failed",
    ],
)
async def test_a_place_is_held_longer_after_each_replica_that_was_replaced(
    found: dict[str, int], applied: bool, progress: bool
) -> None:
    upgrade = Upgrade(labels.CANARY)
    upgrade.server.refusing = not applied
    await upgrade.step()
    if applied:
        (manifest,) = upgrade.server.applied
        upgrade.server.applied_hash = manifest["metadata"]["annotations"][labels.APPLIED]
    upgrade.now = PATIENCE_SECONDS - 1
    upgrade.server.status = found
    await upgrade.engine.observe()
    upgrade.now += 1
    assert upgrade.upgrades.take(OTHER, 1) is not progress


class Watched(Server):
    """The model as the watches know it: its Deployment has lost the label by which they find it."""

    async def get(self, *_: object) -> None:
        return None


async def test_a_deployment_that_the_watches_no_longer_know_is_read_with_its_replicas() -> None:
    snapshot = await read_snapshot(cast(Api, Serving()), OWNER, cast(Api, Watched()), lambda: ((), ()))
    assert snapshot is not None and snapshot.deployment is not None
    assert snapshot.deployment.spec.replicas == 2


class New:
    """An API server with a new model and `existing` objects, which notes every call about one object."""

    def __init__(self, *existing: ObjectView) -> None:
        self.existing, self.calls = existing, list[str]()

    def now(self) -> datetime:
        return datetime.now(UTC)

    async def get(self, resource: Resource[Any], _namespace: str, name: str) -> Any:
        self.calls.append(f"GET {resource.kind}")
        if resource is MODELS:
            return Model.read({"metadata": metadata(name, 3, uid=OWNER.uid), "spec": World().spec})
        named = (each for each in self.existing if isinstance(each, resource.view) and each.metadata.name == name)
        return next(named, None)

    async def find(self, resource: Resource[Any], *_: object) -> tuple[Any, ...]:
        found = tuple(thing for thing in self.existing if isinstance(thing, resource.view))
        return tuple(thing for thing in found if thing.metadata.labels.get(labels.MODEL) == OWNER.name)

    async def create(self, resource: Resource[Any], _namespace: str, manifest: Manifest) -> Any:
        self.calls.append(f"POST {resource.kind}")
        if any(thing.metadata.name == manifest["metadata"]["name"] for thing in self.existing):
            raise AlreadyExists(409, "it exists")
        return resource.view.read({**manifest, "metadata": {**manifest["metadata"], "uid": "new"}})

    async def merge_patch(self, resource: Resource[Any], *_: object) -> None:
        self.calls.append(f"PATCH {resource.kind}")

    async def delete(self, resource: Resource[Any], _thing: object) -> None:
        self.calls.append(f"DELETE {resource.kind}")


def engine_of(server: New) -> ClusterEngine:
    return ClusterEngine(cast(Api, server), IMAGES, OWNER, progress_interval=timedelta(seconds=60))


async def test_the_cas_of_the_platform_are_among_the_settings_of_jobs() -> None:
    trusting, interval = replace(IMAGES, ca_bundle=CaBundle("cas", "ca.crt")), timedelta(seconds=60)
    seen = await ClusterEngine(cast(Api, New()), trusting, OWNER, progress_interval=interval).observe()
    assert seen is not None
    assert seen.settings == settings_hashes(seen.spec, trusting.ca_bundle) != settings_hashes(seen.spec)


async def test_policies_are_asked_for_before_anything_is_created() -> None:
    class Kept(Policies):
        async def ensure(self, owner: Owner) -> None:
            server.calls.append(f"POLICIES {owner.namespace}")

    server = New()
    policies, interval = Kept(cast(Api, server), cast(PolicySettings, None)), timedelta(seconds=60)
    await reconcile(ClusterEngine(cast(Api, server), IMAGES, OWNER, progress_interval=interval, policies=policies))
    assert any(call.startswith("POST") for call in server.calls)
    assert server.calls[0] == f"POLICIES {OWNER.namespace}"


async def test_nothing_is_started_for_a_model_that_is_gone_before_its_finalizer_is_set() -> None:
    server = New()
    engine = engine_of(server)
    seen = await engine.observe()
    assert seen is not None
    with pytest.raises(Gone):
        await engine.apply(replace(make_plan(seen), finalizer=True))
    assert [call for call in server.calls if not call.startswith("GET")] == ["PATCH SpeechModel"]


async def test_a_job_that_kueue_holds_from_the_start_is_reported_as_queued_and_not_as_running() -> None:
    class Queueing(New):
        """Its webhook suspends every new Job that is in a queue, as that of Kueue does."""

        events: tuple[str, ...] = ()
        status: dict[str, Any]

        async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            if resource is EVENTS:
                self.events += (manifest["reason"],)
                return None
            if resource is JOBS:
                found = {**manifest["metadata"]["labels"], labels.QUEUE: "gpus"}
                manifest = {
                    **manifest,
                    "metadata": {**manifest["metadata"], "labels": found},
                    "spec": {**manifest["spec"], "suspend": True},
                }
            return await super().create(resource, namespace, manifest)

        async def merge_patch(self, resource: Resource[Any], *patch: Any) -> None:
            self.status = patch[2]["status"]

    server = Queueing()
    await reconcile(engine_of(server))
    (told,) = (found for found in server.status["conditions"] if found["type"] == "DatasetReady")
    assert (told["reason"], "queue gpus of Kueue" in told["message"]) == ("QueuedByKueue", True)
    assert server.events == ("QueuedByKueue",)


async def test_a_job_that_waits_in_the_wrong_queue_is_replaced_once_the_label_is_corrected() -> None:
    class Queues(New):
        """Its webhook suspends every new Job, as that of Kueue does. A Job is in the namespace until it is deleted."""

        queue, status = "wrong", dict[str, Any]()
        jobs: tuple[Manifest, ...] = ()

        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            if resource is not MODELS:
                return await super().get(resource, namespace, name)
            about = metadata(name, 3, uid=OWNER.uid, labels={labels.QUEUE: self.queue})
            return Model.read({"metadata": about, "spec": World().spec, "status": self.status})

        async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            created = await super().create(resource, namespace, manifest)
            if resource is JOBS:
                about = manifest["metadata"] | metadata(manifest["metadata"]["name"], 4, creationTimestamp=SOME_TIME)
                manifest = {**manifest, "metadata": about, "spec": {**manifest["spec"], "suspend": True}}
                created = Job.read(manifest)
                self.jobs, self.existing = (*self.jobs, manifest), (*self.existing, created)
            elif resource is CLAIMS:
                self.existing = (*self.existing, claim(OWNER.name))
            return created

        async def delete(self, resource: Resource[Any], thing: Any) -> None:
            await super().delete(resource, thing)
            self.existing = tuple(each for each in self.existing if each.metadata.name != thing.metadata.name)

        async def merge_patch(self, resource: Resource[Any], *patch: Any) -> None:
            await super().merge_patch(resource, *patch)
            if resource is MODELS:
                self.status = {**self.status, **patch[2]["status"]}

    server = Queues()
    engine = engine_of(server)
    await reconcile(engine)
    await reconcile(engine)
    assert "DELETE Job" not in server.calls
    server.queue = "gpus"
    await reconcile(engine)
    assert server.calls.count("DELETE Job") == 1
    await reconcile(engine)
    await reconcile(engine)
    assert server.calls.count("DELETE Job") == 1, "the new one is in the right queue"
    first, second = server.jobs
    assert [job["metadata"]["labels"][labels.QUEUE] for job in server.jobs] == ["wrong", "gpus"]
    assert second["metadata"]["name"] == first["metadata"]["name"].removesuffix("-1") + "-2"
    (stage,) = server.status["stages"]
    assert (stage["state"], stage["attempt"], stage.get("failures", 0)) == ("Running", 2, 0)


async def test_the_purge_of_a_model_with_a_queue_is_put_into_it() -> None:
    queue = {"kueue.x-k8s.io/queue-name": "gpus"}

    class Queued(New):
        created: tuple[Manifest, ...] = ()

        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            if resource is not MODELS:
                return found
            return with_metadata(found, labels=queue)

        async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            self.created += (manifest,)
            return await super().create(resource, namespace, manifest)

    server = Queued()
    engine = engine_of(server)
    seen = await engine.observe()
    assert seen is not None
    purge = PurgeInput(target=seen.spec.publish.s3.location, base="a/b/c")
    await engine.apply(Serve(seen=seen, finalizer=False, deleting=True, purge=purge))
    (job,) = server.created
    assert queue.items() <= job["metadata"]["labels"].items()


async def test_a_purge_that_is_given_up_leaves_no_job_that_could_run_later() -> None:
    about = metadata(names.purge_name(OWNER.name, OWNER.uid), 5, labels={labels.MODEL: OWNER.name})
    server = New(Job.read({"metadata": about | {"creationTimestamp": datetime.now(UTC)}}))
    engine = engine_of(server)
    seen = await engine.observe()
    assert seen is not None
    await engine.apply(Serve(seen=seen, finalizer=False, deleting=True))
    assert "DELETE Job" not in server.calls
    await engine.apply(Serve(seen=seen, finalizer=False, deleting=True, abandon_purge=True))
    assert "DELETE Job" in server.calls


async def test_a_model_of_a_newer_release_that_cannot_be_read_is_deleted_with_what_it_published() -> None:
    class Newer(New):
        created: tuple[Manifest, ...] = ()

        def __init__(self) -> None:
            super().__init__()
            self.about: dict[str, Any] = {"finalizers": [labels.FINALIZER]}

        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            if resource is not MODELS:
                return await super().get(resource, namespace, name)
            publish = World().spec["publish"] | {"deletionPolicy": "Delete"}
            spec = World().spec | {"publish": publish, "training": {"maxEpochs": "a way of a newer release"}}
            return Model.read({"metadata": metadata(name, 3, uid=OWNER.uid, **self.about), "spec": spec})

        async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            self.created += (manifest,)
            return await super().create(resource, namespace, manifest)

    server = Newer()
    with pytest.raises(InvalidSpec, match=r"spec\.training\.maxEpochs: must be an integer, not 'a way of"):
        await reconcile(engine_of(server))
    server.about = server.about | {"deletionTimestamp": SOME_TIME}
    await reconcile(engine_of(server))
    assert [manifest["metadata"]["name"] for manifest in server.created] == [names.purge_name(OWNER.name, OWNER.uid)]


def claim(model: str) -> Claim:
    spec = {"resources": {"requests": {"storage": "10Gi"}}}
    return Claim.read(
        {"metadata": metadata(names.claim_name(OWNER.name), 5, labels={labels.MODEL: model}), "spec": spec}
    )


async def test_a_new_model_is_read_once_for_its_claim_and_its_first_job() -> None:
    server = New()
    await reconcile(engine_of(server))
    kinds = [call for call in server.calls if not call.startswith(("GET Deployment", "POST Event"))]
    assert kinds == ["GET SpeechModel", "POST PersistentVolumeClaim", "POST Job", "PATCH SpeechModel"]


async def test_prepare_reads_other_speech_where_its_claim_is_mounted() -> None:
    class Shared(New):
        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            source = {"source": {"persistentVolumeClaim": {"claimName": "radio", "path": "es"}}}
            spec = {"dataset": World().spec["dataset"] | {"negatives": source}}
            return found if resource is not MODELS else structs.replace(found, spec=found.spec | spec)

    seen = await engine_of(Shared()).observe()
    assert seen is not None
    assert str(seen.task.other_speech) == "/negatives/es"


async def test_a_server_with_the_name_of_the_service_of_the_workers_keeps_training_from_its_start() -> None:
    class Named(New):
        service = "espejo-train"

        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            found = await super().get(resource, namespace, name)
            serves = {"serving": {"service": {"name": self.service}}}
            return found if resource is not MODELS else structs.replace(found, spec=found.spec | serves)

    server = Named()
    engine = engine_of(server)
    world = World()
    world.edit(training__numWorkers=2)
    world.until(StageName.TRAIN)
    run = world.plan.start if world.plan else None
    assert run is not None and run.workers == 2
    for service in ("espejo-train", "voice"):
        server.service = service
        seen = await engine.observe()
        assert seen is not None
        done = await engine.apply(Serve(seen=seen, finalizer=False, keep_servers=True, start=run))
        created = [call for call in server.calls if call.startswith("POST")]
        if service == "voice":
            assert (done.failures, created) == (Failures(), ["POST Service", "POST Job"])
        else:
            assert done.not_started and not created
            assert done.failures.stages and done.failures.stages.reason == "NameConflict"
            assert done.failures.stages.message.startswith("serving.service.name is espejo-train,")


def ended_job() -> Job:
    """A Job that no current stage refers to."""
    marks = {labels.MODEL: OWNER.name, labels.STAGE: "prepare", labels.KEY: "00000000", labels.ATTEMPT: "1"}
    about = metadata("espejo-prepare-00000000-1", 4, labels=marks, creationTimestamp=SOME_TIME)
    ended = {"conditions": [{"type": "Complete", "status": "True"}]}
    return Job.read({"metadata": about, "status": ended})


async def test_the_next_job_is_created_before_an_ended_one_is_removed() -> None:
    server = New(ended_job(), claim(OWNER.name))
    await reconcile(engine_of(server))
    assert [call for call in server.calls if call.endswith(" Job")] == ["POST Job", "DELETE Job"]


class FullQuota(New):
    """An API server whose quota of Jobs is full until one is removed."""

    async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
        made = await super().create(resource, namespace, manifest)
        if resource.kind == "Job" and "DELETE Job" not in self.calls:
            raise Refused(403, "exceeded quota: jobs, requested: count/jobs.batch=1")
        return made


async def test_the_next_job_is_created_once_an_ended_one_leaves_room_in_the_quota() -> None:
    server = FullQuota(ended_job(), claim(OWNER.name))
    await reconcile(engine_of(server))
    assert [call for call in server.calls if call.endswith(" Job")] == ["POST Job", "GET Job", "DELETE Job", "POST Job"]


class EndsWhileItIsRead(New):
    """An API server that answers for the Jobs late. The only Job ends in between."""

    def __init__(self) -> None:
        super().__init__(ended_job(), claim(OWNER.name))
        self.ended = False

    async def find(self, resource: Resource[Any], *about: object) -> tuple[Any, ...]:
        if resource is PODS:
            ended = {"terminated": {"exitCode": 0, "message": RESULT}}
            state = {"phase": "Succeeded"} if self.ended else {"phase": "Running"}
            containers = [{"name": STAGE_CONTAINER, "state": ended if self.ended else {"running": {}}}]
            job = self.existing[0].metadata
            about_pod = metadata("pod", 4, labels={**job.labels, JOB_NAME: job.name}, creationTimestamp=SOME_TIME)
            return (Pod.read({"metadata": about_pod, "status": state | {"containerStatuses": containers}}),)
        for _ in range(9):  # the other calls are answered meanwhile
            await asyncio.sleep(0)
        self.ended = True
        return await super().find(resource, *about)


async def test_the_result_of_a_job_that_ends_while_it_is_read_is_not_missed() -> None:
    seen = await engine_of(EndsWhileItIsRead()).observe()
    assert seen is not None
    assert [(run.state, run.result) for run in seen.runs] == [(RunState.SUCCEEDED, RESULT)]


class NoJobs(New):
    """An API server whose webhook for Jobs is down, for one kind of call."""

    def __init__(self, method: str, *existing: ObjectView) -> None:
        super().__init__(*existing)
        self.method, self.error = method, ClusterError(500, "failed calling webhook: connection refused")

    def _call(self, method: str, resource: Resource[Any]) -> None:
        if (method, resource) == (self.method, JOBS):
            raise self.error

    async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
        self._call("POST", resource)
        return await super().create(resource, namespace, manifest)

    async def delete(self, resource: Resource[Any], thing: object) -> None:
        self._call("DELETE", resource)
        await super().delete(resource, thing)


@pytest.mark.parametrize("method", ["POST", "DELETE"])
async def test_a_webhook_for_jobs_that_is_down_is_in_the_status(method: str) -> None:
    server = NoJobs(method, ended_job(), claim(OWNER.name))
    with pytest.raises(StepFailed, match="failed calling webhook") as failed:
        await reconcile(engine_of(server))
    assert failed.value.reason == "ApiError"
    assert "PATCH SpeechModel" in server.calls


async def test_an_api_server_with_too_much_to_do_is_asked_for_nothing_more() -> None:
    server = NoJobs("POST", ended_job(), claim(OWNER.name))
    server.error = ClusterError(429, "too many requests")
    with pytest.raises(ClusterError):
        await reconcile(engine_of(server))
    assert not {"DELETE Job", "PATCH SpeechModel"} & set(server.calls)


@pytest.mark.parametrize("error", [Conflict(409, "it changed"), ClusterError(429, "too many requests")])
async def test_an_object_beside_the_server_does_not_hide_that_the_step_has_to_begin_again(error: ClusterError) -> None:
    class Busy(Server):
        async def get(self, resource: Resource[Any], namespace: str, name: str) -> Any:
            if resource not in ACCESSORIES.values():
                return await super().get(resource, namespace, name)
            return resource.view.read({"metadata": metadata(name, 7)})

        async def apply(self, resource: Resource[Any], namespace: str, manifest: Manifest, *, force: bool) -> Any:
            if resource in ACCESSORIES.values():
                raise error
            return await super().apply(resource, namespace, manifest, force=force)

    server = Busy()
    server.version = "7"
    engine = engine_of(cast(New, server))
    seen = await engine.observe()
    assert seen is not None
    with pytest.raises(type(error), match=str(error)):
        await engine.apply(Serve(seen=seen, finalizer=False, serving=ServingIntent(MODEL, 2)))


async def test_a_claim_of_another_owner_is_a_conflict() -> None:
    server = New(claim(model="another"))
    with pytest.raises(StepFailed, match="exists and lacks the label") as failed:
        await reconcile(engine_of(server))
    assert failed.value.reason == "NameConflict"
    assert "POST Job" not in server.calls


class FullQuotaOfClaims(New):
    """An API server that compares the quota before the name, as Kubernetes does."""

    async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
        if resource.kind == "PersistentVolumeClaim":
            self.calls.append(f"POST {resource.kind}")
            raise Refused(403, "exceeded quota: storage, requested: persistentvolumeclaims=1")
        return await super().create(resource, namespace, manifest)


@pytest.mark.parametrize(("existing", "reason"), [((claim(model="another"),), "NameConflict"), ((), "QuotaExceeded")])
async def test_a_full_quota_does_not_hide_that_a_claim_belongs_to_another(
    existing: tuple[Claim, ...], reason: str
) -> None:
    with pytest.raises(StepFailed) as failed:
        await reconcile(engine_of(FullQuotaOfClaims(*existing)))
    assert failed.value.reason == reason


async def test_a_job_of_another_owner_is_a_conflict_though_the_quota_is_full() -> None:
    job = Job.read({"metadata": metadata("espejo-prepare", 4, ownerReferences=[])})

    class Full(New):
        async def create(self, resource: Resource[Any], namespace: str, manifest: Manifest) -> Any:
            if resource.kind != "Job":
                return await super().create(resource, namespace, manifest)
            self.existing = (with_metadata(job, name=manifest["metadata"]["name"]),)
            raise Refused(403, "exceeded quota: jobs, requested: count/jobs.batch=1")

    with pytest.raises(StepFailed) as failed:
        await reconcile(engine_of(Full(claim(OWNER.name))))
    assert failed.value.reason == "NameConflict"
