"""A SpeechModel in a queue of Kueue itself, by `make kueue`: Kueue takes a quarter of an hour to build."""

from pathlib import Path

import pytest
from support import kueue
from support.kube import Kubectl, Model, Object
from support.spaces import Space
from support.target import Target

CORES = {"resources": {"requests": {"cpu": "500m", "memory": "512Mi"}}}
EPOCHS = 60


@pytest.fixture(scope="module")
def queues(target: Target, operator: Kubectl, tmp_path_factory: pytest.TempPathFactory) -> Kubectl:
    """Kueue with a cluster queue that has room for one training at a time."""
    assert target.layout, "Kueue is installed in the test cluster only"
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
    manifest = space.manifest(name, podTemplate=CORES, hyperparameters={"hiddenUnits": 256}, **training)
    manifest["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": queue}
    return space.apply(manifest)


def test_a_model_waits_in_its_queue_and_goes_on_where_it_was_after_kueue_took_its_place(
    space: Space, queues: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    hold(queues, "Hold")
    model = queued(space, "waits", maxEpochs=EPOCHS)
    waiting = model.until_condition("DatasetReady", status="False", reason="QueuedByKueue")
    assert "the queue jobs of Kueue" in waiting["message"]
    assert model.pods("prepare") == []
    space.kubectl.until(model.reported, "an Event reports it")  # after the status
    assert model.reported() == {"QueuedByKueue": 1}, "it did not run before it was queued"

    hold(queues, "None")
    reached = model.until_epoch(3)
    hold(queues, "HoldAndDrain")
    model.until_condition("Trained", status="False", reason="QueuedByKueue")
    space.kubectl.until(lambda: not model.pods("train"), "the training pod ends")
    assert reached < EPOCHS - 10, "it was ended too late to show anything"
    reached = model.status["training"]["epoch"]

    hold(queues, "None")
    model.until_running("train")
    model.until_epoch(reached + 1)
    stage = model.stage("train")
    assert (stage["attempt"], stage.get("failures", 0)) == (1, 0), "Kueue's decision is no failure of the training"
    model.until_ready()
    assert model.status["training"]["epoch"] == EPOCHS


def test_a_queue_that_does_not_exist_is_corrected_by_an_edit_of_the_label(
    space: Space, queues: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    hold(queues, "None")
    model = queued(space, "corrected", queue="jbos", maxEpochs=2)
    waiting = model.until_condition("DatasetReady", status="False", reason="QueuedByKueue")
    assert "the queue jbos of Kueue" in waiting["message"]
    space.kubectl("label", "speechmodel", model.name, "--overwrite", "kueue.x-k8s.io/queue-name=jobs")
    model.until_ready()
    stages = model.status["stages"]
    assert {stage["name"]: stage["attempt"] for stage in stages}["prepare"] == 2, "the first Job waited in no queue"
    assert sum(stage.get("failures", 0) for stage in stages) == 0


def test_two_models_take_turns(space: Space, queues: Kubectl, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    hold(queues, "None")
    first = queued(space, "first", maxEpochs=EPOCHS)
    first.until_epoch(1)
    second = queued(space, "second", maxEpochs=3)
    second.until_condition("Trained", status="False", reason="QueuedByKueue")
    assert first.condition("Trained")["reason"] == "Training"
    first.until_ready()
    second.until_ready()
    warnings = [reason for model in (first, second) for reason in model.reported() if reason.startswith("!")]
    assert warnings == [], "the time in a queue is no problem"


def test_a_model_that_waits_in_a_queue_is_deleted_with_what_it_published(
    space: Space, queues: Kubectl, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    hold(queues, "None")
    model = queued(space, "leaves", maxEpochs=2)
    space.kubectl.patch(model.name, {"publish": {"deletionPolicy": "Delete"}})
    model.until_ready()
    assert space.objects()
    hold(queues, "Hold")
    space.kubectl("delete", "speechmodel", model.name, "--wait=false")
    space.kubectl.until(lambda: space.kubectl.find("jobs", "speechops.dev/stage=purge"), "the purge waits")
    hold(queues, "None")
    space.kubectl.until(lambda: space.kubectl.get("speechmodel", model.name) is None, "the model is gone")
    assert space.objects() == []
