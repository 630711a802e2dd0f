"""Labels that somebody removes by hand: what has lost them is found again, and nothing is lost."""

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
