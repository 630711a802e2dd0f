"""Two operators that manage the same SpeechModel, which nobody intends, and a definition that is too old."""

import asyncio
import copy
import logging
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from kubernetes.aio import client, config
from speechmodel_api.crd import crd
from speechmodel_operator.cluster import definition
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.connection import connect
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import Conflict
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.telemetry import Telemetry
from speechmodel_plan.reconcile import StepFailed, reconcile
from speechmodel_plan.task import Owner
from support import built, waiting
from support.fake_cluster import PROGRAMS, fake_cluster
from support.kube import Model
from support.lifecycles import STAGES, Lifecycles

from .conftest import IMAGES, Operator
from .test_canary import condition

pytestmark = pytest.mark.slow

MODELS = 3


def test_two_operators_make_every_object_once_and_come_to_rest(operator: Operator) -> None:
    operator.publish(replicas=2)
    operator.kubectl.patch(operator.name, {"dataset": {"revision": "2"}})
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    owner = Owner("default", operator.name, model["metadata"]["uid"])

    async def both() -> None:
        async def work(one: ClusterEngine) -> None:
            for _ in range(8):
                with suppress(Conflict):
                    await reconcile(one)

        async with engines(operator, owner, IMAGES, IMAGES) as found:
            await asyncio.gather(*(work(one) for one in found))

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


def test_two_operators_with_other_images_do_not_replace_the_servers_without_end(operator: Operator) -> None:
    operator.publish(replicas=2)
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    owner = Owner("default", operator.name, model["metadata"]["uid"])

    async def both() -> list[str]:
        async with engines(operator, owner, IMAGES, replace(IMAGES, inference="inference:2")) as (first, second):
            return [await problem(one) for _ in range(8) for one in (first, second)] + [await problem(first)]

    reasons = asyncio.run(both())
    found = operator.kubectl.get("deployment", operator.name)
    assert found
    changes = "one creation, the first change of the second operator, and three more of each"
    assert found["metadata"]["generation"] == 8, changes
    assert set(reasons) == {"", "ManagedTwice"}
    assert condition(operator, "Stalled")["message"].startswith(
        f"Deployment {operator.name} was changed back 3 times in an hour"
    )


def test_what_a_person_changes_is_put_right_however_often(operator: Operator) -> None:
    operator.publish(replicas=2)
    model = operator.kubectl.get("speechmodel", operator.name)
    assert model
    owner = Owner("default", operator.name, model["metadata"]["uid"])

    async def steps() -> None:
        async with engines(operator, owner, IMAGES) as (engine,):
            assert await problem(engine) == ""
            for _ in range(5):
                operator.kubectl("label", "deployment", operator.name, "speechops.dev/model-")
                operator.kubectl("scale", "deployment", operator.name, "--replicas=7")
                assert await problem(engine) == ""

    asyncio.run(steps())
    (found,) = operator.kubectl.find("deployments", f"speechops.dev/model={operator.name}")
    assert found["spec"]["replicas"] == 2


def test_two_whole_operators_run_each_stage_once_although_both_are_killed_and_say_that_there_are_two(
    tmp_path: Path,
) -> None:
    """They have no Lease and different images, from the creation of the models to servers that are Ready."""
    settings = [{"IMAGE_INFERENCE": f"inference:{number}"} for number in range(2)]
    with (
        fake_cluster(built.programs(*PROGRAMS), tmp_path) as plane,
        Lifecycles(plane, tmp_path, MODELS, seed=0, settings=settings) as lifecycles,
    ):
        lifecycles.proxy.faulty = False
        models = [Model(plane.kubectl, name) for name in lifecycles.names]
        kills = [(random.Random(number).randrange(1, MODELS * len(STAGES)), number) for number in range(2)]
        lifecycles.create()

        def reported_twice() -> bool:
            for kill in [kill for kill in kills if len(lifecycles.created()) >= kill[0]]:
                kills.remove(kill)
                lifecycles.kill_operator(kill[1])
            found = [model.condition("Stalled").get("reason") for model in models]
            return not kills and found == ["ManagedTwice"] * MODELS

        lifecycles.until(reported_twice, "each model says that it is managed twice", every=0.1)
        assert [model.condition("Ready")["status"] for model in models] == ["True"] * MODELS
        assert lifecycles.created() == lifecycles.jobs() == lifecycles.expected_jobs(), lifecycles.explain()

        seen: list[list[str]] = []

        def quiet() -> bool:
            objects = plane.kubectl.find("speechmodels,deployments")
            seen.append([found["metadata"]["resourceVersion"] for found in objects])
            return seen[-1:] == seen[-2:-1]

        waiting.until(quiet, "both come to rest", explain=lifecycles.explain, every=3)
        first = lifecycles.operators[0]
        first.send_signal(signal.SIGTERM)
        assert waiting.until_ended(first) == 0
        for model in models:
            plane.kubectl("annotate", "speechmodel", model.name, "speechops.dev/retry=one-is-left")
        lifecycles.until(lambda: lifecycles.ready() == MODELS, "every model is Ready", every=0.3)
        assert [model.condition("Stalled") for model in models] == [{}] * MODELS
        images = {
            container["image"]
            for found in plane.kubectl.find("deployments")
            for container in found["spec"]["template"]["spec"]["containers"]
        }
        assert images == {"inference:1"}, "the server is as the operator that is left wants it"


@asynccontextmanager
async def engines(operator: Operator, owner: Owner, *images: Images) -> AsyncIterator[list[ClusterEngine]]:
    """Give an operator's engine for each of these images."""
    configuration = client.Configuration()
    await config.load_kube_config(str(operator.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with connect(configuration) as connection:
        interval = timedelta(seconds=10)
        yield [ClusterEngine(Api(connection), each, owner, progress_interval=interval) for each in images]


async def problem(engine: ClusterEngine) -> str:
    """Take a step, and return the reason for which it failed, or an empty text."""
    try:
        await reconcile(engine)
    except StepFailed as failed:
        return failed.reason
    return ""


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
        caplog.clear()
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
