"""Two operators that manage the same SpeechModel, which nobody intends, and a definition that is too old."""

import asyncio
import copy
import logging
from datetime import timedelta

import pytest
from kubernetes.aio import client, config
from speechmodel_api.crd import crd
from speechmodel_operator.cluster import definition
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.connection import connect
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import Conflict
from speechmodel_operator.telemetry import Telemetry
from speechmodel_plan.reconcile import reconcile
from speechmodel_plan.task import Owner

from .conftest import IMAGES, Operator

pytestmark = pytest.mark.slow


def test_two_operators_make_every_object_once_and_come_to_rest(operator: Operator) -> None:
    operator.publish(replicas=2)
    operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}})
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    owner = Owner("default", operator.name, model["metadata"]["uid"])

    async def both() -> tuple[int, int]:
        configuration = client.Configuration()
        await config.load_kube_config(str(operator.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        async with connect(configuration) as connection:

            def engine() -> ClusterEngine:
                return ClusterEngine(Api(connection), IMAGES, owner, progress_interval=timedelta(seconds=10))

            async def work(one: ClusterEngine) -> int:
                conflicts = 0
                for _ in range(8):
                    try:
                        await reconcile(one)
                    except Conflict:
                        conflicts += 1
                return conflicts

            return await asyncio.gather(work(engine()), work(engine()))

    asyncio.run(both())
    selector = f"speechops.dev/model={operator.name}"
    assert len(operator.kubectl.find("jobs", selector)) == 1
    assert len(operator.kubectl.find("deployments", selector)) == 1
    operator.kubectl.patch(operator.name, {"suspend": True})  # a Job without a pod is reported with its age
    for _ in range(3):
        assert operator.step() == ""
    before = operator.kubectl.get("speechmodel", operator.name)
    operator.step()
    after = operator.kubectl.get("speechmodel", operator.name)
    assert before and after
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]


def test_a_definition_that_is_too_old_is_named_with_its_fields(
    operator: Operator, caplog: pytest.LogCaptureFixture
) -> None:
    older = copy.deepcopy(crd())
    spec = older["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    del spec["properties"]["serving"]["properties"]["topologySpread"]
    telemetry = Telemetry()

    async def check() -> None:
        configuration = client.Configuration()
        await config.load_kube_config(str(operator.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        async with connect(configuration) as connection:
            task = asyncio.create_task(definition.watch_definition(Api(connection), telemetry))
            for _ in range(100):
                await asyncio.sleep(0.1)
                if caplog.records:
                    break
            task.cancel()

    def missing() -> float | None:
        with caplog.at_level(logging.WARNING):
            asyncio.run(check())
        return telemetry.registry.get_sample_value("speechmodel_definition_missing_fields")

    operator.kubectl.apply(older)
    try:
        operator.kubectl.until(lambda: missing() == 4, "the missing field and those below it are counted")
    finally:
        operator.kubectl.apply(crd())
    assert "CRDOutdated: the CustomResourceDefinition is older than the operator and lacks" in caplog.text
    assert "spec.serving.topologySpread.maxSkew" in caplog.text
