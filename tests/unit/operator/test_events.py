"""What Events say about objects that wait for long: read seldom, and quoted as the reason."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest
from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.api import CLAIMS, JOBS, MODELS, PODS, Api, Resource
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import Refused
from speechmodel_operator.cluster.events import EventReader
from speechmodel_operator.cluster.snapshot import Snapshot
from speechmodel_operator.cluster.views import Claim, Deployment, EventView, Job, Model, ObjectView, Pod
from speechmodel_plan.observed import Trouble
from support.views import as_sent
from support.world import World

from .test_engine import metadata
from .test_reasons import NAME, NOW, QUOTA, UNMOUNTED, Object, condition, job, pod, unscheduled
from .test_resources import IMAGES, OWNER

Said = tuple[str, str, str]
"""Reason, message and time of an Event."""


class Events:
    """An API server that has Events about objects, by uid, and counts how often they are read."""

    def __init__(self, **about: list[Said]) -> None:
        self.about, self.read = {uid.replace("_", "-"): said for uid, said in about.items()}, 0
        self.may = True

    async def events_about(self, thing: ObjectView) -> tuple[EventView, ...]:
        self.read += 1
        if not self.may:
            raise Refused(403, "events is forbidden")
        return tuple(
            EventView.read({"metadata": {"name": "e"}, "reason": r, "message": m, "lastTimestamp": at})
            for r, m, at in self.about.get(thing.metadata.uid, ())
        )


@dataclass(frozen=True)
class Seen:
    """The part of a snapshot whose Events are read."""

    jobs: Mapping[str, Job] = field(default_factory=lambda: {NAME: job()})
    pods: tuple[Pod, ...] = ()
    claim: Claim | None = None


def workspace(phase: str) -> Claim:
    spec = {"resources": {"requests": {"storage": "1Gi"}}}
    metadata = {"name": "espejo-workspace", "uid": "claim-uid"}
    return Claim.read({"metadata": metadata, "spec": spec, "status": {"phase": phase}})


async def said(reader: EventReader, seen: Seen, now: datetime = NOW) -> dict[str, str]:
    return dict(await reader.read(cast("Snapshot", seen), now))


CREATED: list[Said] = [
    ("FailedCreate", "Error creating: old", "2026-01-01T00:01:00Z"),
    ("FailedCreate", f"(combined from similar events): Error creating: {QUOTA}", "2026-01-01T00:02:00Z"),
    ("Suspended", "Job suspended", "2026-01-01T00:03:00Z"),
]
WITHOUT_CAS = 'MountVolume.SetUp failed for volume "ca-bundle" : configmap references non-existent config key: ca.crt'
WITHOUT_KEYS = 'MountVolume.SetUp failed for volume "api-keys" : secret "keys" not found'
SUMMARY = "Unable to attach or mount volumes: unmounted volumes=[api-keys]: context deadline exceeded"


@pytest.mark.parametrize(
    "seen",
    [
        Seen(pods=(pod(),)),
        Seen(jobs={NAME: job(suspend=True)}),
        Seen(jobs={NAME: job(failed=True)}),
        Seen(jobs={}, pods=(pod("Running", conditions=[condition("PodScheduled", "True")]),)),
        Seen(pods=(pod(**unscheduled("2 Insufficient cpu")),), claim=workspace("Pending")),
        Seen(pods=(pod(),), claim=workspace("Bound")),
    ],
    ids=["has a pod", "suspended", "has ended", "pod runs", "no node has room", "bound"],
)
async def test_no_events_are_read_about_what_does_not_wait_or_says_why_itself(seen: Seen) -> None:
    events = Events()
    assert await said(EventReader(cast("Api", events)), seen) == {}
    early = Seen(pods=(pod(**UNMOUNTED),), claim=workspace("Pending"))
    assert await said(EventReader(cast("Api", events)), early, datetime(2026, 1, 1, 0, 0, 15, tzinfo=UTC)) == {}
    assert events.read == 0


async def test_events_about_what_waits_are_read_once_a_minute_and_are_kept_while_it_waits() -> None:
    events = Events(job_uid=CREATED)
    reader, wanted = EventReader(cast("Api", events)), {"job-uid": QUOTA.removeprefix('pods "x" is forbidden: ')}
    for seconds in (0, 10, 49):
        assert await said(reader, Seen(), NOW + timedelta(seconds=seconds)) == wanted
    assert events.read == 1
    events.about = {}  # the API server deletes them after an hour
    assert await said(reader, Seen(), NOW + timedelta(seconds=60)) == wanted
    assert events.read == 2
    assert await said(reader, Seen(pods=(pod("Running"),)), NOW + timedelta(seconds=61)) == {}
    assert await said(reader, Seen(), NOW + timedelta(seconds=62)) == {}, "it waits again, for something else"


@pytest.mark.parametrize("said_by", ["pods {} is forbidden", "Pod {} is invalid"])
async def test_the_name_of_a_rejected_pod_which_changes_with_each_attempt_is_left_out(said_by: str) -> None:
    rejected = f"Error creating: {said_by.format(json.dumps(NAME + '-x7x2k'))}: it has no limits"
    events = Events(job_uid=[("FailedCreate", rejected, "2026-01-01T00:02:00Z")])
    assert await said(EventReader(cast("Api", events)), Seen()) == {"job-uid": "it has no limits"}


@pytest.mark.parametrize(
    ("found", "reason", "words"),
    [
        ([("FailedMount", WITHOUT_KEYS, "05:10"), ("FailedMount", SUMMARY, "09:50")], "CredentialsMissing", '"keys"'),
        (
            [("FailedMount", 'MountVolume.SetUp failed for volume "c" : configmap "ca" not found', "09:00")],
            "CredentialsMissing",
            'configmap "ca" not found',
        ),
        (
            [("FailedMount", WITHOUT_CAS, "09:00")],
            "CredentialsMissing",
            f"{WITHOUT_CAS}; create this ConfigMap with that key in this namespace, or correct caBundle of the operator's chart",
        ),
        (
            [("FailedMount", WITHOUT_KEYS, "01:00"), ("FailedAttachVolume", "Multi-Attach error for volume", "09:50")],
            "VolumePending",
            "Multi-Attach error",
        ),
        (
            [("FailedMount", WITHOUT_KEYS, "09:00"), ("FailedAttachVolume", "Multi-Attach error for volume", "09:50")],
            "CredentialsMissing",
            '"keys"',
        ),
        ([("FailedMount", SUMMARY, "09:50")], "VolumePending", "unmounted volumes=[api-keys]"),
        ([("FailedCreatePodSandBox", "plugin type=calico failed", "09:50")], "VolumePending", "calico failed"),
        ([("Pulling", "Pulling image", "09:50")], "VolumePending", f"kubectl describe pod {NAME}-x"),
        ([], "VolumePending", f"kubectl describe pod {NAME}-x"),
    ],
    ids=[
        "secret",
        "config map",
        "bundle of CAs",
        "created since",
        "with another volume",
        "summary",
        "network",
        "others",
        "none",
    ],
)
async def test_a_pod_whose_volumes_are_not_mounted_says_which_secret_is_missing(
    found: list[tuple[str, str, str]], reason: str, words: str
) -> None:
    events = Events(pod_uid=[(why, message, f"2026-01-01T00:{at}Z") for why, message, at in found])
    waits = pod(**UNMOUNTED)
    reports = await said(EventReader(cast("Api", events)), Seen(pods=(waits,)))
    (run,) = observe.stage_runs([job()], [waits], {}, NOW, reports)
    assert run.trouble
    assert (run.trouble.reason, events.read) == (reason, 1)
    assert words in run.trouble.message


REFUSED: Said = ("ProvisioningFailed", "failed to provision volume: AccessDenied", "2026-01-01T00:08:00Z")
EXTERNAL: Said = (
    "ExternalProvisioning",
    "Waiting for a volume to be created either by the external provisioner 'ebs' or manually",
    "2026-01-01T00:09:30Z",
)
UNBOUND: Object = unscheduled("pod has unbound immediate PersistentVolumeClaims")
STATIC: Object = unscheduled("1 node(s) didn't find available persistent volumes to bind")


@pytest.mark.parametrize(
    ("status", "found", "words"),
    [
        ({}, [REFUSED, EXTERNAL], "is not bound: failed to provision volume: AccessDenied"),
        ({}, [EXTERNAL], "is not bound: Waiting for a volume to be created either by the external provisioner 'ebs'"),
        ({}, [], "is not bound: `kubectl describe pvc espejo-workspace` shows why"),
        (UNBOUND, [REFUSED], "is not bound: failed to provision volume: AccessDenied"),
        (UNBOUND, [], "is not bound: pod has unbound immediate PersistentVolumeClaims"),
        (STATIC, [], "is not bound: 1 node(s) didn't find available persistent volumes to bind"),
    ],
    ids=["provisioner refuses", "no provisioner", "no Event", "immediate", "immediate, no Event", "no volume fits"],
)
async def test_a_pod_whose_workspace_has_no_volume_says_what_the_provisioner_does(
    status: Object, found: list[Said], words: str
) -> None:
    """With WaitForFirstConsumer, the scheduler says nothing for ten minutes."""
    waits, claim = pod(**status), workspace("Pending")
    reports = await said(EventReader(cast("Api", Events(claim_uid=found))), Seen(pods=(waits,), claim=claim))
    (run,) = observe.stage_runs([job()], [waits], {}, NOW, reports, claim)
    assert run.trouble
    assert run.trouble.reason == "VolumePending"
    assert run.trouble.message == f"the claim espejo-workspace {words}" or words in run.trouble.message
    (bound,) = observe.stage_runs([job()], [pod("Running")], {}, NOW, {}, workspace("Bound"))
    assert bound.trouble is None


@pytest.mark.parametrize(
    "message",
    [
        'persistentvolumeclaim "recordings" not found',
        "1 node(s) had volume node affinity conflict.",
    ],
)
async def test_trouble_with_another_volume_is_not_that_of_the_claim_that_waits_for_the_pod(message: str) -> None:
    """A claim with WaitForFirstConsumer has no volume until the pod has a node."""
    waits, claim = pod(**unscheduled(message)), workspace("Pending")
    events = Events(claim_uid=[EXTERNAL])
    reports = await said(EventReader(cast("Api", events)), Seen(pods=(waits,), claim=claim))
    (run,) = observe.stage_runs([job()], [waits], {}, NOW, reports, claim)
    assert (run.trouble, events.read) == (Trouble("VolumePending", message), 0)


def test_a_pod_that_no_node_has_room_for_does_not_wait_for_its_claim() -> None:
    """A claim with WaitForFirstConsumer is bound once the pod has a node."""
    (run,) = observe.stage_runs([job()], [pod(**unscheduled("2 Insufficient cpu"))], {}, NOW, {}, workspace("Pending"))
    assert run.trouble == Trouble("Unschedulable", "2 Insufficient cpu")
    early = datetime(2026, 1, 1, 0, 0, 50, tzinfo=UTC)
    (young,) = observe.stage_runs([job()], [pod()], {}, early, {}, workspace("Pending"))
    assert young.trouble is None


async def test_without_the_right_to_list_events_a_job_without_a_pod_is_seen_all_the_same() -> None:
    events = Events(job_uid=CREATED)
    events.may = False
    assert await said(EventReader(cast("Api", events)), Seen()) == {}
    assert events.read == 1


class Waiting(Events):
    """An API server with a model whose stage waits for its claim, and whose server and canary wait for a Secret."""

    def now(self) -> datetime:
        return NOW

    async def get(self, resource: Resource[Any], _namespace: str, name: str) -> Any:
        if resource is MODELS:
            spec = World().spec | {"serving": {"canary": {}}}
            return Model.read({"metadata": metadata(name, 3, uid=OWNER.uid), "spec": spec})
        template = {"metadata": {"labels": {"speechops.dev/version": "v1"}}}
        return Deployment.read({"metadata": metadata(name, 7), "spec": {"template": template}})

    async def find(self, resource: Resource[Any], *_: object) -> tuple[ObjectView, ...]:
        owned = [{"uid": OWNER.uid}]
        if resource is CLAIMS:
            return (workspace("Pending"),)
        if resource is JOBS:
            made = as_sent(job())
            return (Job.read(made | {"metadata": made["metadata"] | {"ownerReferences": owned}}),)
        return (pod(), *(self._server(stage) for stage in ("server", "canary"))) if resource is PODS else ()

    @staticmethod
    def _server(stage: str) -> Pod:
        made = as_sent(pod(**UNMOUNTED))
        labels = {"speechops.dev/version": "v1", "speechops.dev/stage": stage}
        return Pod.read(made | {"metadata": made["metadata"] | {"uid": f"{stage}-uid", "labels": labels}})


async def test_a_step_reports_what_events_say_of_stages_servers_and_the_canary() -> None:
    without_keys: Said = ("FailedMount", WITHOUT_KEYS, "2026-01-01T00:09:00Z")
    api = Waiting(claim_uid=[REFUSED], server_uid=[without_keys], canary_uid=[without_keys])
    engine = ClusterEngine(cast(Api, api), IMAGES, OWNER, progress_interval=timedelta(seconds=60))
    for _ in range(3):
        seen = await engine.observe()
        assert seen and seen.server and seen.canary
        (run,) = seen.runs
        found = (run.trouble, seen.server.trouble, seen.canary.server.trouble)
        assert [trouble.reason for trouble in found if trouble] == [
            "VolumePending",
            "CredentialsMissing",
            "CredentialsMissing",
        ]
        assert run.trouble and "AccessDenied" in run.trouble.message
    assert api.read == 3, "once about each of them"
