"""Training that is suspended, killed or starved goes on where it was."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from speechmodel_api.progress import TrainProgress, parse_progress
from support import recordings
from support.kube import Model, Object
from support.spaces import Space

EPOCHS = 40
SLOW = {"hiddenUnits": 256}
"""Long enough for something to happen meanwhile."""
GPU_POD: Object = {
    "nodeSelector": {"nvidia.com/gpu.present": "true"},
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
}


def began_at(model: Model, besides: str) -> int:
    """Return the epoch at which the training pod began that is not `besides`."""

    def look() -> int | None:
        for pod in model.pods("train"):
            name = pod["metadata"]["name"]
            if name != besides and pod["status"]["phase"] in ("Running", "Succeeded"):
                for line in model.kubectl("logs", name, check=False).splitlines():
                    record = parse_progress(line)
                    if isinstance(record, TrainProgress):
                        return record.epoch + 1  # + 1, for the sake of epoch 0
        return None

    return model.kubectl.until(look, "another training pod begins") - 1


def test_a_training_that_is_suspended_and_then_killed_goes_on_and_ends_with_the_same_weights(
    space: Space, small_dataset: Path, kept_in: Callable[[float], None]
) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("stopped", maxEpochs=EPOCHS, hyperparameters=SLOW))
    reached = model.until_epoch(3)
    (suspended,) = model.pods("train")
    space.kubectl.patch(model.name, {"suspend": True})
    asked = time.monotonic()
    space.kubectl.until(lambda: not model.pods("train"), "the training pod ends")
    kept_in(time.monotonic() - asked)
    space.kubectl.until(lambda: model.status["phase"] == "Suspended", "the status says that it is suspended")
    assert reached < EPOCHS - 10, "it was suspended too late to show anything"
    space.kubectl.patch(model.name, {"suspend": False, "training": {"checkpoints": {"everySeconds": 1}}})
    assert began_at(model, suspended["metadata"]["name"]) >= reached

    reached = model.until_epoch(reached + 5)
    (killed,) = model.pods("train")
    space.kubectl("delete", "pod", killed["metadata"]["name"], "--grace-period=0", "--force")
    assert began_at(model, killed["metadata"]["name"]) >= reached - 3, "more was lost than a checkpoint's interval"
    stopped = model.until_done("train")
    assert stopped["epoch"] == EPOCHS

    steady = space.apply(space.manifest("steady", maxEpochs=EPOCHS, hyperparameters=SLOW))
    assert steady.until_done("train")["graphSha256"] == stopped["graphSha256"], "the weights differ"


def test_a_training_that_is_drained_and_then_preempted_loses_no_epoch_and_no_attempt(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset, pod=GPU_POD)
    template = GPU_POD | {"resources": {"limits": {"nvidia.com/gpu": "1"}}}
    model = space.apply(space.manifest("moved", maxEpochs=EPOCHS, hyperparameters=SLOW, podTemplate=template))
    reached = model.until_epoch(3)
    (drained,) = model.pods("train")
    of_model = f"--pod-selector=speechops.dev/model={model.name}"
    space.kubectl("drain", "gpu", of_model, "--ignore-daemonsets", "--delete-emptydir-data")
    try:
        model.until_condition("Trained", status="False", reason="Unschedulable")
    finally:
        space.kubectl("uncordon", "gpu")
    assert began_at(model, drained["metadata"]["name"]) >= reached

    reached = model.until_epoch(reached + 3)
    preempted = model.until_running("train")
    with important_pod(space, GPU_POD, gpus=2) as important:
        space.kubectl.until_ready(important)
        model.until_condition("Trained", status="False", reason="Unschedulable")
    assert began_at(model, preempted["metadata"]["name"]) >= reached
    train = model.stage("train")
    assert (train["attempt"], train.get("failures", 0)) == (1, 0), "a disruption is no failure of the training"
    assert {"!Evicted", "!Preempted"} <= model.reported().keys()
    model.until_epoch(reached + 1)


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
    space.dataset(small_dataset, pod=GPU_POD)
    template = GPU_POD | {"resources": {"limits": {"nvidia.com/gpu": "1"}}, "runtimeClassName": "nvidia"}
    model = space.apply(space.manifest(podTemplate=template))
    pod = model.until_running("train")
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"
    model.until_ready()
    pods = [p for stage in ("prepare", "train", "convert", "evaluate", "publish") for p in model.pods(stage)]
    selector = {"nvidia.com/gpu.present": "true", "kubernetes.io/arch": "amd64"}
    assert all(p["spec"]["nodeSelector"] == selector for p in pods)
    nodes = {p["spec"]["nodeName"] for p in pods}
    gpu_nodes = {n["metadata"]["name"] for n in space.kubectl.find("nodes", "nvidia.com/gpu.present=true")}
    assert nodes <= gpu_nodes
    assert len(nodes) == 1


def test_a_gpu_request_that_no_node_can_fill_quotes_the_scheduler(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest(podTemplate={"resources": {"limits": {"nvidia.com/gpu": "64"}}}))
    condition = model.until_condition("Trained", status="False", reason="Unschedulable")
    assert "Insufficient nvidia.com/gpu" in condition["message"]
