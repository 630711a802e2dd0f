"""Training that is suspended, killed or starved goes on where it was."""

import json
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from kubecluster import cluster, faults
from speechmodel_api.progress import TrainProgress, parse_progress
from support import recordings
from support.kube import ENDLESS, Object
from support.spaces import Space

SLOW = {"hiddenUnits": 256}
"""Long enough for something to happen meanwhile."""
GPU_POD: Object = {
    "nodeSelector": {"nvidia.com/gpu.present": "true"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}
MIG = "nvidia.com/mig-1g.10gb"


INDEPENDENT_OF_MAX_EPOCHS: Object = {
    "hyperparameters": SLOW,
    "schedule": {"type": "Constant"},
    "augmentation": ["speed[p=0.6,factor=1~0.15]", "pitch[p=0.6,pitch=1~0.2]", "overlay[p=0.3,snr=20~12,layers=3]"],
}
"""A training whose weights after an epoch do not depend on maxEpochs. With Cosine, and ranges such as those of Auto, they do."""


def test_a_training_that_is_killed_and_then_suspended_goes_on_and_ends_with_the_same_weights(
    space: Space, small_dataset: Path, kept_in: Callable[[float], None]
) -> None:
    space.dataset(small_dataset)
    often = {"everySeconds": 1}
    model = space.apply(space.manifest("stopped", maxEpochs=ENDLESS, checkpoints=often, **INDEPENDENT_OF_MAX_EPOCHS))
    model.until_epoch(3)
    (pod,) = model.pods("train")
    killed = pod["metadata"]["name"]
    saved = model.until_saved(killed)
    space.kubectl("delete", "pod", killed, "--grace-period=0", "--force")
    assert model.until_training(besides=[killed]).step >= saved, (
        "more was lost than the steps since the last checkpoint"
    )

    model.until_epoch(model.status["training"]["epoch"] + 1)
    suspended = [pod["metadata"]["name"] for pod in model.pods("train")]
    space.kubectl.patch(model.name, {"suspend": True})
    asked = time.monotonic()
    space.kubectl.until(lambda: not model.pods("train"), "the training pod ends")
    kept_in(time.monotonic() - asked)
    space.kubectl.until(lambda: model.status["phase"] == "Suspended", "the status says that it is suspended")
    reached = model.status["training"]["epoch"]
    ended = model.end_training()
    assert model.until_training(besides=suspended).epoch >= reached, "an epoch was lost"
    stopped = model.stage("train")["output"]

    steady = space.apply(space.manifest("steady", maxEpochs=ended, **INDEPENDENT_OF_MAX_EPOCHS))
    assert steady.until_done("train")["graphSha256"] == stopped["graphSha256"], "the weights differ"


def test_a_training_that_is_drained_preempted_and_shut_down_with_its_node_loses_no_step_and_no_attempt(
    space: Space, small_dataset: Path
) -> None:
    """The node announces its shutdown as a cloud does when it takes a spot node away, and is back after that."""
    space.dataset(small_dataset, pod=GPU_POD)
    template = GPU_POD | {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    model = space.apply(space.manifest("moved", maxEpochs=ENDLESS, hyperparameters=SLOW, podTemplate=template))
    reached = model.until_epoch(3)
    (drained,) = model.pods("train")
    log = followed(space, drained)
    of_model = f"--pod-selector=speechops.dev/model={model.name}"
    space.kubectl("drain", "gpu", of_model, "--ignore-daemonsets", "--delete-emptydir-data")
    try:
        model.until_condition("Trained", status="False", reason="Unschedulable")
    finally:
        space.kubectl("uncordon", "gpu")
    began = model.until_training(besides=[drained["metadata"]["name"]])
    assert began.epoch >= reached
    assert began.step >= last_step(log), "a finished step was lost"
    model.until_reported_once("!Evicted")

    reached = model.until_epoch(reached + 3)
    preempted = model.until_running("train", besides=[drained["metadata"]["name"]])
    log = followed(space, preempted)
    with important_pod(space, GPU_POD, gpus=2) as important:
        space.kubectl.until_ready(important)
        model.until_condition("Trained", status="False", reason="Unschedulable")
    began = model.until_training(besides=[preempted["metadata"]["name"]])
    assert began.epoch >= reached
    assert began.step >= last_step(log), "a finished step was lost"
    model.until_reported_once("!Evicted", "!Preempted")

    if (layout := space.target.layout) is not None:  # another cluster's node is not shut down
        reached = model.until_epoch(began.epoch + 1)
        shut_down = model.until_running("train", besides=[drained["metadata"]["name"], preempted["metadata"]["name"]])
        log = followed(space, shut_down)
        faults.announce_shutdown(layout, "gpu", begins=True)
        try:
            model.until_reported_once("!Evicted", "!Evicted", "!Preempted")
            finished = last_step(log)
        finally:
            faults.announce_shutdown(layout, "gpu", begins=False)
            cluster.wait_ready(layout, 180)
        began = model.until_training(besides=[pod["metadata"]["name"] for pod in (drained, preempted, shut_down)])
        assert began.epoch >= reached
        assert began.step >= finished, "a finished step was lost"
    train = model.stage("train")
    assert (train["attempt"], train.get("failures", 0)) == (1, 0), "a disruption is no failure of the training"
    model.until_epoch(began.epoch + 1)


def followed(space: Space, pod: Object) -> "subprocess.Popen[str]":
    """Read the log of a pod until it ends: it is gone with the pod."""
    command = space.kubectl.argv("logs", "--follow", pod["metadata"]["name"])
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def last_step(log: "subprocess.Popen[str]") -> int:
    """Return the newest step that a training pod has reported as finished or as saved. A pod that is asked to end saves first."""
    lines = log.communicate()[0].splitlines()
    finished = [record.step for line in lines if isinstance(record := parse_progress(line), TrainProgress)]
    saved = [int(found[1]) for line in lines if (found := re.search(r"saved step (\d+) in", line))]
    assert finished, "\n".join(lines[-20:])
    return max(*finished, *saved)


@contextmanager
def important_pod(space: Space, placed: Object, gpus: int) -> Iterator[str]:
    """Run a pod of a priority above that of all others while the block runs; gives its name."""
    name = f"important-{space.kubectl.namespace}"
    kind = {"apiVersion": "scheduling.k8s.io/v1", "kind": "PriorityClass", "metadata": {"name": name}, "value": 1000}
    pod = recordings.loader("recordings", f"{space.target.registry}/speechops/pipeline:{space.target.tag}", placed)
    pod["metadata"]["name"] = name
    pod["spec"]["priorityClassName"] = name
    pod["spec"]["containers"][0]["resources"] = {"limits": {"nvidia.com/gpu": str(gpus)}}
    space.kubectl.apply(kind, pod)
    try:
        yield name
    finally:
        space.kubectl("delete", "pod", name)
        space.kubectl("delete", "priorityclass", name)


def test_what_no_node_can_run_says_so_in_the_schedulers_words_and_starts_once_a_node_can(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset, pod=GPU_POD)
    label = f"speechops.dev/{space.kubectl.namespace}"
    template = GPU_POD | {"nodeSelector": {label: "here"}, "resources": {"limits": {"nvidia.com/gpu": "1"}}}
    model = space.apply(space.manifest(podTemplate=template))
    condition = model.until_condition("Ready", status="False", reason="Unschedulable")
    assert "nodes are available" in condition["message"]
    (loader,) = [p for p in space.kubectl.find("pods") if p["metadata"]["name"].startswith("load-")]
    node = loader["spec"]["nodeName"]
    space.kubectl("label", "node", node, f"{label}=here")
    try:
        model.until_done("prepare")
    finally:
        space.kubectl("label", "node", node, f"{label}-")


def test_dataset_workspace_and_gpus_meet_on_the_node_that_has_them(space: Space, small_dataset: Path) -> None:
    """No node has a part of a GPU at first. Then one advertises it, as its device plugin does where MIG divides a GPU."""
    space.dataset(small_dataset, pod=GPU_POD)
    limits = {"nvidia.com/gpu": "1", MIG: "1"}
    template = GPU_POD | {"resources": {"limits": limits}, "runtimeClassName": "nvidia"}
    model = space.apply(space.manifest(podTemplate=template))
    condition = model.until_condition("Trained", status="False", reason="Unschedulable")
    assert f"Insufficient {MIG}" in condition["message"]
    with advertised(space, "gpu", MIG):
        pod = model.until_running("train")
        assert pod["spec"]["containers"][0]["resources"]["limits"].items() >= limits.items()
        model.until_ready()
    pods = [p for stage in ("prepare", "train", "convert", "evaluate", "publish") for p in model.pods(stage)]
    selector = {"nvidia.com/gpu.present": "true", "kubernetes.io/arch": "amd64"}
    assert all(p["spec"]["nodeSelector"] == selector for p in pods)
    nodes = {p["spec"]["nodeName"] for p in pods}
    gpu_nodes = {n["metadata"]["name"] for n in space.kubectl.find("nodes", "nvidia.com/gpu.present=true")}
    assert nodes <= gpu_nodes
    assert len(nodes) == 1


@contextmanager
def advertised(space: Space, node: str, resource: str) -> Iterator[None]:
    """Let a node have one of an extended resource while the block runs."""
    path = f"/status/capacity/{resource.replace('/', '~1')}"
    patch = ("patch", "node", node, "--subresource=status", "--type=json", "-p")
    space.kubectl(*patch, json.dumps([{"op": "add", "path": path, "value": "1"}]))
    try:
        yield
    finally:
        space.kubectl(*patch, json.dumps([{"op": "remove", "path": path}]))
