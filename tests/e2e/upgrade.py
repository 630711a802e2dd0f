"""An upgrade from the first release in mid-training and in mid-roll-out, by `make upgrade`: its images are built first."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubecluster import images
from support.kube import Kubectl, Object
from support.places import ROOT
from support.spaces import OPERATOR_NAMESPACE, Space, build_images, make_space, remove_space, upgrade
from support.target import Target

FIRST = "1774049"
"""Commit of the first release."""
OPERATOR = "speechmodel-operator"


@pytest.fixture
def first_release(target: Target, tmp_path: Path) -> Kubectl:
    """Install the first release: its chart, and the images of its commit."""
    assert target.layout, "images are built for the test cluster only"
    build_images(target.layout)
    archive = subprocess.run(["git", "archive", FIRST], cwd=ROOT, stdout=subprocess.PIPE)
    assert archive.returncode == 0, f"the history lacks commit {FIRST}: git fetch --unshallow"
    subprocess.run(["tar", "-xC", str(tmp_path)], input=archive.stdout, check=True)
    for name in images.NAMES:
        dockerfile = tmp_path / "images" / name / "Dockerfile"
        images.build(target.layout, images.Image(f"docker.io/speechops/{name}:first", dockerfile, tmp_path))
    command = ["upgrade", "--install", OPERATOR, str(tmp_path / "charts" / OPERATOR), "--create-namespace"]
    command += ["--namespace", OPERATOR_NAMESPACE, "--set", f"images.registry={target.registry},images.tag=first"]
    subprocess.run([target.helm, "--kubeconfig", target.kubeconfig, *command], check=True)
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, OPERATOR_NAMESPACE)
    kubectl.until_rolled_out(OPERATOR)
    return kubectl


@pytest.fixture
def space(first_release: Kubectl, target: Target) -> Iterator[Space]:
    """A namespace with a bucket, in which the first release looks for models."""
    made = make_space(target, "upgrade")
    yield made
    remove_space(made)


def manifest(space: Space, name: str, epochs: int) -> Object:
    """Return a SpeechModel with the fields that the first release had."""
    bucket = {"bucket": space.bucket, "prefix": name, "endpoint": space.target.s3_endpoint, "secretRef": {"name": "s3"}}
    hyperparameters = {"hiddenUnits": 32, "batchSize": 8, "learningRate": 0.002}
    return {
        "apiVersion": "speechops.dev/v1alpha1",
        "kind": "SpeechModel",
        "metadata": {"name": name},
        "spec": {
            "language": "es",
            "dataset": {"source": {"persistentVolumeClaim": {"claimName": "recordings"}}},
            "training": {"maxEpochs": epochs, "hyperparameters": hyperparameters},
            "publish": {"s3": bucket},
            "serving": {"replicas": 1},
        },
    }


def test_an_upgrade_from_the_first_release_restarts_no_training_and_repeats_no_stage(
    space: Space, first_release: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    served = space.apply(manifest(space, "served", epochs=3))
    space.kubectl.until(lambda: served.condition("Ready").get("status") == "True", "the first release serves a version")
    training = space.apply(manifest(space, "trains", epochs=100_000))
    training.until_epoch(5)
    version, jobs = served.status["model"]["version"], served.jobs()
    (pod,) = training.pods("train")

    space.kubectl.patch(served.name, {"serving": {"replicas": 2}})
    upgrade(space.target)
    first_release.until_rolled_out(OPERATOR)

    training.until_epoch(training.status["training"]["epoch"] + 50)
    (same,) = training.pods("train")
    assert same["metadata"]["uid"] == pod["metadata"]["uid"], "the training was restarted"
    served.until_ready()
    space.kubectl.until_rolled_out(served.name)
    assert (served.status["model"]["version"], served.jobs()) == (version, jobs), "a stage was repeated"

    last = training.status["training"]["epoch"] + 10_000  # training goes on until the new operator has replaced its pod
    space.kubectl.patch(training.name, {"training": {"maxEpochs": last}})
    done = training.until_done("train")
    assert done["epoch"] == last
    assert done["trainedEpochs"] < last, "the checkpoints of the first release were not used"
    training.until_ready()
