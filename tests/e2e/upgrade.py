"""An upgrade from an earlier version in mid-training and in mid-roll-out, by `make upgrade`: its images are built first."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from kubecluster import images
from support.kube import ENDLESS, Kubectl
from support.places import ROOT
from support.spaces import OPERATOR_NAMESPACE, Space, build_images, make_space, remove_space, upgrade
from support.target import Target

BEFORE = "fcf318b"
"""Commit of the version before. Keys and defaults are those of now: only versions before 2026-11-25 had others."""
OPERATOR = "speechmodel-operator"


@pytest.fixture
def version_before(target: Target, tmp_path: Path) -> Kubectl:
    """Install the version before: its chart, and the images of its commit."""
    assert target.layout, "images are built for the test cluster only"
    build_images(target.layout)
    archive = subprocess.run(["git", "archive", BEFORE], cwd=ROOT, stdout=subprocess.PIPE)
    assert archive.returncode == 0, f"the history lacks commit {BEFORE}: git fetch --unshallow"
    subprocess.run(["tar", "-xC", str(tmp_path)], input=archive.stdout, check=True)
    for image in images.project(tmp_path):
        images.build(target.layout, replace(image, name=image.name.replace(":dev", ":before")))
    command = ["upgrade", "--install", OPERATOR, str(tmp_path / "charts" / OPERATOR), "--create-namespace"]
    command += ["--namespace", OPERATOR_NAMESPACE, "--set", f"images.registry={target.registry},images.tag=before"]
    subprocess.run([target.helm, "--kubeconfig", target.kubeconfig, *command], check=True)
    kubectl = Kubectl(target.kubectl, target.kubeconfig, target.context, OPERATOR_NAMESPACE)
    kubectl.until_rolled_out(OPERATOR)
    return kubectl


@pytest.fixture
def space(version_before: Kubectl, target: Target) -> Iterator[Space]:
    """A namespace with a bucket, in which the version before looks for models."""
    made = make_space(target, "upgrade")
    yield made
    remove_space(made)


def test_an_upgrade_restarts_no_training_and_repeats_no_stage(
    space: Space, version_before: Kubectl, small_dataset: Path
) -> None:
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
    served.until_ready()
    space.kubectl.until_rolled_out(served.name)
    assert (served.status["model"]["version"], served.jobs()) == (version, jobs), "a stage was repeated"

    assert training.end_training() > reached
    done = training.until_done("train")
    assert done["trainedEpochs"] < done["epoch"], "the checkpoints of the version before were not used"
