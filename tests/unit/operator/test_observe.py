"""Jobs, pods and Deployments as a real API server shows them, read by the operator."""

from datetime import UTC, datetime
from typing import Any

import pytest
from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.views import Deployment, Job, Pod
from speechmodel_operator.cluster.waiting import podless
from speechmodel_plan.observed import RunState

NOW = datetime(2026, 1, 1, 0, 10, tzinfo=UTC)
Object = dict[str, Any]


def job_manifest(*conditions: str, deleted: bool = False) -> Object:
    metadata: Object = {
        "name": "espejo-train-0badcafe-2",
        "uid": "job-uid",
        "creationTimestamp": "2026-01-01T00:00:00Z",
        "labels": {
            "speechops.dev/model": "espejo",
            "speechops.dev/stage": "train",
            "speechops.dev/key": "0badcafe",
            "speechops.dev/attempt": "2",
        },
        "annotations": {"speechops.dev/settings": "abc"},
    }
    if deleted:
        metadata["deletionTimestamp"] = "2026-01-01T00:09:00Z"
    found = [{"type": c, "status": "True", "lastTransitionTime": "2026-01-01T00:05:00Z"} for c in conditions]
    return {"metadata": metadata, "spec": {}, "status": {"conditions": found}}


def job(*conditions: str, deleted: bool = False) -> Job:
    return Job.read(job_manifest(*conditions, deleted=deleted))


def pod(phase: str = "Running", *, deleted: str | None = None, **status: Any) -> Pod:
    metadata: Object = {
        "name": "espejo-train-0badcafe-2-x",
        "creationTimestamp": "2026-01-01T00:00:01Z",
        "labels": job_manifest()["metadata"]["labels"] | {"batch.kubernetes.io/job-name": "espejo-train-0badcafe-2"},
    }
    if deleted:
        metadata["deletionTimestamp"] = deleted
    containers = [{"name": "stage", "resources": {"limits": {"memory": "1Gi"}}}]
    manifest = {
        "metadata": metadata,
        "spec": {"nodeName": "gpu", "containers": containers},
        "status": {"phase": phase} | status,
    }
    return Pod.read(manifest)


def ended(code: int, message: str = "", reason: str = "Error") -> Object:
    state = {"exitCode": code, "reason": reason, "message": message, "finishedAt": "2026-01-01T00:04:00Z"}
    return {"containerStatuses": [{"name": "stage", "state": {"terminated": state}}]}


def waiting(reason: str, message: str = "") -> Object:
    return {"containerStatuses": [{"name": "stage", "state": {"waiting": {"reason": reason, "message": message}}}]}


UNSCHEDULABLE: Object = {
    "conditions": [
        {"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/2 nodes are available"}
    ]
}


@pytest.mark.parametrize(
    "jobs, pods, state, exit_code, trouble",
    [
        ([job()], [pod()], RunState.RUNNING, None, None),
        ([job()], [pod("Pending")], RunState.PENDING, None, None),
        ([job()], [pod("Pending", **UNSCHEDULABLE)], RunState.PENDING, None, "Unschedulable"),
        ([job()], [pod("Pending", **waiting("ImagePullBackOff"))], RunState.PENDING, None, "ImagePullFailed"),
        ([job()], [pod("Pending", **waiting("ContainerCreating"))], RunState.PENDING, None, None),
        ([job()], [], RunState.PENDING, None, "NoPod"),
        ([job("Complete")], [pod("Succeeded", **ended(0, "{}"))], RunState.SUCCEEDED, 0, None),
        ([job("FailureTarget")], [pod()], RunState.RUNNING, None, None),
        ([job("Failed")], [pod("Failed", **ended(65, "{}"))], RunState.FAILED, 65, None),
        ([job("Failed")], [pod("Failed", **ended(137, "", "OOMKilled"))], RunState.FAILED, 137, "OutOfMemory"),
        ([job("Failed")], [], RunState.FAILED, None, None),
        ([job(deleted=True)], [pod()], RunState.ENDING, None, None),
        ([], [pod()], RunState.ENDING, None, None),
        ([], [pod(deleted="2026-01-01T00:09:30Z")], RunState.ENDING, None, None),
        ([], [pod(deleted="2026-01-01T00:08:30Z")], RunState.ENDING, None, "PodStuck"),
    ],
)  # fmt: skip
def test_a_run_is_what_its_job_and_its_pods_say(
    jobs: list[Job], pods: list[Pod], state: RunState, exit_code: int | None, trouble: str | None
) -> None:
    (run,) = observe.stage_runs(jobs, pods, {}, NOW, {})
    assert (run.name, run.attempt, run.key) == ("espejo-train-0badcafe-2", 2, "0badcafe")
    assert (run.state, run.exit_code) == (state, exit_code)
    assert (run.trouble.reason if run.trouble else None) == trouble


def test_the_pod_of_a_deleted_job_that_has_ended_is_no_run() -> None:
    assert observe.stage_runs([], [pod("Failed", **ended(143))], {}, NOW, {}) == ()


@pytest.mark.parametrize("left", [[], [pod("Succeeded", **ended(0))]], ids=["without a pod", "with a pod that ended"])
def test_a_deleted_job_that_only_a_foreign_finalizer_keeps_is_no_run_after_a_minute(left: list[Pod]) -> None:
    early = datetime(2026, 1, 1, 0, 9, 30, tzinfo=UTC)
    (run,) = observe.stage_runs([job(deleted=True)], left, {}, early, {})
    assert run.state is RunState.ENDING, "its controller may be creating a pod"
    assert observe.stage_runs([job(deleted=True)], left, {}, NOW, {}) == ()


@pytest.mark.parametrize(
    "released, conditions, reason",
    [
        ("2026-01-01T00:09:50Z", (), None),
        ("2026-01-01T00:09:30Z", (), "NoPod"),
        ("2026-01-01T00:00:00Z", ("Suspended",), None),
    ],
    ids=["just admitted", "admitted a while ago", "the Job's controller has not seen it"],
)
def test_the_time_in_a_queue_does_not_count_as_time_without_a_pod(
    released: str, conditions: tuple[str, ...], reason: str | None
) -> None:
    manifest = job_manifest(*conditions)
    manifest["metadata"]["labels"] |= {"kueue.x-k8s.io/queue-name": "gpus"}
    manifest["status"] |= {"startTime": released}
    admitted = Job.read(manifest)
    (run,) = observe.stage_runs([admitted], [], {}, NOW, {})
    assert (run.trouble.reason if run.trouble else None) == reason
    assert bool(podless([admitted], [], NOW)) == (reason is not None)
    assert run.created_at == datetime.fromisoformat(released)


def test_out_of_memory_names_the_limit_and_is_final() -> None:
    (run,) = observe.stage_runs([job("Failed")], [pod("Failed", **ended(137, "", "OOMKilled"))], {}, NOW, {})
    assert run.trouble
    assert run.trouble.final
    assert "1Gi" in run.trouble.message


def test_a_stuck_pod_names_node_and_pod_and_the_ways_out() -> None:
    (run,) = observe.stage_runs([], [pod(deleted="2026-01-01T00:00:00Z")], {}, NOW, {})
    assert run.trouble
    assert all(word in run.trouble.message for word in ("espejo-train-0badcafe-2-x", "node gpu", "kubectl delete node"))


@pytest.mark.parametrize(
    "status, settled, complete",
    [
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, True, True),
        ({"observedGeneration": 1, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}, False, False),
        ({"observedGeneration": 2, "replicas": 3, "updatedReplicas": 2, "readyReplicas": 3}, False, False),
        ({"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1}, False, True),
        ({"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1}, False, True),
        ({}, False, False),
        ({"observedGeneration": 2}, False, False),
    ],
)
def test_a_deployment_is_settled_when_every_replica_is_new_and_ready(
    status: Object, settled: bool, complete: bool
) -> None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 2},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": status,
    }
    server = observe.server_of(Deployment.read(deployment), [], NOW, {})
    assert server
    assert (server.version, server.settled, server.complete) == ("v1", settled, complete)


@pytest.mark.parametrize(
    "applied_generation, settled",
    [(2, True), (3, False), (None, False)],
    ids=["scaled since", "not seen yet", "after a restart"],
)
def test_a_deployment_that_an_autoscaler_scales_stays_settled(applied_generation: int | None, settled: bool) -> None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 3},
        "spec": {"replicas": 4, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 2},
    }
    given = Deployment.read(deployment)
    server = observe.server_of(given, [], NOW, {}, least=2, applied_generation=applied_generation)
    assert server
    assert server.settled is settled
    fixed = observe.server_of(given, [], NOW, {}, applied_generation=applied_generation)
    assert fixed
    assert not fixed.settled, "without an autoscaler, every replica counts"


@pytest.mark.parametrize("wanted, settled", [("abc", True), ("def", False), (None, True)])
def test_a_deployment_that_was_made_from_another_spec_is_not_settled(wanted: str | None, settled: bool) -> None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 2, "annotations": {"speechops.dev/applied": "abc"}},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1, "readyReplicas": 1},
    }
    server = observe.server_of(Deployment.read(deployment), [], NOW, {}, wanted)
    assert server
    assert server.settled is settled
    assert server.steady, "every replica is ready all the same"


def test_a_purge_without_its_secret_will_not_heal() -> None:
    manifest = job_manifest()
    manifest["metadata"]["labels"]["speechops.dev/stage"] = "purge"
    purge = Job.read(manifest)
    stuck = pod("Pending", **waiting("CreateContainerConfigError", 'secret "s3" not found'))
    found = observe.purge_of(purge, [stuck], NOW, {})
    assert found
    assert found.failure
    assert found.failure.final
    assert 'secret "s3" not found' in found.failure.message


def test_a_purge_in_a_queue_says_so() -> None:
    manifest = job_manifest()
    manifest["metadata"]["labels"] |= {"speechops.dev/stage": "purge", "kueue.x-k8s.io/queue-name": "gpus"}
    manifest["spec"] = {"suspend": True}
    found = observe.purge_of(Job.read(manifest), [], NOW, {})
    assert found and found.failure and not found.finished
    assert (found.failure.reason, found.failure.final) == ("QueuedByKueue", False)
    assert found.queued


def test_a_purge_whose_pod_is_rejected_or_gets_no_volume_says_why() -> None:
    manifest = job_manifest()
    manifest["metadata"] |= {"uid": "purge-uid"}
    rejected = {"purge-uid": "exceeded quota: small, requested: cpu=100m"}
    found = observe.purge_of(Job.read(manifest), [], NOW, rejected)
    assert found and found.failure and rejected["purge-uid"] in found.failure.message
    assert (found.failure.reason, found.failure.final) == ("QuotaExceeded", False)
    scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": "2026-01-01T00:00:02Z"}
    mounting = pod("Pending", conditions=[scheduled, {"type": "PodReadyToStartContainers", "status": "False"}])
    missing = {mounting.metadata.uid: 'MountVolume.SetUp failed for volume "ca-bundle": configmap "cas" not found'}
    found = observe.purge_of(Job.read(manifest), [mounting], NOW, missing)
    assert found and found.failure
    assert (found.failure.reason, found.failure.final) == ("CredentialsMissing", False), "it may appear in two minutes"


QUEUE = "kueue.x-k8s.io/queue-name"


@pytest.mark.parametrize(
    "given, created_with, of_model, relabelled",
    [
        ({QUEUE: "wrong"}, "kueue.x-k8s.io/queue-name=wrong", {QUEUE: "gpus"}, True),
        ({QUEUE: "gpus"}, "kueue.x-k8s.io/queue-name=gpus", {QUEUE: "gpus", "team": "speech"}, False),
        ({QUEUE: "gpus"}, "kueue.x-k8s.io/queue-name=gpus", {}, True),
        ({QUEUE: "default"}, "", {}, False),
        ({}, "", {QUEUE: "gpus"}, True),
        (
            {QUEUE: "gpus"},
            "kueue.x-k8s.io/queue-name=gpus",
            {QUEUE: "gpus", "kueue.x-k8s.io/priority-class": "low"},
            True,
        ),
        ({QUEUE: "wrong"}, None, {QUEUE: "gpus"}, True),
        ({QUEUE: "gpus"}, None, {QUEUE: "gpus"}, False),
        ({QUEUE: "default"}, None, {}, False),
    ],
    ids=[
        "corrected",
        "the same",
        "removed",
        "set by a webhook",
        "added",
        "a priority",
        "an old Job",
        "an old Job, the same",
        "an old Job in Kueue's default queue",
    ],
)
def test_a_job_that_waits_is_relabelled_once_the_model_has_other_labels_for_kueue(
    given: dict[str, str], created_with: str | None, of_model: dict[str, str], relabelled: bool
) -> None:
    manifest = job_manifest()
    manifest["metadata"]["labels"] |= given
    if created_with is not None:
        manifest["metadata"]["annotations"]["speechops.dev/inherited"] = created_with

    def seen(suspend: bool, *pods: Pod) -> tuple[bool, bool]:
        found = Job.read(manifest | {"spec": {"suspend": suspend}})
        (run,) = observe.stage_runs([found], pods, {}, NOW, {}, model_labels=of_model)
        purge = observe.purge_of(found, pods, NOW, {}, of_model)
        return run.relabelled, purge is not None and purge.relabelled

    assert seen(True) == (relabelled, relabelled)
    assert seen(False) == (False, False), "a Job that was admitted keeps its queue"
    assert not seen(True, pod())[0], "its pod still saves, after Kueue took its place"


def test_a_purge_that_was_admitted_is_in_no_queue_once_its_job_has_started_again() -> None:
    manifest = job_manifest()
    manifest["metadata"]["labels"] |= {"speechops.dev/stage": "purge", "kueue.x-k8s.io/queue-name": "gpus"}
    earlier = {"startTime": "2026-01-01T00:00:00Z"}

    def queued(status: Object) -> bool:
        found = observe.purge_of(Job.read(manifest | {"status": status}), [], NOW, {})
        assert found
        return found.queued

    assert queued({})
    assert queued(earlier | {"conditions": [{"type": "Suspended", "status": "True"}]})
    assert not queued(earlier | {"conditions": [{"type": "Suspended", "status": "False"}]})
    assert not queued(earlier)
