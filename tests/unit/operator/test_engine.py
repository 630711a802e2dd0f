"""The engine does not undo what others changed since it read an object."""

from datetime import timedelta
from typing import Any, cast

import pytest
from speechmodel_operator.cluster.api import DEPLOYMENTS, MODELS, Api, Manifest, Resource
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.cluster.errors import Conflict
from speechmodel_operator.cluster.views import Deployment, Model, Service
from speechmodel_plan import names
from speechmodel_plan.plan import Plan, Report, ServingIntent
from support.world import World

from .test_resources import IMAGES, MODEL, OWNER

SCALED = World().spec | {"serving": {"autoscaling": {"minReplicas": 2, "maxReplicas": 8}}}


def metadata(name: str, version: int, **more: object) -> dict[str, Any]:
    owner = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "name": OWNER.name, "uid": OWNER.uid}
    place = {"namespace": OWNER.namespace, "name": name, "uid": f"u-{name}", "resourceVersion": str(version)}
    return place | {"ownerReferences": [owner]} | more


class Server:
    """An API server with a Deployment that an autoscaler set to 8 replicas in version 9. Reads are behind: version 7 with 2."""

    def __init__(self) -> None:
        self.version, self.applied = "9", list[Manifest]()

    async def get(self, resource: Resource[Any], _namespace: str, name: str) -> Any:
        if resource is MODELS:
            return Model.model_validate({"metadata": metadata(name, 3, uid=OWNER.uid), "spec": SCALED})
        if resource is DEPLOYMENTS and name == names.deployment_name(OWNER.name):
            spec = {"replicas": 2, "template": {"metadata": {}}}
            return Deployment.model_validate({"metadata": metadata(name, 7), "spec": spec})
        return None

    async def find(self, resource: Resource[Any], *_: object) -> tuple[Service, ...]:
        return ()

    async def apply(self, resource: Resource[Any], _namespace: str, manifest: Manifest, *, force: bool) -> Any:
        if manifest["metadata"].get("resourceVersion", self.version) != self.version:
            raise Conflict(409, "the object has been modified")
        self.applied.append(manifest)
        return resource.view.model_validate(manifest)


class Serve(Plan):
    """A plan that serves a version."""

    def after(self, done: object) -> Report:
        raise NotImplementedError


async def test_replicas_that_an_autoscaler_set_since_the_deployment_was_read_stay() -> None:
    server = Server()
    engine = ClusterEngine(cast(Api, server), IMAGES, OWNER, progress_interval=timedelta(seconds=60))
    seen = await engine.observe()
    assert seen is not None and seen.server is not None and seen.server.replicas == 2
    plan = Serve(seen=seen, finalizer=False, serving=ServingIntent(MODEL, 2))
    with pytest.raises(Conflict):
        await engine.apply(plan)
    assert server.applied == []
    server.version = "7"
    await engine.apply(plan)
    assert server.applied[0]["kind"] == "Deployment"
