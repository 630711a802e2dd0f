"""A value that the schema lets through and the types reject: the status says what to correct, and the servers go on."""

from typing import Any

import pytest

from .conftest import Operator
from .test_canary import patch_status

SENTENCE = "spec.training.augmentation: 'reverb[p=2]': p is 2; every value must be from 0 to 1"


@pytest.mark.parametrize("after_event", [True, False], ids=["after an event", "without an event"])
def test_a_served_model_is_stalled_until_the_value_is_corrected(operator: Operator, after_event: bool) -> None:
    take = operator.react if after_event else operator.step
    version = operator.publish().status.latest_version
    assert take() == ""
    counts = dict.fromkeys(("replicas", "updatedReplicas", "readyReplicas"), 1)
    patch_status(operator, "deployment", operator.name, counts | {"observedGeneration": 1})
    assert take() == ""
    served = operator.kubectl.get("deployment", operator.name)
    assert served
    operator.kubectl.patch(operator.name, {"training": {"augmentation": ["reverb[p=2]"]}, "serving": {"replicas": 3}})

    assert take() == SENTENCE
    status, conditions = read(operator)
    assert (status["phase"], status["observedGeneration"]) == ("Failed", 2)
    stalled, ready = conditions["Stalled"], conditions["Ready"]
    assert (stalled["reason"], stalled["message"]) == ("InvalidSpec", SENTENCE)
    assert (ready["status"], ready["observedGeneration"]) == ("True", 2)
    assert f"version {version} is served" in ready["message"]
    assert "Reconciling" not in conditions
    assert operator.kubectl.get("deployment", operator.name) == served
    assert take() == SENTENCE
    assert events(operator) == ["InvalidSpec"], "it is posted once"

    operator.kubectl.patch(operator.name, {"training": {"augmentation": "Auto"}})
    assert take() == ""
    status, conditions = read(operator)
    assert status["observedGeneration"] == 3
    assert "Stalled" not in conditions
    changed = operator.kubectl.get("deployment", operator.name)
    assert changed and changed["spec"]["replicas"] == 3


def test_a_model_with_a_wrong_value_can_be_deleted(operator: Operator) -> None:
    operator.publish()
    operator.kubectl.patch(
        operator.name, {"training": {"augmentation": ["reverb[p=2]"]}, "publish": {"deletionPolicy": "Delete"}}
    )
    operator.kubectl("patch", "sm", operator.name, "--type=merge", "-p", FINALIZER)
    operator.kubectl("delete", "sm", operator.name, "--wait=false")
    assert operator.step() == ""
    assert len(operator.kubectl.find("jobs", f"speechops.dev/model={operator.name},speechops.dev/stage=purge")) == 1


FINALIZER = '{"metadata":{"finalizers":["speechops.dev/cleanup"]}}'


def read(operator: Operator) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the status of the model, and its conditions by type."""
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    return model["status"], {each["type"]: each for each in model["status"]["conditions"]}


def events(operator: Operator) -> list[str]:
    """Return the reasons of the Warnings about the model."""
    model = {"kind": "SpeechModel", "name": operator.name}
    about = [each for each in operator.kubectl.find("events") if model.items() <= each["involvedObject"].items()]
    return [each["reason"] for each in about if each["type"] == "Warning"]
