"""Why a run or a rollout makes no progress: one reason each, in the words of the cluster, and gone once it is over."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from speechmodel_api.reasons import Severity, severity_of
from speechmodel_operator.cluster import observe, pods
from speechmodel_operator.cluster.errors import Refused, cluster_error
from speechmodel_operator.cluster.views import Deployment, Job, Pod
from speechmodel_plan.observed import Run, RunState, Trouble
from support.views import as_sent, with_metadata

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
    return Job.read({"metadata": metadata, "spec": {"suspend": suspend}, "status": {"conditions": ends}})


def pod(phase: str = "Pending", limits: Object | None = None, **status: Any) -> Pod:
    metadata = {
        "name": f"{NAME}-x",
        "uid": "pod-uid",
        "creationTimestamp": "2026-01-01T00:00:01Z",
        "labels": {"speechops.dev/stage": "train", "batch.kubernetes.io/job-name": NAME},
    }
    containers = [{"name": "stage", "resources": {"limits": {"memory": "1Gi"} if limits is None else limits}}]
    spec = {"nodeName": "gpu", "containers": containers}
    return Pod.read({"metadata": metadata, "spec": spec, "status": {"phase": phase} | status})


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
    (run,) = observe.stage_runs([job], pods, {}, NOW, {"job-uid": rejection})
    return run


UNMOUNTED: Object = {
    "conditions": [condition("PodScheduled", "True"), condition("PodReadyToStartContainers", "False")],
}
PRE_BIND, ERROR = 'running PreBind plugin "VolumeBinding":', "SchedulerError"
QUOTA = 'pods "x" is forbidden: exceeded quota: compute, requested: cpu=1, used: cpu=4, limited: cpu=4'
UNSPECIFIED = 'pods "x" is forbidden: failed quota: compute: must specify limits.cpu for: stage'
STANDARD = 'pods "x" is forbidden: violates PodSecurity "restricted:latest": runAsNonRoot != true'


@pytest.mark.parametrize(
    ("status", "reason", "words"),
    [
        (unscheduled("0/2 nodes are available: 2 Insufficient cpu."), "Unschedulable", "Insufficient cpu"),
        (unscheduled("0/2 nodes: pod has unbound immediate PersistentVolumeClaims."), "VolumePending", "unbound"),
        (unscheduled('persistentvolumeclaim "espejo-dataset" not found'), "VolumePending", "espejo-dataset"),
        (unscheduled("2 node(s) had volume node affinity conflict."), "VolumePending", "affinity conflict"),
        (unscheduled("2 node(s) didn't find available persistent volumes to bind."), "VolumePending", "to bind"),
        (unscheduled(f"{PRE_BIND} binding volumes: context deadline exceeded", ERROR), "VolumePending", "deadline"),
        (unscheduled(f'{PRE_BIND} provisioning failed for PVC "w"', ERROR), "VolumePending", "provisioning failed"),
        (unscheduled('running "Other" filter plugin: timeout', ERROR), "Unschedulable", "timeout"),
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
        ("Killed", "CrashLoopBackOff", "CrashLoopBackOff", "CrashLoopBackOff: Killed"),
        ("", "CrashLoopBackOff", "CrashLoopBackOff", "CrashLoopBackOff: it exits again and again, last with code 65"),
        ({"error": {"reason": "DownloadFailed", "message": "gone"}}, "ErrImagePull", "ImagePullFailed", "ErrImagePull"),
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
    (run,) = observe.stage_runs([job()], [pod(**UNMOUNTED)], {}, early, {})
    assert run.trouble is None


@pytest.mark.parametrize(
    ("rejection", "reason"),
    [
        (QUOTA, "QuotaExceeded"),
        (UNSPECIFIED, "ResourcesRefused"),
        ("minimum cpu usage per Container is 200m, but request is 100m", "ResourcesRefused"),
        ("maximum memory usage per Pod is 1Gi.  No limit is specified", "ResourcesRefused"),
        ('Invalid value: "256Mi": must be less than or equal to memory limit of 128Mi', "ResourcesRefused"),
        ("cpu max limit to request ratio per Container is 2, but provided ratio is 20.000000", "ResourcesRefused"),
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


@pytest.mark.parametrize(
    ("stage", "field"), [("train", "training.podTemplate.resources"), ("publish", "training.stageResources")]
)
def test_a_pod_without_the_limits_that_a_quota_demands_names_the_field_that_sets_them(stage: str, field: str) -> None:
    waits = job()
    of_stage = with_metadata(waits, labels={**waits.metadata.labels, "speechops.dev/stage": stage})
    trouble = run_of(of_stage, rejection=UNSPECIFIED).trouble
    assert trouble
    assert trouble.message.endswith(f"must specify limits.cpu for: stage; set the requests and limits in {field}")
    assert severity_of(trouble.reason) is Severity.ERROR, "it does not pass by itself"


def test_a_job_in_a_queue_says_so_and_is_not_missed_as_a_job_without_a_pod() -> None:
    run = run_of(job(suspend=True, queue="gpus"))
    assert run.state is RunState.PENDING
    assert run.trouble == Trouble("QueuedByKueue", f"Job {NAME} waits in the queue gpus of Kueue")
    by_hand = run_of(job(suspend=True)).trouble
    assert by_hand
    assert by_hand.reason == "JobSuspended"
    assert run_of(job(queue="gpus"), pod("Running")).trouble is None


def killed(component: str, limits: Object, name: str = "stage") -> tuple[Job, Pod]:
    """Return a Job, and its pod whose only container was killed because memory ran out."""
    state = {"terminated": {"exitCode": 137, "reason": "OOMKilled", "finishedAt": "2026-01-01T00:04:00Z"}}
    found = pod("Failed", limits, containerStatuses=[{"name": name, "state": state}])
    labelled = {**found.metadata.labels, "speechops.dev/stage": component}
    return job(failed=True), with_metadata(found, labels=labelled)


@pytest.mark.parametrize(
    ("component", "limit", "remedy"),
    [
        (
            "train",
            "1Gi",
            "set training.podTemplate.resources.limits.memory to 2Gi, or lower hyperparameters.batchSize or",
        ),
        ("train", "1500M", "set training.podTemplate.resources.limits.memory to 2862Mi, or lower"),
        ("prepare", "300Mi", "set training.stageResources.limits.memory to 600Mi"),
        ("evaluate", "512Mi", "set training.stageResources.limits.memory to 1Gi"),
    ],
)
def test_a_memory_limit_that_was_exceeded_is_named_with_its_field_and_a_larger_one(
    component: str, limit: str, remedy: str
) -> None:
    trouble = run_of(*killed(component, {"memory": limit})).trouble
    assert trouble
    assert (trouble.reason, trouble.final) == ("OutOfMemory", True)
    assert trouble.message.startswith(f"container stage exceeded its memory limit {limit}; {remedy}")
    assert ("batchSize" in trouble.message) == (component == "train")


@pytest.mark.parametrize(
    ("component", "field"), [("train", "training.podTemplate.resources"), ("convert", "training.stageResources")]
)
def test_without_a_limit_the_memory_of_the_node_ran_out_which_may_pass(component: str, field: str) -> None:
    trouble = run_of(*killed(component, {})).trouble
    assert trouble
    assert (trouble.reason, trouble.final) == ("OutOfMemory", False)
    assert "was killed because node gpu had no memory left" in trouble.message
    assert f"set {field}.requests.memory to what it needs" in trouble.message


@pytest.mark.parametrize(
    ("reason", "message", "reported"),
    [
        ("NodeShutdown", "Pod was rejected as the node is shutting down.", "Evicted"),
        ("UnexpectedAdmissionError", "Allocate failed: no healthy devices", "PodLost"),
    ],
)
def test_a_pod_that_its_node_rejects_quotes_it_and_one_of_a_node_that_shuts_down_is_no_failure(
    reason: str, message: str, reported: str
) -> None:
    rejected = pod("Failed", reason=reason, message=message)
    trouble = run_of(job(failed=True), rejected).trouble
    assert trouble
    assert trouble.reason == reported
    assert f"on node gpu was rejected by its node ({reason}): {message}" in trouble.message
    assert pods.consequence(rejected) < pods.consequence(pod("Running")), "it is why the other workers end"


def test_a_run_that_failed_with_its_node_says_so() -> None:
    trouble = run_of(job(failed=True), pod("Failed", **disrupted("DeletionByTaintManager"))).trouble
    assert trouble
    assert trouble.reason == "NodeLost"


@pytest.mark.parametrize(
    ("conditions", "reason", "words"),
    [
        ([condition("ReplicaFailure", "True", "FailedCreate", QUOTA)], "QuotaExceeded", "limited: cpu=4"),
        ([condition("ReplicaFailure", "True", "FailedCreate", STANDARD)], "PodSecurityDenied", "runAsNonRoot"),
        (
            [condition("ReplicaFailure", "True", "FailedCreate", UNSPECIFIED)],
            "ResourcesRefused",
            "must specify limits.cpu for: stage; set the requests and limits in serving.podTemplate.resources",
        ),
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
        "metadata": {"name": "espejo", "generation": 2, "labels": {"speechops.dev/stage": "server"}},
        "spec": {"replicas": 2, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "readyReplicas": 1, "conditions": conditions},
    }
    server = observe.server_of(Deployment.read(deployment), [], NOW, {})
    assert server
    assert (server.trouble.reason if server.trouble else None) == reason
    assert server.trouble is None or words in server.trouble.message
    counts = {"replicas": 2, "updatedReplicas": 2, "readyReplicas": 2}
    settled = deployment | {"status": {"observedGeneration": 2, "conditions": conditions} | counts}
    healed = observe.server_of(Deployment.read(settled), [], NOW, {})
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
    waiting_pod = with_metadata(pod(**unscheduled(message)), labels={"speechops.dev/version": "v1"})
    server = observe.server_of(Deployment.read(deployment), [waiting_pod], NOW, {})
    assert server and server.trouble == Trouble("VolumePending", message)


def test_a_crashed_server_of_the_settings_before_is_no_reason_once_there_is_a_pod_with_new_ones() -> None:
    deployment = Deployment.read(
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
        return Pod.read(as_sent(found) | {"metadata": changed})

    last = {"terminated": {"exitCode": 78, "message": "Killed"}}
    state = {"name": "server", "state": {"waiting": {"reason": "CrashLoopBackOff"}}, "lastState": last}
    crashed = server_pod("old", "2026-01-01T00:00:01Z", containerStatuses=[state])
    starting = server_pod("new", "2026-01-01T00:00:09Z")
    alone = observe.server_of(deployment, [crashed], NOW, {})
    assert alone and alone.trouble and alone.trouble.reason == "CrashLoopBackOff"
    both = observe.server_of(deployment, [crashed, starting], NOW, {})
    assert both and both.trouble is None


OOM: Object = {"exitCode": 137, "reason": "OOMKilled"}
LOST: Object = {"exitCode": 137, "reason": "ContainerStatusUnknown", "startedAt": None, "finishedAt": None}
"""The end of a container whose node was restarted. The kubelet knows no times."""


def crashing(
    state: Object, restarts: int, last: Object | None = None, *, name: str = "server", ready: bool = False
) -> Pod:
    """Return a pod of a server whose container `name` is in that state after so many restarts."""
    times = {"startedAt": "2026-01-01T00:08:00Z", "finishedAt": "2026-01-01T00:08:02Z"}
    last_state = {"terminated": times | last} if last else {}
    status = {"name": name, "state": state, "lastState": last_state, "restartCount": restarts, "ready": ready}
    labels = {"speechops.dev/version": "v1", "speechops.dev/stage": "server"}
    spec = {
        "nodeName": "n",
        "containers": [{"name": "server", "resources": {"limits": {"memory": "64Mi"}}}],
        "initContainers": [{"name": "fetch", "resources": {"limits": {"memory": "96Mi"}}}],
    }
    statuses = {"initContainerStatuses" if name == "fetch" else "containerStatuses": [status]}
    metadata = {"name": "espejo-x", "creationTimestamp": "2026-01-01T00:00:01Z", "labels": labels}
    return Pod.read({"metadata": metadata, "spec": spec, "status": {"phase": "Running", **statuses}})


def server_trouble(*pods: Pod, now: datetime = NOW) -> Trouble | None:
    deployment = {
        "metadata": {"name": "espejo", "generation": 2},
        "spec": {"replicas": 1, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
        "status": {"observedGeneration": 2, "replicas": 1, "updatedReplicas": 1},
    }
    server = observe.server_of(Deployment.read(deployment), pods, now, {})
    assert server
    return server.trouble


BACK_OFF: Object = {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 20s restarting failed container"}}


def running(since: str) -> Object:
    return {"running": {"startedAt": since}}


@pytest.mark.parametrize(("name", "limit", "larger"), [("server", "64Mi", "128Mi"), ("fetch", "96Mi", "192Mi")])
def test_a_server_that_exceeds_its_memory_limit_says_so_instead_of_that_it_is_started_again(
    name: str, limit: str, larger: str
) -> None:
    trouble = server_trouble(crashing(BACK_OFF, 1, OOM, name=name))
    remedy = f"set serving.podTemplate.resources.limits.memory to {larger}"
    assert trouble == Trouble(
        "OutOfMemory", f"container {name} exceeded its memory limit {limit}; {remedy}", final=True
    )


@pytest.mark.parametrize(
    "last",
    [
        OOM,
        {"exitCode": 1, "message": "Killed"},
        {"exitCode": 139},
        {"exitCode": 78, "message": json.dumps({"error": {"reason": "InvalidServerSettings", "message": "no"}})},
    ],
    ids=["out of memory", "with a message", "without one", "with a reason of its own"],
)
def test_a_crash_loop_has_one_reason_and_one_message_while_the_container_is_started_again(last: Object) -> None:
    """What kubectl shows between two crashes: the container ended, waits, is being started, and runs for a moment."""
    ended = {"terminated": {"startedAt": "2026-01-01T00:09:50Z", "finishedAt": "2026-01-01T00:09:52Z"} | last}
    longer = {"waiting": BACK_OFF["waiting"] | {"message": "back-off 40s restarting failed container"}}
    shown = [
        crashing(BACK_OFF, 1, last),
        crashing(running("2026-01-01T00:09:50Z"), 2, last),
        crashing(ended, 2, last),
        crashing(longer, 2, last),
        crashing(running("2026-01-01T00:09:58Z"), 3, last),
    ]
    (only,) = {server_trouble(each) for each in shown}
    assert only


@pytest.mark.parametrize(
    ("state", "restarts", "last", "ready"),
    [
        (running("2026-01-01T00:09:58Z"), 3, {"exitCode": 1}, True),
        (running("2025-12-31T23:59:00Z"), 3, {"exitCode": 1}, False),
        (running("2026-01-01T00:09:58Z"), 1, {"exitCode": 1}, False),
        (running("2026-01-01T00:09:58Z"), 9, {"exitCode": 1, "startedAt": "2025-12-31T00:00:00Z"}, False),
        (running("2026-01-01T00:09:58Z"), 2, LOST, False),
        ({"terminated": {"exitCode": 1}}, 0, None, False),
        ({"waiting": {"reason": "PodInitializing"}}, 3, {"exitCode": 1}, False),
    ],
    ids=[
        "ready",
        "runs for long",
        "crashed once",
        "ran for long before",
        "its node restarted",
        "crashes first",
        "waits for fetch",
    ],
)
def test_a_container_that_may_have_recovered_is_not_in_a_crash_loop(
    state: Object, restarts: int, last: Object | None, ready: bool
) -> None:
    assert server_trouble(crashing(state, restarts, last, ready=ready)) is None


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
    deployment = Deployment.read(
        {
            "metadata": {"name": "espejo", "generation": 2},
            "spec": {"replicas": 2, "template": {"metadata": {"labels": {"speechops.dev/version": "v1"}}}},
            "status": {"observedGeneration": 2, "replicas": 2, "updatedReplicas": 2, "readyReplicas": 1},
        }
    )

    def served(made: Pod, deletion: str | None = None) -> Pod:
        changed = {"labels": {"speechops.dev/version": "v1"}, "deletionTimestamp": deletion}
        document = as_sent(made)
        return Pod.read(document | {"metadata": document["metadata"] | changed})

    old, new = served(pod(phase, **status), deleted), served(pod(**unscheduled("0/2 nodes are available")))
    alone = observe.server_of(deployment, [old], NOW, {})
    assert alone and alone.trouble is None
    both = observe.server_of(deployment, [old, new], NOW, {})
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
