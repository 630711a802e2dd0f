"""Why a run or a rollout makes no progress: one reason each, in the words of the cluster, and gone once it is over."""

import json
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, cast

import pytest
from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.errors import Refused, cluster_error
from speechmodel_operator.cluster.snapshot import Snapshot, read_rejections
from speechmodel_operator.cluster.views import Deployment, EventView, Job, Pod
from speechmodel_plan.observed import Run, RunState, Trouble

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
NAME = "espejo-train-0badcafe-2"
Object = dict[str, Any]


def job(*, suspend: bool = False, queue: str | None = None, failed: bool = False) -> Job:
    found = {
        "speechops.dev/model": "espejo",
        "speechops.dev/stage": "train",
        "speechops.dev/key": "0badcafe",
        "speechops.dev/attempt": "2",
    } | ({"kueue.x-k8s.io/queue-name": queue} if queue else {})
    metadata = {"name": NAME, "uid": "job-uid", "creationTimestamp": "2026-01-01T00:00:00Z", "labels": found}
    ends = [{"type": "Failed", "status": "True", "lastTransitionTime": "2026-01-01T00:05:00Z"}] if failed else []
    return Job.model_validate({"metadata": metadata, "spec": {"suspend": suspend}, "status": {"conditions": ends}})


def pod(phase: str = "Pending", limits: Object | None = None, **status: Any) -> Pod:
    metadata = {
        "name": f"{NAME}-x",
        "creationTimestamp": "2026-01-01T00:00:01Z",
        "labels": {"speechops.dev/stage": "train", "batch.kubernetes.io/job-name": NAME},
    }
    containers = [{"name": "stage", "resources": {"limits": {"memory": "1Gi"} if limits is None else limits}}]
    spec = {"nodeName": "gpu", "containers": containers}
    return Pod.model_validate({"metadata": metadata, "spec": spec, "status": {"phase": phase} | status})


def condition(type_: str, status: str, reason: str = "", message: str = "") -> Object:
    at = "2026-01-01T00:05:00Z"
    return {"type": type_, "status": status, "reason": reason, "message": message, "lastTransitionTime": at}


def unscheduled(message: str, reason: str = "Unschedulable") -> Object:
    return {"conditions": [condition("PodScheduled", "False", reason, message)]}


def waiting(reason: str, message: str) -> Object:
    state = {"waiting": {"reason": reason, "message": message}}
    return {"containerStatuses": [{"name": "stage", "state": state}]}


def disrupted(reason: str, message: str = "taken") -> Object:
    return {"conditions": [condition("DisruptionTarget", "True", reason, message)]}


def run_of(job: Job, *pods: Pod, rejection: str = "") -> Run:
    (run,) = observe.stage_runs([job], pods, {}, NOW, {NAME: rejection})
    return run


UNMOUNTED: Object = {
    "conditions": [condition("PodScheduled", "True"), condition("PodReadyToStartContainers", "False")],
}
QUOTA = 'pods "x" is forbidden: exceeded quota: compute, requested: cpu=1, used: cpu=4, limited: cpu=4'
STANDARD = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (unscheduled("0/2 nodes are available: 2 Insufficient cpu."), "Unschedulable", "Insufficient cpu"),
        (unscheduled("0/2 nodes: pod has unbound immediate PersistentVolumeClaims."), "VolumePending", "unbound"),
        (unscheduled('persistentvolumeclaim "espejo-dataset" not found'), "VolumePending", "espejo-dataset"),
        (unscheduled("2 node(s) had volume node affinity conflict."), "VolumePending", "affinity conflict"),
        (unscheduled("2 node(s) didn't find available persistent volumes to bind."), "VolumePending", "to bind"),
        (unscheduled("gated", "SchedulingGated"), "SchedulingGated", "gated"),
        (UNMOUNTED, "VolumePending", f"kubectl describe pod {NAME}-x"),
        (waiting("ErrImagePull", "not found"), "ImagePullFailed", "container stage: ErrImagePull: not found"),
        (waiting("ImagePullBackOff", "Back-off"), "ImagePullFailed", "ImagePullBackOff"),
        (waiting("InvalidImageName", "x:y:z"), "ImagePullFailed", "x:y:z"),
        (waiting("ErrImageNeverPull", "absent"), "ImagePullFailed", "absent"),
        (waiting("CreateContainerConfigError", 'secret "s3" not found'), "CredentialsMissing", 'secret "s3"'),
        (waiting("CreateContainerConfigError", "couldn't find key A in Secret ns/s3"), "CredentialsMissing", "key A"),
        (waiting("CreateContainerConfigError", "non-numeric user"), "CreateContainerConfigError", "non-numeric"),
        (disrupted("PreemptionByScheduler", "preempting to accommodate a higher priority pod"), "Preempted", "higher"),
        (disrupted("EvictionByEvictionAPI"), "Evicted", "on node gpu: taken"),
        (disrupted("TerminationByKubelet", "The node was low on memory"), "Evicted", "low on memory"),
        (disrupted("DeletionByTaintManager"), "NodeLost", "another one continues from what was saved"),
        (disrupted("DeletionByPodGC"), "NodeLost", "node gpu"),
    ],
)
def test_a_pod_says_why_it_waits_and_stops_saying_so(status: Object, reason: str, words: str) -> None:
    trouble = run_of(job(), pod(**status)).trouble
    assert trouble
    assert trouble.reason == reason
    assert words in trouble.message
    assert not trouble.final, "it clears by itself"
    assert run_of(job(), pod("Running")).trouble is None


@pytest.mark.parametrize(
    ("last", "waits", "reason", "words"),
    [
        (
            {"error": {"reason": "SignatureMissing", "message": "no model.sig"}},
            "CrashLoopBackOff",
            "SignatureMissing",
            "",
        ),
        ({"output": {"version": "0badcafe"}}, "CrashLoopBackOff", "CrashLoopBackOff", "0badcafe"),
        ("Killed", "CrashLoopBackOff", "CrashLoopBackOff", "Killed"),
        ({"error": {"reason": "DownloadFailed", "message": "gone"}}, "ErrImagePull", "ImagePullFailed", ""),
    ],
)
def test_a_program_that_fails_again_and_again_gives_its_own_reason(
    last: Object | str, waits: str, reason: str, words: str
) -> None:
    message = last if isinstance(last, str) else json.dumps(last)
    state = {"state": {"waiting": {"reason": waits}}, "lastState": {"terminated": {"exitCode": 65, "message": message}}}
    trouble = run_of(job(), pod(initContainerStatuses=[{"name": "fetch", **state}])).trouble
    assert trouble
    assert trouble.reason == reason
    assert words in trouble.message
    if reason == "SignatureMissing":
        assert trouble.message == "container fetch: no model.sig"


def test_a_pod_whose_volumes_are_being_mounted_for_a_short_time_is_no_trouble() -> None:
    early = datetime(2026, 1, 1, 0, 5, 30, tzinfo=UTC)
    (run,) = observe.stage_runs([job()], [pod(**UNMOUNTED)], {}, early)
    assert run.trouble is None


@pytest.mark.parametrize(
    ("rejection", "reason"),
    [
        (QUOTA, "QuotaExceeded"),
        ('pods "x" is forbidden: failed quota: compute: must specify limits.cpu', "QuotaExceeded"),
        (STANDARD, "PodSecurityDenied"),
        ('admission webhook "policy" denied the request', "NoPod"),
        ("", "NoPod"),
    ],
)
def test_a_job_without_a_pod_quotes_what_rejected_it(rejection: str, reason: str) -> None:
    trouble = run_of(job(), rejection=rejection).trouble
    assert trouble
    assert trouble.reason == reason
    assert rejection in trouble.message
    assert run_of(job(), pod("Running"), rejection=rejection).trouble is None


def test_a_job_in_a_queue_says_so_and_is_not_missed_as_a_job_without_a_pod() -> None:
    run = run_of(job(suspend=True, queue="gpus"))
    assert run.state is RunState.PENDING
    assert run.trouble == Trouble("QueuedByKueue", f"Job {NAME} waits in the queue gpus of Kueue")
    by_hand = run_of(job(suspend=True)).trouble
    assert by_hand
    assert by_hand.reason == "JobSuspended"
    assert run_of(job(queue="gpus"), pod("Running")).trouble is None


async def test_events_are_read_only_for_a_job_that_has_had_no_pod_for_a_while() -> None:
    asked = []

    class Events:
        async def events_about(self, thing: Job) -> tuple[EventView, ...]:
            asked.append(thing.metadata.name)
            entries = [
                ("FailedCreate", "Error creating: old", "2026-01-01T00:01:00Z"),
                ("FailedCreate", f"(combined from similar events): Error creating: {QUOTA}", "2026-01-01T00:02:00Z"),
                ("Suspended", "Job suspended", "2026-01-01T00:03:00Z"),
            ]
            return tuple(
                EventView.model_validate({"metadata": {"name": "e"}, "reason": r, "message": m, "lastTimestamp": at})
                for r, m, at in entries
            )

    class Seen:
        def __init__(self, jobs: list[Job], pods: list[Pod]) -> None:
            self.jobs = {each.metadata.name: each for each in jobs}
            self.pods = tuple(pods)

    async def rejections(jobs: list[Job], pods: list[Pod], now: datetime = NOW) -> dict[str, str]:
        return dict(await read_rejections(cast("Api", Events()), cast("Snapshot", Seen(jobs, pods)), now))

    assert await rejections([job()], [pod()]) == {}
    assert await rejections([job(suspend=True)], []) == {}
    assert await rejections([job(failed=True)], []) == {}
    assert await rejections([job()], [], datetime(2026, 1, 1, 0, 0, 10, tzinfo=UTC)) == {}
    assert asked == []
    assert await rejections([job()], []) == {NAME: QUOTA.removeprefix('pods "x" is forbidden: ')}


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"memory": "1Gi"}, "the memory limit 1Gi; raise podTemplate.resources.limits.memory to 2Gi"),
        ({"memory": "300Mi"}, "the memory limit 300Mi; raise podTemplate.resources.limits.memory to 600Mi"),
        ({"memory": "1500M"}, "to 2862Mi"),
        ({}, "the memory of the node; raise podTemplate.resources.limits.memory, or lower batchSize"),
    ],
)
def test_out_of_memory_names_the_limit_and_proposes_another(limits: Object, words: str) -> None:
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:04:00Z"}}
    killed = pod("Failed", limits, containerStatuses=[{"name": "stage", "state": state}])
    trouble = run_of(job(failed=True), killed).trouble
    assert trouble
    assert (trouble.reason, trouble.final) == ("OutOfMemory", True)
    assert words in trouble.message


def test_a_run_that_failed_with_its_node_says_so() -> None:
    trouble = run_of(job(failed=True), pod("Failed", **disrupted("DeletionByTaintManager"))).trouble
    assert trouble
    assert trouble.reason == "NodeLost"


@pytest.mark.parametrize(
    ("conditions", "reason", "words"),
    [
        ([condition("ReplicaFailure", "True", "FailedCreate", QUOTA)], "QuotaExceeded", "limited: cpu=4"),
        ([condition("ReplicaFailure", "True", "FailedCreate", STANDARD)], "PodSecurityDenied", "runAsNonRoot"),
        ([condition("ReplicaFailure", "True", "FailedCreate", "denied")], "RolloutBlocked", "denied"),
        (
            [
                condition(
                    "Progressing", "False", "ProgressDeadlineExceeded", 'ReplicaSet "x" has timed out progressing.'
                )
            ],
            "RolloutBlocked",
            "timed out progressing",
        ),
        ([condition("Progressing", "True", "ReplicaSetUpdated")], None, ""),
        ([], None, ""),
    ],
)
def test_a_deployment_says_why_its_rollout_stands(conditions: list[Object], reason: str | None, words: str) -> None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 2},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "conditions": conditions},
    }
    server = observe.server_of(Deployment.model_validate(deployment), [], NOW)
    assert server
    assert (server.trouble.reason if server.trouble else None) == reason
    assert server.trouble is None or words in server.trouble.message
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    settled = deployment | {"status": {"observedGeneration": 2, "conditions": conditions} | counts}
    healed = observe.server_of(Deployment.model_validate(settled), [], NOW)
    assert healed
    assert healed.trouble is None


@pytest.mark.parametrize(
    "message",
    [
        '0/2 nodes are available: persistentvolumeclaim "models" not found.',
        "0/2 nodes are available: 1 node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod "
        "access mode.",
    ],
)
def test_a_server_that_waits_for_the_claim_of_its_cache_says_so(message: str) -> None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 2},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 1},
    }
    waiting_pod = pod(**unscheduled(message))
    metadata = waiting_pod.metadata.model_copy(update={"labels": {"speechops.dev/version": "v1"}})
    waiting_pod = waiting_pod.model_copy(update={"metadata": metadata})
    server = observe.server_of(Deployment.model_validate(deployment), [waiting_pod], NOW)
    assert server and server.trouble == Trouble("VolumePending", message)


def test_a_crashed_server_of_the_settings_before_is_no_reason_once_there_is_a_pod_with_new_ones() -> None:
    deployment = Deployment.model_validate(
        {
            "metadata": {"name": "espejo", "generation": 2},
            "spec": {"replicas": 1, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
            "status": {"observedGeneration": 2, "replicas": 2},
        }
    )

    def server_pod(template: str, made: str, **status: Any) -> Pod:
        labels = {"speechops.dev/version": "v1", "pod-template-hash": template}
        found = pod("Running", **status)
        changed = {"name": f"espejo-{template}", "creationTimestamp": made, "labels": labels}
        return Pod.model_validate(found.model_dump(by_alias=True, mode="json") | {"metadata": changed})

    last = {"terminated": {"exitCode": 78, "message": "Killed"}}
    state = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}
    crashed = server_pod("old", "2026-01-01T00:00:01Z", containerStatuses=[state])
    starting = server_pod("new", "2026-01-01T00:00:09Z")
    alone = observe.server_of(deployment, [crashed], NOW)
    assert alone and alone.trouble and alone.trouble.reason == "CrashLoopBackOff"
    both = observe.server_of(deployment, [crashed, starting], NOW)
    assert both and both.trouble is None


@pytest.mark.parametrize(
    ("phase", "deleted", "status"),
    [
        ("Running", "2026-01-01T00:00:00Z", {}),
        ("Running", None, disrupted("EvictionByEvictionAPI")),
        ("Failed", None, disrupted("TerminationByKubelet")),
    ],
    ids=["terminating for long", "drained", "evicted by the kubelet"],
)
def test_a_server_pod_that_goes_away_is_no_reason_and_the_one_in_its_place_is(
    phase: str, deleted: str | None, status: Object
) -> None:
    deployment = Deployment.model_validate(
        {
            "metadata": {"name": "espejo", "generation": 2},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1},
        }
    )

    def served(made: Pod, deletion: str | None = None) -> Pod:
        changed = {"labels": {"speechops.dev/version": "v1"}, "deletionTimestamp": deletion}
        document = made.model_dump(by_alias=True, mode="json")
        return Pod.model_validate(document | {"metadata": document["metadata"] | changed})

    old, new = served(pod(phase, **status), deleted), served(pod(**unscheduled("0/2 nodes are available")))
    alone = observe.server_of(deployment, [old], NOW)
    assert alone and alone.trouble is None
    both = observe.server_of(deployment, [old, new], NOW)
    assert both and both.trouble and both.trouble.reason == "Unschedulable"


@pytest.mark.parametrize(
    ("message", "reason"),
    [(QUOTA, "QuotaExceeded"), (STANDARD, "PodSecurityDenied"), ("a webhook denied the request", "Refused")],
)
def test_an_object_that_is_rejected_says_by_what(message: str, reason: str) -> None:
    assert cluster_error(403, json.dumps({"message": message}).encode()).reason == reason


def test_a_webhook_that_denies_without_a_code_rejects_the_object() -> None:
    """The API server then answers 400. Other answers of 400 are faults of the request."""
    denied = 'admission webhook "validate.nginx.ingress.kubernetes.io" denied the request: host "a" is defined already'
    assert isinstance(cluster_error(400, json.dumps({"message": denied}).encode()), Refused)
    assert not isinstance(cluster_error(400, json.dumps({"message": "the body is not valid JSON"}).encode()), Refused)


async def test_without_the_right_to_list_events_a_job_without_a_pod_is_seen_all_the_same() -> None:
    class Events:
        async def events_about(self, thing: Job) -> tuple[EventView, ...]:
            raise Refused(403, "events is forbidden")

    class Seen:
        jobs = MappingProxyType({NAME: job()})
        pods = ()

    assert await read_rejections(cast("Api", Events()), cast("Snapshot", Seen()), NOW) == {}
