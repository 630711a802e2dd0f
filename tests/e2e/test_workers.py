"""Training by several pods together."""

from pathlib import Path

from support.kube import ENDLESS, Model, Object
from support.spaces import Space

INDEX = "batch.kubernetes.io/job-completion-index"


def workers(model: Model) -> list[Object]:
    """The pods of the newest attempt, by index."""
    pods = model.pods("train")
    newest = max((int(pod["metadata"]["labels"]["speechops.dev/attempt"]) for pod in pods), default=0)
    current = [pod for pod in pods if int(pod["metadata"]["labels"]["speechops.dev/attempt"]) == newest]
    return sorted(current, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


def test_two_pods_are_suspended_and_then_one_is_lost_and_the_set_goes_on(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("two", numWorkers=2, maxEpochs=ENDLESS, checkpoints={"everySeconds": 1}))
    model.until_epoch(3)
    space.kubectl.patch(model.name, {"suspend": True})
    space.kubectl.until(lambda: not model.pods("train"), "both pods end")
    space.kubectl.until(lambda: model.status["phase"] == "Suspended", "the status says that it is suspended")
    reached = model.status["training"]["epoch"]
    space.kubectl.patch(model.name, {"suspend": False})

    space.kubectl.until(lambda: model.status.get("workersReady") == "2/2", "both pods run again")
    model.until_epoch(reached + 1)
    train = model.stage("train")
    assert train.get("failures", 0) == 0, "a suspension is no failure of the training"
    _, lost = workers(model)
    before = [pod["metadata"]["name"] for pod in model.pods("train")]
    reached = model.status["training"]["epoch"]
    space.kubectl("delete", "pod", lost["metadata"]["name"], "--grace-period=0", "--force")
    began = model.until_training(besides=before)
    assert began.epoch >= reached, "the first pod saved what both had made"
    model.until_epoch(began.epoch + 1)
    assert model.stage("train")["attempt"] == train["attempt"] + 1, "the whole set was started again"


def test_four_pods_train_on_the_node_of_the_workspace(space: Space, small_dataset: Path) -> None:
    space.dataset(small_dataset)
    model = space.apply(space.manifest("four", numWorkers=4, maxEpochs=1))
    assert model.until_done("train")["epoch"] == 1
    pods = workers(model)
    assert [pod["metadata"]["labels"][INDEX] for pod in pods] == ["0", "1", "2", "3"]
    assert len({pod["spec"]["nodeName"] for pod in pods}) == 1
    assert model.stage("train")["attempt"] == 1
