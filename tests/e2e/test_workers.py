"""Training by several pods together."""

from pathlib import Path

from support.kube import Model, Object
from support.spaces import Space

INDEX = "batch.kubernetes.io/job-completion-index"
EPOCHS = 30


def workers(model: Model) -> list[Object]:
    """The pods of the newest attempt, by index."""
    pods = model.pods("train")
    newest = max((int(pod["metadata"]["labels"]["speechops.dev/attempt"]) for pod in pods), default=0)
    current = [pod for pod in pods if int(pod["metadata"]["labels"]["speechops.dev/attempt"]) == newest]
    return sorted(current, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


def test_two_pods_are_suspended_and_then_one_is_lost_and_the_set_goes_on(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("two", numWorkers=2, maxEpochs=EPOCHS, checkpoints={"everySeconds": 1}))
    model.until_epoch(3)
    space.kubectl.patch(model.name, {"suspend": True})
    space.kubectl.until(lambda: not model.pods("train"), "both pods end")
    space.kubectl.until(lambda: model.status["phase"] == "Suspended", "the status says that it is suspended")
    reached = model.status["training"]["epoch"]
    assert reached < EPOCHS - 10, "it was suspended too late to show anything"
    space.kubectl.patch(model.name, {"suspend": False})

    space.kubectl.until(lambda: model.status.get("workersReady") == "2/2", "both pods run again")
    model.until_epoch(reached + 1)
    assert model.stage("train").get("failures", 0) == 0, "a suspension is no failure of the training"
    _, lost = workers(model)
    space.kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=0", "--force")
    assert model.until_done("train")["epoch"] == EPOCHS


def test_four_pods_train_on_the_node_of_the_workspace(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("four", numWorkers=4, maxEpochs=1))
    space.kubectl.until(lambda: model.status.get("workersReady") == "4/4", "four pods run")
    assert model.until_done("train")["epoch"] == 1
    pods = workers(model)
    assert [pod["metadata"]["labels"][INDEX] for pod in pods] == ["0", "1", "2", "3"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
    assert model.stage("train")["attempt"] == 1
