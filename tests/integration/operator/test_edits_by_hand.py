"""Labels that somebody removes by hand: what has lost them is found again, and nothing is lost."""

import json
from datetime import UTC, datetime

import pytest
from support.world import World

from .conftest import Operator

pytestmark = pytest.mark.slow

MODEL, STAGE = "speechops.dev/model", "speechops.dev/stage"


def labels(operator: Operator, kind: str) -> dict[str, str]:
    found = operator.kubectl.get(kind, operator.name)
    assert found
    return dict(found["metadata"].get("labels", {}))


def test_the_objects_of_a_server_get_back_the_labels_that_find_them(operator: Operator) -> None:
    operator.publish(replicas=2)
    operator.step()
    kinds = ("deployment", "service", "poddisruptionbudget")
    before = {kind: labels(operator, kind) for kind in kinds}
    for kind in kinds:
        operator.kubectl("label", kind, operator.name, f"{MODEL}-", f"{STAGE}=other", "--overwrite")
    assert operator.step() == ""
    assert {kind: labels(operator, kind) for kind in kinds} == before
    versions = [operator.kubectl.get(kind, operator.name) for kind in kinds]
    assert operator.step() == ""
    assert [operator.kubectl.get(kind, operator.name) for kind in kinds] == versions, "nothing is written twice"


def test_a_service_that_had_lost_its_labels_goes_when_it_is_renamed(operator: Operator) -> None:
    operator.publish(replicas=1)
    operator.step()
    operator.kubectl("label", "service", operator.name, f"{MODEL}-")
    operator.step()
    operator.edit({"service": {"name": f"{operator.name}-other"}})
    operator.step()
    assert operator.kubectl.get("service", operator.name) is None
    assert operator.kubectl.get("service", f"{operator.name}-other")


def start(operator: Operator) -> str:
    """Create the SpeechModel, and return its first Job."""
    about = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": operator.name}}
    operator.kubectl.apply(about | {"spec": World().spec})
    operator.step()
    (job,) = operator.kubectl.find("jobs", f"{MODEL}={operator.name}")
    name: str = job["metadata"]["name"]
    return name


@pytest.mark.parametrize(
    "edits", [["speechops.dev/key-", "speechops.dev/attempt-", f"{STAGE}-"], ["speechops.dev/attempt=x"]]
)
def test_a_job_is_known_by_its_name(operator: Operator, edits: list[str]) -> None:
    job = start(operator)
    operator.kubectl("label", "job", job, *edits, "--overwrite")
    assert operator.step() == ""
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    assert model["status"]["stages"][0]["job"] == job
    assert [each["metadata"]["name"] for each in operator.kubectl.find("jobs", f"{MODEL}={operator.name}")] == [job]


def test_a_workspace_that_has_lost_its_label_is_not_to_be_removed(operator: Operator) -> None:
    start(operator)
    claim = f"{operator.name}-workspace"
    operator.kubectl("label", "persistentvolumeclaim", claim, f"{MODEL}-")
    assert f"exists and lacks the label {MODEL}={operator.name}; set it if" in operator.step()
    operator.kubectl("label", "persistentvolumeclaim", claim, f"{MODEL}={operator.name}")
    assert operator.step() == ""


def jobs_of(operator: Operator) -> list[str]:
    """Return the names of the Jobs of the SpeechModel, whatever labels they have."""
    found = operator.kubectl.find("jobs")
    return [job["metadata"]["name"] for job in found if job["metadata"]["name"].startswith(f"{operator.name}-")]


def pod_of(operator: Operator, job: str) -> None:
    """Create the pod of a Job, which its controller would create, and let it run."""
    found = operator.kubectl.get("job", job)
    assert found
    template = found["spec"]["template"]
    marks = template["metadata"]["labels"] | {"batch.kubernetes.io/job-name": job}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": job, "labels": marks}, "spec": template["spec"]}
    operator.kubectl.apply(pod)
    operator.kubectl(
        "patch", "pod", job, "--subresource=status", "--type=merge", "-p", '{"status":{"phase":"Running"}}'
    )


@pytest.mark.parametrize("edit", [f"{MODEL}-", f"{MODEL}=another"])
@pytest.mark.parametrize("has_pod", [False, True], ids=["no pod", "a pod"])
def test_a_job_without_its_label_goes_on_and_can_be_stopped(operator: Operator, edit: str, has_pod: bool) -> None:
    job = start(operator)
    if has_pod:
        pod_of(operator, job)
    operator.kubectl("label", "job", job, edit, "--overwrite")
    for _ in range(2):
        assert operator.step() == ""
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    assert [(stage["job"], stage["state"]) for stage in model["status"]["stages"]] == [(job, "Running")]
    assert jobs_of(operator) == [job], "another one would write to the same workspace"
    operator.kubectl.patch(operator.name, {"suspend": True})
    assert operator.step() == ""
    assert jobs_of(operator) == []


def test_a_purge_without_its_label_is_waited_for(operator: Operator) -> None:
    operator.publish()
    operator.kubectl.patch(operator.name, {"publish": {"deletionPolicy": "Delete"}})
    operator.step()
    operator.kubectl("delete", "speechmodel", operator.name, "--wait=false")
    operator.step()
    (purge,) = jobs_of(operator)
    operator.kubectl("label", "job", purge, f"{MODEL}-")
    now = datetime.now(UTC).isoformat()
    ends = [{"type": kind, "status": "True", "lastTransitionTime": now} for kind in ("SuccessCriteriaMet", "Complete")]
    status = {"conditions": ends, "startTime": now, "completionTime": now}
    operator.kubectl(
        "patch", "job", purge, "--subresource=status", "--type=merge", "-p", json.dumps({"status": status})
    )
    operator.step()
    assert operator.kubectl.get("speechmodel", operator.name) is None


def test_a_cleared_status_leaves_the_server_and_what_a_deletion_removes(operator: Operator) -> None:
    operator.publish()
    operator.kubectl.patch(operator.name, {"publish": {"deletionPolicy": "Delete"}})
    operator.step()
    server = operator.kubectl.get("deployment", operator.name)
    clear = '[{"op": "remove", "path": "/status"}]'
    operator.kubectl("patch", "speechmodel", operator.name, "--subresource=status", "--type=json", "-p", clear)
    assert operator.step() == ""
    assert server and operator.kubectl.get("deployment", operator.name) == server
    operator.kubectl("patch", "speechmodel", operator.name, "--subresource=status", "--type=json", "-p", clear)
    operator.kubectl("delete", "speechmodel", operator.name, "--wait=false")
    operator.step()
    operator.step()
    assert [name for name in jobs_of(operator) if "-purge-" in name]
