"""Training by several pods together."""

from pathlib import Path

from support.kube import Model, Object
from support.spaces import Space

INDEX = "batch.kubernetes.io/job-completion-index"


def workers(model: Model) -> list[Object]:
    """The pods of the newest attempt, by index."""
    pods = model.pods("train")
    newest = max((int(pod["metadata"]["labels"]["speechops.dev/attempt"]) for pod in pods), default=0)
    current = [pod for pod in pods if int(pod["metadata"]["labels"]["speechops.dev/attempt"]) == newest]
    return sorted(current, key=lambda pod: int(pod["metadata"]["labels"][INDEX]))


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
