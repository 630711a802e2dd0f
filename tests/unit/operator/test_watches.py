"""Each namespace is managed once everything in it is listed, whatever happens in the others."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import pytest
from speechmodel_operator.cluster import informer
from speechmodel_operator.cluster.api import CLAIMS, MODELS, Api, Resource
from speechmodel_operator.cluster.errors import Refused
from speechmodel_operator.cluster.views import ListMetadata, Manifest, Metadata, Page
from speechmodel_operator.supervisor import ClusterSteps, Supervisor
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import Upgrades
from speechmodel_operator.watches import Watches
from speechmodel_plan.reconcile import Gone
from speechmodel_plan.task import Owner
from support.waiting import STALLED_SECONDS


def model(namespace: str, version: int = 5, **metadata: object) -> Manifest:
    named = {"namespace": namespace, "name": "espejo", "uid": f"u-{namespace}", "resourceVersion": str(version)}
    return {"metadata": named | {"generation": 1} | metadata, "spec": {}}


class Server:
    """An API server with one model in each namespace. It rejects the lists of `forbidden`: plural and namespace."""

    def __init__(self, *forbidden: tuple[str, str]) -> None:
        self.forbidden = set(forbidden)
        self.written: Callable[[Resource[Any], Manifest], None] | None = None
        self.deleting: Callable[[Resource[Any], Metadata], None] | None = None

    async def pages(self, resource: Resource[Any], namespace: str, _selector: str) -> AsyncIterator[Page[Any]]:
        if (resource.plural, namespace) in self.forbidden:
            raise Refused(403, f"{resource.plural} is forbidden")
        here = [model(namespace)] if resource is MODELS else []
        yield Page(metadata=ListMetadata("10"), items=tuple(here))

    async def watch(self, *_: object) -> AsyncIterator[Manifest]:
        await asyncio.Event().wait()
        yield {}


class Engine:
    """An engine whose model is gone, so that its task ends after one step."""

    async def react(self) -> None:
        raise Gone


class Operator:
    """Watches of some namespaces, and the namespaces whose models were taken up."""

    def __init__(self, server: Server, *namespaces: str) -> None:
        self.telemetry, self.taken, self.server = Telemetry(), list[str](), server
        self.watches = Watches(namespaces, 60, self.telemetry)
        self.upgrades = Upgrades(limit=1)
        self.supervisor = Supervisor(self._engine, upgrades=self.upgrades)

    def _engine(self, owner: Owner) -> ClusterSteps:
        self.taken.append(owner.namespace)
        return cast(ClusterSteps, Engine())

    async def __aenter__(self) -> "Operator":
        self.task = asyncio.create_task(self.watches.run(cast(Api, self.server), self.supervisor))
        return self

    async def __aexit__(self, *_: object) -> None:
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.supervisor.stop()

    def failing(self, namespace: str, plural: str) -> float | None:
        labels = {"namespace": namespace, "resource": plural}
        return self.telemetry.registry.get_sample_value("speechmodel_watch_failing", labels)

    async def until(self, look: Callable[[], object]) -> None:
        async with asyncio.timeout(STALLED_SECONDS):
            while not look():
                await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(informer, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(informer, "LONGEST_PAUSE_SECONDS", 0.01)


async def test_a_namespace_that_cannot_be_listed_is_reported_and_does_not_stop_the_others(
    caplog: pytest.LogCaptureFixture,
) -> None:
    server = Server((MODELS.plural, "b"), (CLAIMS.plural, "b"))
    async with Operator(server, "a", "b", "a") as operator:
        await operator.until(lambda: operator.taken == ["a"])
        await operator.until(lambda: operator.failing("b", CLAIMS.plural) == 1)
        await operator.until(lambda: len([r for r in caplog.records if r.levelno == logging.ERROR]) > 4)
        assert "cannot list the persistentvolumeclaims of namespace b" in caplog.text
        assert operator.failing("a", CLAIMS.plural) == 0
        server.forbidden.clear()
        await operator.until(lambda: operator.taken == ["a", "b"])
        assert operator.failing("b", CLAIMS.plural) == 0


async def test_no_upgrade_begins_before_the_models_of_all_namespaces_are_known() -> None:
    server = Server((MODELS.plural, "b"))
    async with Operator(server, "a", "b") as operator:
        await operator.until(lambda: operator.taken == ["a"])
        await operator.until(lambda: operator.failing("b", MODELS.plural) == 1)
        assert not operator.upgrades.take(("other", "server"), 1)
        server.forbidden.clear()
        await operator.until(lambda: operator.upgrades.take(("other", "server"), 1))
        assert operator.taken == ["a", "b"]


async def test_no_model_is_taken_up_before_its_children_are_listed() -> None:
    server = Server((CLAIMS.plural, ""))
    async with Operator(server) as operator:
        await operator.until(lambda: operator.failing("*", CLAIMS.plural) == 1)
        await operator.until(lambda: operator.failing("*", MODELS.plural) == 0)
        operator.watches.cache[MODELS.plural].put(model("", 11, annotations={"edited": "true"}))
        assert operator.taken == []
        server.forbidden.clear()
        await operator.until(lambda: operator.taken == [""])


async def test_the_answer_to_the_removal_of_our_finalizer_does_not_take_a_deleted_model_up_again() -> None:
    server = Server()
    async with Operator(server, "a") as operator:
        await operator.until(lambda: operator.taken == ["a"])
        models = operator.watches.cache[MODELS.plural]
        models.remove(model("a", 20))
        assert server.written is not None
        server.written(MODELS, model("a", 19, deletionTimestamp="2026-01-01T00:00:00Z"))
        assert len(models) == 0
        await asyncio.sleep(0)
        assert operator.taken == ["a"]


async def test_of_the_labels_of_a_model_only_those_that_its_jobs_inherit_wake_it() -> None:
    server = Server()
    async with Operator(server, "a") as operator:
        await operator.until(lambda: operator.taken == ["a"])
        models = operator.watches.cache[MODELS.plural]
        models.put(model("a", 20, labels={"team": "speech"}))
        await asyncio.sleep(0)
        assert operator.taken == ["a"]
        models.put(model("a", 21, labels={"team": "speech", "kueue.x-k8s.io/queue-name": "gpus"}))
        await operator.until(lambda: operator.taken == ["a", "a"])
        models.put(model("a", 22, labels={"team": "speech", "kueue.x-k8s.io/queue-name": "cpus"}))
        await operator.until(lambda: operator.taken == ["a", "a", "a"])


async def test_what_is_being_deleted_by_us_may_be_gone() -> None:
    server = Server()
    async with Operator(server, "a") as operator:
        await operator.until(lambda: operator.taken == ["a"])
        models = operator.watches.cache[MODELS.plural]
        assert server.deleting is not None
        server.deleting(MODELS, Metadata.read(model("a")["metadata"]))
        assert models.may_be_gone("a", "espejo")
