"""`kubectl delete speechmodel`: children go, what is to be kept stays, and nothing hangs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubecluster import faults
from support.kube import Kubectl, Model, Object
from support.spaces import Space, make_space, remove_space
from support.target import Target

NAME = "espejo"


@pytest.fixture(scope="module")
def space(target: Target, operator: Kubectl, small_dataset: Path) -> Iterator[Space]:
    made = make_space(target, "deletion")
    made.dataset(small_dataset)
    yield made
    remove_space(made)


@pytest.fixture(scope="module")
def first(space: Space) -> Object:
    """A model that was served, and deleted with all that it had published. Its claim stays, so no later one is trained."""
    manifest = deleting(space)
    manifest["spec"]["serving"] = {"replicas": 1}
    model = space.apply(manifest)
    model.until_ready()
    assert any(key.endswith(".pbmm") for key in space.objects())
    space.s3.put_object(Bucket=space.bucket, Key=f"{space.kubectl.namespace}/{NAME}-other/keep", Body=b"x")
    found = model.object
    space.kubectl("delete", "speechmodel", NAME, "--wait=false")
    gone(space, model)
    return found


def deleting(space: Space, name: str = NAME) -> Object:
    """A manifest that leaves nothing in S3."""
    manifest = space.manifest(name)
    manifest["spec"]["publish"]["deletionPolicy"] = "Delete"
    return manifest


def gone(space: Space, model: Model, *, claim: bool = False) -> None:
    """Wait until the model and everything that it owned is gone."""
    selector = f"speechops.dev/model={model.name}"
    space.kubectl.until(lambda: space.kubectl.get("speechmodel", model.name) is None, f"{model.name} is gone")

    def left() -> list[str]:
        kinds = ("jobs", "pods", "deployments", "services", *(["pvc"] if claim else []))
        things = [(kind, t["metadata"]) for kind in kinds for t in space.kubectl.find(kind, selector)]
        return [f"{kind}/{m['name']}" for kind, m in things if "-purge-" not in m["name"]]

    space.kubectl.until(lambda: not left(), "its children are gone")


def warnings(space: Space) -> set[str]:
    """Messages of Warning events with the reason PurgeFailed."""
    selector = "--field-selector=reason=PurgeFailed"
    lines = space.kubectl("get", "events", selector, "-o", "jsonpath={range .items[*]}{.message}{'\\n'}{end}")
    return set(lines.splitlines())


def test_deleted_when_ready_the_published_objects_go_too(space: Space, first: Object) -> None:
    assert space.objects() == [f"{space.kubectl.namespace}/{NAME}-other/keep"]
    assert warnings(space) == set()


def test_a_retained_claim_is_taken_up_again_by_a_model_of_the_same_name(space: Space, first: Object) -> None:
    claim = space.kubectl.get("pvc", f"{NAME}-workspace")
    assert claim
    again = space.apply(deleting(space))
    again.until_ready()
    trained = again.stage("train")
    assert trained["output"] == next(stage for stage in first["status"]["stages"] if stage["name"] == "train")["output"]
    assert trained["claimUID"] == claim["metadata"]["uid"]
    space.kubectl.patch(NAME, {"training": {"maxEpochs": 4}})
    continued = again.until_done("train")
    assert (continued["epoch"], continued["trainedEpochs"]) == (4, 1), "more epochs continue"
    space.kubectl("delete", "speechmodel", NAME)
    gone(space, again)


def test_deleted_while_the_operator_is_down_it_is_cleaned_up_at_its_next_start(
    space: Space, operator: Kubectl, first: Object
) -> None:
    model = space.apply(deleting(space))
    model.until_ready()
    place = f"/{model.object['metadata']['uid']}/"
    assert any(place in key for key in space.objects())
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
    assert not any(place in key for key in space.objects())


def test_with_the_secret_gone_the_deletion_ends_and_an_event_says_what_is_left(space: Space, first: Object) -> None:
    before = warnings(space)
    model = space.apply(deleting(space))
    model.until_ready()
    space.kubectl("delete", "secret", "s3")
    try:
        space.kubectl("delete", "speechmodel", model.name, "--timeout=600s")
        gone(space, model)
    finally:
        space.secret()
    found = warnings(space) - before  # a step that is repeated after a conflict may report it in other words
    address = f"s3://{space.bucket}/{space.kubectl.namespace}/{model.name}/"
    assert found
    assert all(address in message for message in found)
    assert any(key.endswith(".pbmm") for key in space.objects())


def test_with_s3_unreachable_the_deletion_is_bounded(space: Space, first: Object) -> None:
    layout = space.target.layout
    if layout is None:
        pytest.skip("S3 is frozen only on the cluster that the tests bring up")
    before = warnings(space)
    manifest = deleting(space)
    manifest["spec"]["training"]["storage"] = {"retentionPolicy": "Delete"}
    model = space.apply(manifest)
    model.until_ready()
    faults.freeze_service(layout, "controllers", "weed")
    try:
        space.kubectl("delete", "speechmodel", model.name, "--timeout=600s")
        gone(space, model, claim=True)
    finally:
        faults.thaw_service(layout, "controllers", "weed")
    assert len(warnings(space) - before) == 1


def test_deleted_in_mid_training_nothing_stays(space: Space) -> None:
    before = warnings(space)
    manifest = deleting(space, "other")
    manifest["spec"]["training"] |= {"maxEpochs": 500, "storage": {"retentionPolicy": "Delete"}}
    model = space.apply(manifest)
    model.until_epoch(1)
    space.kubectl("delete", "speechmodel", model.name, "--wait=false")
    gone(space, model, claim=True)
    assert warnings(space) == before
