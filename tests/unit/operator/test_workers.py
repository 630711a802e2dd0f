"""The Job and the Service of several workers, and what their pods say about the run."""

import json
from typing import Any

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.train import TrainInput
from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.views import Job, Pod
from speechmodel_operator.resources import jobs, workers
from speechmodel_plan.observed import RunState
from speechmodel_plan.plan import StageRun
from support.views import with_metadata
from support.world import World

from .test_observe import NOW, UNSCHEDULABLE, Object, ended, job_manifest, pod
from .test_resources import IMAGES, OWNER


def train_job(number: int, *, one_node: bool = True, **template: Any) -> Object:
    world = World()
    world.edit(training__numWorkers=number, training__podTemplate=template)
    world.until(StageName.TRAIN)
    run = world.plan.start if world.plan else None
    assert isinstance(run, StageRun)
    assert isinstance(run.document, TrainInput)
    return jobs.stage_job(IMAGES, OWNER, world.observe().spec, run, {}, one_node=one_node)


def environment(job: Object) -> dict[str, Object]:
    return {each["name"]: each for each in job["spec"]["template"]["spec"]["containers"][0]["env"]}


def test_one_worker_has_the_job_that_it_always_had() -> None:
    job = train_job(1)
    assert not {"completions", "completionMode"} & set(job["spec"])
    assert "TF_CONFIG" not in environment(job)
    assert not {"subdomain", "affinity"} & set(job["spec"]["template"]["spec"])
    assert "ports" not in job["spec"]["template"]["spec"]["containers"][0]


def test_workers_are_pods_of_one_indexed_job_that_any_failure_ends() -> None:
    job = train_job(3)
    spec, name = job["spec"], job["metadata"]["name"]
    assert (spec["completionMode"], spec["completions"], spec["parallelism"]) == ("Indexed", 3, 3)
    assert spec["backoffLimit"] == 0
    assert "podFailurePolicy" not in spec, "no pod is replaced alone"
    index, config = environment(job)["JOB_COMPLETION_INDEX"], environment(job)["TF_CONFIG"]
    assert list(environment(job)).index("JOB_COMPLETION_INDEX") < list(environment(job)).index("TF_CONFIG")
    assert index["valueFrom"]["fieldRef"]["fieldPath"] == (
        "metadata.annotations['batch.kubernetes.io/job-completion-index']"
    )
    expanded = json.loads(config["value"].replace("$(JOB_COMPLETION_INDEX)", "2"))
    assert expanded["task"] == {"type": "worker", "index": 2}
    assert expanded["cluster"]["worker"] == [f"{name}-{i}.espejo-train.speech.svc:2222" for i in range(3)]


def test_the_service_names_the_pods_of_every_attempt_before_they_are_ready() -> None:
    service, template = workers.service(OWNER), train_job(2)["spec"]["template"]
    assert service["metadata"]["name"] == template["spec"]["subdomain"] == "espejo-train"
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["publishNotReadyAddresses"]
    assert service["spec"]["selector"].items() <= template["metadata"]["labels"].items()
    (port,), (own,) = service["spec"]["ports"], template["spec"]["containers"][0]["ports"]
    assert (port["port"], port["targetPort"]) == (own["containerPort"], own["name"])


def test_workers_share_a_node_unless_the_claim_can_be_mounted_on_several() -> None:
    others = {"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [{"topologyKey": "zone"}]}}
    given: Object = {"affinity": {**others, "nodeAffinity": {"x": 1}}}
    job = train_job(2, **given)
    affinity = job["spec"]["template"]["spec"]["affinity"]
    assert affinity["nodeAffinity"] == {"x": 1}
    theirs, ours = affinity["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert theirs == {"topologyKey": "zone"}
    assert ours["topologyKey"] == "kubernetes.io/hostname"
    assert ours["labelSelector"]["matchLabels"] == {"batch.kubernetes.io/job-name": job["metadata"]["name"]}
    assert train_job(2, one_node=False, **given)["spec"]["template"]["spec"]["affinity"] == given["affinity"]


def set_of(number: int, *conditions: str) -> Job:
    manifest = job_manifest(*conditions)
    return Job.read({**manifest, "spec": {"completions": number}})


def worker(index: int, phase: str = "Running", **status: Any) -> Pod:
    if phase == "Running":
        status = {"containerStatuses": [{"name": "stage", "state": {"running": {}}}]} | status
    found = pod(phase, **status)
    labels = {**found.metadata.labels, workers.INDEX: str(index)}
    return with_metadata(found, labels=labels)


def failed(reason: str, code: int = 75) -> Object:
    return ended(code, json.dumps({"error": {"reason": reason, "message": "it"}}))


NODE_LOST: Object = {"conditions": [{"type": "DisruptionTarget", "status": "True", "reason": "DeletionByTaintManager"}]}


@pytest.mark.parametrize(
    ("found", "ready", "state", "trouble"),
    [
        ([worker(0), worker(1), worker(2)], 3, RunState.RUNNING, None),
        ([worker(0), worker(2, "Pending"), worker(1)], 2, RunState.RUNNING, "WaitingForWorkers"),
        ([worker(0), worker(1, "Succeeded"), worker(2, "Succeeded")], 3, RunState.RUNNING, None),
        ([worker(0), worker(1), worker(2, "Pending", **UNSCHEDULABLE)], 2, RunState.RUNNING, "Unschedulable"),
        ([worker(0), worker(1)], 2, RunState.RUNNING, "NoPod"),
        ([], 0, RunState.PENDING, "NoPod"),
    ],
)
def test_a_set_tells_how_many_of_its_workers_run(
    found: list[Pod], ready: int, state: RunState, trouble: str | None
) -> None:
    (run,) = observe.stage_runs([set_of(3)], found, {}, NOW, {})
    assert (run.state, run.workers, run.workers_ready) == (state, 3, ready)
    assert (run.trouble.reason if run.trouble else None) == trouble


@pytest.mark.parametrize(
    ("found", "code", "trouble", "reported"),
    [
        (
            [worker(0, "Failed", **failed("WorkerLost")), worker(1, "Failed", **failed("LossDiverged", 78))],
            78,
            None,
            "LossDiverged",
        ),
        (
            [worker(0, "Failed", **failed("WorkerLost")), worker(1, "Failed", **failed("Stopped", 143))],
            143,
            None,
            "Stopped",
        ),
        (
            [worker(0, "Failed", **failed("WorkerLost")), worker(1, "Failed", **ended(137, "", "OOMKilled"))],
            137,
            "OutOfMemory",
            None,
        ),
        ([worker(0, "Failed", **failed("WorkerLost")), worker(1, "Failed", **NODE_LOST)], None, "NodeLost", None),
        ([worker(0, "Succeeded", **ended(0, "{}")), worker(1, "Failed", **failed("SystemError"))], 75, None, "SystemError"),
    ],
)  # fmt: skip
def test_a_set_failed_for_the_reason_of_the_worker_that_failed_first(
    found: list[Pod], code: int | None, trouble: str | None, reported: str | None
) -> None:
    (run,) = observe.stage_runs([set_of(2, "Failed")], found, {}, NOW, {})
    assert (run.state, run.exit_code) == (RunState.FAILED, code)
    assert (run.trouble.reason if run.trouble else None) == trouble
    assert (json.loads(run.result)["error"]["reason"] if run.result else None) == reported


def test_the_result_is_that_of_the_first_worker() -> None:
    found = [worker(1, "Succeeded", **ended(0, "theirs")), worker(0, "Succeeded", **ended(0, "ours"))]
    (run,) = observe.stage_runs([set_of(2, "Complete")], found, {}, NOW, {})
    assert (run.state, run.result) == (RunState.SUCCEEDED, "ours")


def test_a_set_has_not_ended_while_one_of_its_workers_still_saves() -> None:
    found = [worker(0), worker(1, "Failed", **failed("SystemError"))]
    (run,) = observe.stage_runs([set_of(2, "Failed")], found, {}, NOW, {})
    assert run.state is RunState.ENDING
