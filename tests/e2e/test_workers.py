"""Training by several pods, which start, stop and go on together."""

from pathlib import Path

from support.kube import Model, Object
from support.spaces import Space

EPOCHS = 16
SLOW = {"hiddenUnits": 128, "batchSize": 8}
INDEX = "batch.kubernetes.io/job-completion-index"


def workers(model: Model) -> list[Object]:
    """The pods of the newest attempt, by index."""
    pods = model.pods("train")
    newest = max((int(pod["metadata"]["labels"]["speechops.dev/attempt"]) for pod in pods), default=0)
    current = [pod for pod in pods if int(pod["metadata"]["labels"]["speechops.dev/attempt"]) == newest]
    return sorted(current, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


def test_two_pods_are_suspended_and_lose_one_and_end_with_the_weights_of_an_undisturbed_training(
    space: Space, small_dataset: Path
) -> None:
    space.dataset(small_dataset)
    settings = {"maxEpochs": EPOCHS, "hyperparameters": SLOW, "numWorkers": 2}
    model = space.apply(space.manifest("pair", **settings))
    reached = model.until_epoch(2)
    assert model.status["workersReady"] == "2/2"
    space.kubectl.patch(model.name, {"suspend": True})
    space.kubectl.until(lambda: not model.pods("train"), "the pods of both workers end")
    assert "workersReady" not in model.status
    space.kubectl.patch(model.name, {"suspend": False})

    assert model.until_epoch(reached + 2) < EPOCHS - 2
    _, second = workers(model)
    space.kubectl("delete", "pod", second["metadata"]["name"], "--grace-period=0", "--force")
    model.until_ready()
    assert model.stage("train")["output"]["epoch"] == EPOCHS
    assert model.stage("train")["attempt"] == 3

    steady = space.apply(space.manifest("steady", **settings))
    steady.until_ready()
    assert model.stage("train")["output"]["graphSha256"] == steady.stage("train")["output"]["graphSha256"]


def test_four_pods_train_on_the_node_of_the_workspace(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("four", numWorkers=4))
    space.kubectl.until(lambda: model.status.get("workersReady") == "4/4", "four pods run")
    model.until_ready()
    pods = workers(model)
    assert [pod["metadata"]["labels"][INDEX] for pod in pods] == ["0", "1", "2", "3"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
    assert model.stage("train")["output"]["epoch"] == 3
    assert model.stage("train")["attempt"] == 1
