"""SpeechModels in a queue of Kueue itself. These tests are the last on their cluster: its webhooks are asked about every later Job."""

from pathlib import Path

import pytest
from support import kueue
from support.kube import ENDLESS, Kubectl, Model, Object
from support.spaces import Space
from support.target import Target
from support.templates import ROOT_CAS

CORES = {"resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}


@pytest.fixture(scope="module")
def queues(target: Target, operator: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Kueue with a cluster queue that has room for one training at a time."""
    if target.layout is None:
        pytest.skip("Kueue is installed only in the cluster that the tests bring up")
    kueue.install(target, target.layout, tmp_path_factory.mktemp("kueue"))
    flavour: Object = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "ResourceFlavor", "metadata": {"name": "any"}}
    quotas = [{"name": "cpu", "nominalQuota": "700m"}, {"name": "memory", "nominalQuota": "2Gi"}]
    queue: Object = {
        "apiVersion": "kueue.x-k8s.io/v1beta2",
        "kind": "ClusterQueue",
        "metadata": {"name": "trainings"},
        "spec": {
            "namespaceSelector": {},
            "resourceGroups": [
                {"coveredResources": ["cpu", "memory"], "flavors": [{"name": "any", "resources": quotas}]}
            ],
        },
    }
    operator.apply(flavour, queue)
    return operator


def hold(queues: Kubectl, policy: str) -> None:
    """Set the queue's stopPolicy: None, Hold (admit nothing) or HoldAndDrain (end what runs, too)."""
    queues("patch", "clusterqueue", "trainings", "--type=merge", "-p", f'{{"spec":{{"stopPolicy":"{policy}"}}}}')


def queued(space: Space, name: str, queue: str = "jobs", **training: object) -> Model:
    """Apply a model whose Jobs go through a queue of the namespace, which has the queue `jobs` only."""
    jobs: Object = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "LocalQueue", "metadata": {"name": "jobs"}}
    space.kubectl.apply(jobs | {"spec": {"clusterQueue": "trainings"}})
    manifest = space.manifest(name, podTemplate=CORES | ROOT_CAS, **training)
    manifest["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": queue}
    return space.apply(manifest)


def test_a_model_waits_in_its_queue_and_goes_on_where_it_was_after_kueue_took_its_place(
    space: Space, queues: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    hold(queues, "Hold")
    first = queued(space, "first", maxEpochs=ENDLESS)
    waiting = first.until_condition("DatasetReady", status="False", reason="QueuedByKueue")
    assert "the queue jobs of Kueue" in waiting["message"]
    assert first.pods("prepare") == []
    space.kubectl.until(first.reported, "an Event reports it")  # after the status
    assert first.reported() == {"QueuedByKueue": 1}, "it did not run before it was queued"

    hold(queues, "None")
    first.until_epoch(3)
    (pod,) = first.pods("train")
    cas = space.kubectl("exec", pod["metadata"]["name"], "--", "cat", "/mnt/cas/ca.crt")
    assert "BEGIN CERTIFICATE" in cas, "a stage mounts what the manifest adds"
    hold(queues, "HoldAndDrain")
    first.until_condition("Trained", status="False", reason="QueuedByKueue")
    space.kubectl.until(lambda: not first.pods("train"), "the training pod ends")
    reached = first.status["training"]["epoch"]

    hold(queues, "None")
    first.until_running("train")
    first.until_epoch(reached + 1)
    stage = first.stage("train")
    assert (stage["attempt"], stage.get("failures", 0)) == (1, 0), "Kueue's decision is no failure of the training"

    # two models take turns
    second = queued(space, "second", maxEpochs=3)
    second.until_condition("Trained", status="False", reason="QueuedByKueue")
    assert first.condition("Trained")["reason"] == "Training"
    last = first.end_training()
    first.until_ready()
    assert first.status["training"]["epoch"] == last
    second.until_ready()
    warnings = [reason for model in (first, second) for reason in model.reported() if reason.startswith("!")]
    assert warnings == [], "the time in a queue is no problem"


def test_a_queue_that_does_not_exist_is_corrected_by_an_edit_and_a_deletion_waits_in_it(
    space: Space, queues: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    hold(queues, "None")
    model = queued(space, "corrected", queue="jbos", maxEpochs=2)
    waiting = model.until_condition("DatasetReady", status="False", reason="QueuedByKueue")
    assert "the queue jbos of Kueue" in waiting["message"]
    space.kubectl.patch(model.name, {"publish": {"deletionPolicy": "Delete"}})
    space.kubectl("label", "speechmodel", model.name, "--overwrite", "kueue.x-k8s.io/queue-name=jobs")
    model.until_ready()
    stages = model.status["stages"]
    assert {stage["name"]: stage["attempt"] for stage in stages}["prepare"] == 2, "the first Job waited in no queue"
    assert sum(stage.get("failures", 0) for stage in stages) == 0

    assert space.objects()
    hold(queues, "Hold")
    space.kubectl("delete", "speechmodel", model.name, "--wait=false")
    space.kubectl.until(lambda: space.kubectl.find("jobs", "speechops.dev/stage=purge"), "the purge waits")
    hold(queues, "None")
    space.kubectl.until(lambda: space.kubectl.get("speechmodel", model.name) is None, "the model is gone")
    assert space.objects() == []
