"""Promises of docs/promises.md about nodes, the API server, checkpoints and claims that are lost."""

import re
import time
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from kubecluster import audit, cluster, faults
from kubecluster.layout import CONTROL, Layout
from support import recordings
from support.kube import ENDLESS, Kubectl, Model, Object
from support.spaces import Space
from support.traffic import Caller

AWAY_SECONDS = 120
QUIET = timedelta(seconds=30)
OUT_OF_SERVICE = "node.kubernetes.io/out-of-service=nodeshutdown:NoExecute"
PREFER_GPU = {
    "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {
        "nodeAffinity": {
            "preferredDuringSchedulingIgnoredDuringExecution": [
                {
                    "weight": 100,
                    "preference": {"matchExpressions": [{"key": "nvidia.com/gpu.present", "operator": "Exists"}]},
                }
            ]
        }
    },
}
SLOW = {"hiddenUnits": 256}


@pytest.fixture
def layout(space: Space) -> Layout:
    """The cluster that the tests brought up: nobody else's is broken on purpose."""
    if space.target.layout is None:
        pytest.skip("nodes and services are ended only on the cluster that the tests bring up")
    return space.target.layout


@pytest.fixture
def shared(space: Space, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], None]]:
    """Make claims that every node can use: a PersistentVolume of a folder of this machine stands in for a file server."""
    made: list[str] = []

    def make(name: str) -> None:
        folder = tmp_path_factory.mktemp(name)
        folder.chmod(0o777)
        volume = f"{space.kubectl.namespace}-{name}"
        claim = recordings.claim(name)
        claim["spec"] |= {"accessModes": ["ReadWriteMany"], "storageClassName": "", "volumeName": volume}
        spec = {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteMany"],
            "persistentVolumeReclaimPolicy": "Retain",
            "hostPath": {"path": str(folder)},
        }
        space.kubectl.apply(
            {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": spec}, claim
        )
        made.append(volume)
        space.kubectl("wait", f"pvc/{name}", "--for=jsonpath={.status.phase}=Bound", "--timeout=180s")

    yield make
    for volume in made:
        space.kubectl("delete", "pv", volume, "--wait=false")


def test_a_training_goes_on_elsewhere_after_its_node_is_lost(
    space: Space,
    layout: Layout,
    shared: Callable[[str], None],
    small_dataset: Path,
    kept_in: Callable[[float], None],
) -> None:
    for claim in ("recordings", "shared-workspace"):
        shared(claim)
    space.dataset(small_dataset)
    manifest = space.manifest(
        "wanderer",
        maxEpochs=ENDLESS,
        hyperparameters=SLOW,
        podTemplate=PREFER_GPU,
        storage={"claimName": "shared-workspace"},
        checkpoints={"everySeconds": 1},
    )
    model = space.apply(manifest)
    model.until_epoch(5)
    (lost,) = model.pods("train")
    assert lost["spec"]["nodeName"] == "gpu"
    saved = model.until_saved(lost["metadata"]["name"])
    faults.lose_node(layout, "gpu")
    try:
        space.kubectl.until(lambda: deleted(space.kubectl, lost), "the pod of the lost node is being deleted")
        time.sleep(3)
        assert [pod["metadata"]["uid"] for pod in model.pods("train")] == [lost["metadata"]["uid"]], "two might write"
        space.kubectl("taint", "node", "gpu", OUT_OF_SERVICE)
        space.kubectl.until(lambda: gone(model, lost), "the pod of the lost node is gone")
        began = time.monotonic()
        resumed = model.until_running("train")
        kept_in(time.monotonic() - began)
        assert resumed["spec"]["nodeName"] == "serving"
        assert model.until_training(besides=[lost["metadata"]["name"]]).step >= saved, "it did not go on"
        model.until_epoch(model.status["training"]["epoch"] + 1)
        train = model.stage("train")
        assert train.get("failures", 0) == 0, "the loss of a node is not a failure of the training"
        model.until_reported_once("!NodeLost")
    finally:
        space.kubectl("taint", "node", "gpu", OUT_OF_SERVICE + "-", check=False)
        faults.start_node(layout, "gpu")
        cluster.wait_ready(layout, 180)


def deleted(kubectl: Kubectl, pod: Object) -> bool:
    found = kubectl.get("pod", pod["metadata"]["name"])
    return found is None or "deletionTimestamp" in found["metadata"]


def gone(model: Model, pod: Object) -> bool:
    return all(found["metadata"]["uid"] != pod["metadata"]["uid"] for found in model.pods("train"))


def test_the_api_server_is_away_for_two_minutes(
    space: Space, layout: Layout, operator: Kubectl, small_dataset: Path, kept_in: Callable[[float], None]
) -> None:
    space.dataset(small_dataset)
    served = space.manifest("served")
    served["spec"]["serving"] = {"replicas": 1}
    models = [space.apply(served), space.apply(space.manifest("training", maxEpochs=30, hyperparameters=SLOW))]
    models[0].until_ready()
    models[1].until_epoch(1)
    before = operator_restarts(operator)
    faults.freeze_service(layout, CONTROL, "kube-apiserver")
    try:
        time.sleep(AWAY_SECONDS)
    finally:
        faults.thaw_service(layout, CONTROL, "kube-apiserver")
    cluster.wait_ready(layout, 180)
    returned = audit.now()
    space.kubectl.patch("served", {"serving": {"replicas": 0}})
    space.kubectl.until(lambda: replicas(space, "served") == 0, "the operator sees an edit")

    def writes(since: datetime) -> list[audit.Write]:
        """Those about the model that trains are rightly made in each of its epochs."""
        found = space.operator_writes(since)
        return [write for write in found if not write.name.startswith(models[1].name)]

    space.kubectl.until(lambda: not writes(audit.now() - QUIET), "the operator writes no more", every=2)
    kept_in((writes(returned)[-1].at - returned).total_seconds())
    models[1].until_ready()
    after_all = timedelta(seconds=10)
    space.kubectl.until(lambda: not space.operator_writes(audit.now() - after_all), "all writes end", every=2)
    for model in models:
        jobs = model.jobs()
        assert len(jobs) == len({job.rsplit("-", 1)[0] for job in jobs}), f"doubled: {jobs}"
        attempts = {stage["name"]: stage["attempt"] for stage in model.status["stages"]}
        assert set(attempts.values()) == {1}, f"lost: {attempts}"
    assert operator_restarts(operator) - before <= 2, "each is after three minutes without an API server"


def replicas(space: Space, name: str) -> int:
    found = space.kubectl.get("deployment", name)
    assert found
    count: int = found["spec"]["replicas"]
    return count


def operator_restarts(operator: Kubectl) -> int:
    pods = operator.find("pods", "app.kubernetes.io/name=speechmodel-operator")
    return sum(status["restartCount"] for pod in pods for status in pod["status"].get("containerStatuses", []))


def test_training_goes_on_from_the_checkpoint_before_a_damaged_one(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    manifest = space.manifest("damaged", maxEpochs=ENDLESS, hyperparameters=SLOW, checkpoints={"everySeconds": 1})
    model = space.apply(manifest)
    model.until_epoch(3)
    (pod,) = model.pods("train")
    saves = re.compile(r"saved step \d+ in")  # beside training, whenever there is time for it
    space.kubectl.until(
        lambda: len(saves.findall(space.kubectl("logs", pod["metadata"]["name"]))) > 1, "two checkpoints are saved"
    )
    space.kubectl.patch(model.name, {"suspend": True})
    space.kubectl.until(lambda: not model.pods("train"), "the training pod ends")
    space.kubectl.until(lambda: model.status["phase"] == "Suspended", "the status says that it is suspended")
    workspace = f"{model.name}-workspace"
    image = f"{space.target.registry}/speechops/pipeline:{space.target.tag}"
    space.kubectl.apply(recordings.loader(workspace, image, {}))
    space.kubectl.until_ready(f"load-{workspace}")

    def run(script: str) -> list[str]:
        return space.kubectl("exec", f"load-{workspace}", "--", "sh", "-ec", script).split()

    *_, before, newest = run("find /dataset -type d -name 'step-*' | sort")
    run(f"for file in {newest}/*.data-*; do head -c 1000 $file > $file.cut; mv $file.cut $file; done")
    model.end_training()
    (ended,) = model.pods("train")
    log = space.kubectl("logs", ended["metadata"]["name"])
    read, *_ = re.findall(r"read \S*/(step-\S+): epoch", log)
    assert read == Path(before).name != Path(newest).name


def test_a_deleted_claim_is_reported_and_an_edit_trains_again_only_if_it_is_about_training(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    manifest = space.manifest()
    manifest["spec"]["serving"] = {"replicas": 1}
    model = space.apply(manifest)
    model.until_ready()
    caller = Caller(model, f"{space.target.registry}/speechops/pipeline:{space.target.tag}")
    space.kubectl("delete", "pvc", f"{model.name}-workspace", "--wait=false")
    space.kubectl.until(lambda: "claim that is gone" in model.condition("Trained")["message"], "the status says so")
    assert model.condition("Ready")["status"] == "True"
    assert model.condition("Trained")["status"] == "True"

    version = model.status["model"]
    model.kubectl.patch(model.name, {"decoding": {"beamWidth": 40}})
    model.until_ready()
    assert model.status["model"]["version"] != version["version"]
    assert model.status["model"]["sha256"] == version["sha256"]
    assert model.stage("convert")["attempt"] == 2
    assert model.stage("train")["attempt"] == 1, "the model came from S3"

    model.kubectl.patch(model.name, {"training": {"maxEpochs": 4}})
    model.until_ready()
    assert "claim" not in model.condition("Trained")["message"]
    assert model.stage("train")["attempt"] == 2
    good, failed = caller.stop()
    assert failed == []
    assert good > 10
