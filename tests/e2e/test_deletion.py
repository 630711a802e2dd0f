"""`kubectl delete speechmodel`: children go, what is to be kept stays, and nothing hangs."""

from pathlib import Path
from typing import Any

import pytest
from kubecluster import faults
from support.kube import Kubectl, Model, Object
from support.spaces import Space

DELETE_ALL = {"deletionPolicy": "Delete"}


def deleting(space: Space, name: str = "espejo", **training: Any) -> Object:
    """A manifest that leaves nothing behind."""
    manifest = space.manifest(name, storage={"retentionPolicy": "Delete"}, **training)
    manifest["spec"]["publish"] |= DELETE_ALL
    return manifest


def gone(space: Space, model: Model) -> None:
    """Wait until the model and everything that it owned is gone."""
    selector = f"speechops.dev/model={model.name}"
    space.kubectl.until(lambda: space.kubectl.get("speechmodel", model.name) is None, f"{model.name} is gone")

    def left() -> list[str]:
        kinds = ("jobs", "pods", "deployments", "services", "pvc")
        things = [(kind, t["metadata"]) for kind in kinds for t in space.kubectl.find(kind, selector)]
        return [f"{kind}/{m['name']}" for kind, m in things if "-purge-" not in m["name"]]

    space.kubectl.until(lambda: not left(), "its children are gone")


def warnings(space: Space) -> list[str]:
    """Messages of Warning events with the reason PurgeFailed."""
    selector = "--field-selector=reason=PurgeFailed"
    return space.kubectl(
        "get", "events", selector, "-o", "jsonpath={range .items[*]}{.message}{'\\n'}{end}"
    ).splitlines()


def test_deleted_in_mid_training_nothing_stays(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(deleting(space, maxEpochs=500))
    model.until_epoch(1)
    space.kubectl("delete", "speechmodel", model.name, "--wait=false")
    gone(space, model)
    assert warnings(space) == []


def test_deleted_when_ready_the_published_objects_go_too(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    manifest = deleting(space)
    manifest["spec"]["serving"] = {"replicas": 1}
    model = space.apply(manifest)
    model.until_ready()
    assert any(key.endswith(".pbmm") for key in space.objects())
    space.s3.put_object(Bucket=space.bucket, Key=f"{space.kubectl.namespace}/{model.name}-other/keep", Body=b"x")
    space.kubectl("delete", "speechmodel", model.name, "--wait=false")
    gone(space, model)
    assert space.objects() == [f"{space.kubectl.namespace}/{model.name}-other/keep"]
    assert warnings(space) == []


def test_deleted_while_the_operator_is_down_it_is_cleaned_up_at_its_next_start(
    space: Space, operator: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    model = space.apply(deleting(space))
    model.until_ready()
    operator("scale", "deployment/speechmodel-operator", "--replicas=0")
    try:
        operator.until(
            lambda: not operator.find("pods", "app.kubernetes.io/name=speechmodel-operator"), "the operator ended"
        )
        space.kubectl("delete", "speechmodel", model.name, "--wait=false")
        assert space.kubectl.get("speechmodel", model.name)
    finally:
        operator("scale", "deployment/speechmodel-operator", "--replicas=1")
    gone(space, model)
    assert space.objects() == []


def test_with_the_secret_gone_the_deletion_ends_and_an_event_says_what_is_left(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    model = space.apply(deleting(space))
    model.until_ready()
    space.kubectl("delete", "secret", "s3")
    space.kubectl("delete", "speechmodel", model.name, "--timeout=600s")
    gone(space, model)
    (message,) = warnings(space)
    assert f"s3://{space.bucket}/{space.kubectl.namespace}/{model.name}/" in message
    assert any(key.endswith(".pbmm") for key in space.objects())


def test_with_s3_unreachable_the_deletion_is_bounded(space: Space, small_dataset: Path) -> None:
    layout = space.target.layout
    if layout is None:
        pytest.skip("S3 is frozen only on the cluster that the tests bring up")
    space.dataset(small_dataset)
    model = space.apply(deleting(space))
    model.until_ready()
    faults.freeze_service(layout, "controllers", "weed")
    try:
        space.kubectl("delete", "speechmodel", model.name, "--timeout=600s")
        gone(space, model)
    finally:
        faults.thaw_service(layout, "controllers", "weed")
    assert len(warnings(space)) == 1


def test_a_retained_claim_is_taken_up_again_by_a_model_of_the_same_name(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    first = space.apply(space.manifest())
    first.until_ready()
    graph = first.stage("train")["output"]["graphSha256"]
    space.kubectl("delete", "speechmodel", first.name, "--wait=false")
    space.kubectl.until(lambda: space.kubectl.get("speechmodel", first.name) is None, "the model is gone")
    space.kubectl.until(lambda: not space.kubectl.find("pods", f"speechops.dev/model={first.name}"), "no pod is left")
    claim = space.kubectl.get("pvc", f"{first.name}-workspace")
    assert claim
    again = space.apply(space.manifest())
    again.until_ready()
    assert again.stage("train")["output"]["graphSha256"] == graph
    assert again.stage("train")["claimUID"] == claim["metadata"]["uid"]
