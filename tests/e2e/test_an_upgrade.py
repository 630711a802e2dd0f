"""An upgrade from an earlier version in mid-training and in mid-roll-out, on a cluster that has no operator yet."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from kubecluster import images
from support import version_before
from support.helm_chart import NAME, Helm
from support.kube import ENDLESS, Kubectl
from support.spaces import OPERATOR_NAMESPACE, Space, build_images, make_space, remove_space, upgrade
from support.target import Target


@pytest.fixture
def earlier(target: Target) -> Kubectl:
    """Install the version before."""
    if target.layout is None:
        pytest.skip("images are built for the cluster that the tests bring up")
    build_images(target.layout)
    with version_before.source() as folder:
        for image in version_before.images_of(folder):
            images.build(target.layout, image)
        helm = Helm(target.helm, ("--kubeconfig", target.kubeconfig, "--namespace", OPERATOR_NAMESPACE))
        values = f"images.registry={target.registry},images.tag={version_before.TAG}"
        helm("upgrade", "--install", "--create-namespace", NAME, str(folder / "charts" / NAME), "--set", values)
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, OPERATOR_NAMESPACE)
    kubectl.until_rolled_out(NAME)
    return kubectl


@pytest.fixture
def space(earlier: Kubectl, target: Target) -> Iterator[Space]:
    """A namespace with a bucket, in which the version before looks for models."""
    made = make_space(target, "upgrade")
    yield made
    remove_space(made)


def test_an_upgrade_restarts_no_training_and_repeats_no_stage(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    manifest = space.manifest("served")
    manifest["spec"]["serving"] = {"replicas": 1}
    served = space.apply(manifest)
    served.until_ready()
    training = space.apply(space.manifest("trains", maxEpochs=ENDLESS))
    training.until_epoch(5)
    version, jobs = served.status["model"]["version"], served.jobs()
    (pod,) = training.pods("train")

    space.kubectl.patch(served.name, {"serving": {"replicas": 2}})
    upgrade(space.target)

    reached = training.until_epoch(training.status["training"]["epoch"] + 50)
    (same,) = training.pods("train")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"], "the training was restarted"
    assert training.end_training() > reached
    done = training.until_done("train")
    assert done["trainedEpochs"] < done["epoch"], "the checkpoints of the version before were not used"

    served.until_ready()
    space.kubectl.until_rolled_out(served.name)
    assert (served.status["model"]["version"], served.jobs()) == (version, jobs), "a stage was repeated"
