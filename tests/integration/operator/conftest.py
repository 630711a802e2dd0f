"""The operator's engine against a real API server, as the ServiceAccount that the chart creates."""

import asyncio
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config
from speechmodel_api.crd import crd
from speechmodel_api.field_problems import InvalidSpec
from speechmodel_api.status import SpeechModelStatus
from speechmodel_operator.cluster.api import MODELS, Api
from speechmodel_operator.cluster.cache import CHILDREN, Cache, Rehearsal
from speechmodel_operator.cluster.connection import connect
from speechmodel_operator.cluster.engine import ClusterEngine
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.labels import MODEL
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.watches import Watches
from speechmodel_plan.observed import Trouble
from speechmodel_plan.reconcile import StepFailed, reconcile
from speechmodel_plan.task import Owner
from support import built
from support.api_server import api_server, write_kubeconfig
from support.helm_chart import NAME, NAMESPACE, Helm, Object
from support.kube import Kubectl
from support.world import World

IMAGES = Images("pipeline:1", "training:1", "coqui:1", "inference:1", "IfNotPresent", ("regcred",))
ACCOUNT = f"system:serviceaccount:{NAMESPACE}:{NAME}"
Install = Callable[[Object], None]


@pytest.fixture(scope="session")
def helm() -> Helm:
    """Without a cluster."""
    return Helm(shutil.which("helm") or str(built.programs("helm") / "helm"))


@pytest.fixture(scope="session")
def kubectl(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kubectl]:
    """The administrator's kubectl, on an API server that knows SpeechModels. Its start takes 8 s of processor time."""
    programs = built.programs("etcd", "kube-apiserver", "kubectl")
    with api_server(programs, tmp_path_factory.mktemp("api-server")) as found:
        found.apply(crd(), {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE}})
        found.until_established()
        yield found


@pytest.fixture
def install(helm: Helm, kubectl: Kubectl) -> Iterator[Install]:
    """Apply the account and the roles of the chart with some values; they go with the test."""
    applied: list[tuple[Kubectl, str]] = []

    def apply(values: Object) -> None:
        by_namespace: dict[str, list[Object]] = {}
        for found in helm.manifests(values):
            if found["kind"] in {"ServiceAccount", "Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}:
                by_namespace.setdefault(found["metadata"].get("namespace", "default"), []).append(found)
        for namespace, manifests in by_namespace.items():
            there, text = replace(kubectl, namespace=namespace), yaml.safe_dump_all(manifests)
            there("apply", "-f", "-", stdin=text)
            applied.append((there, text))

    yield apply
    for there, text in applied:
        there("delete", "-f", "-", "--ignore-not-found", stdin=text)


class Operator:
    """The operator's engine for one SpeechModel, with the permissions of its ServiceAccount."""

    images = IMAGES
    ahead = timedelta()
    """Time by which the clock of the operator's machine is ahead of the API server's."""

    def __init__(self, kubectl: Kubectl, kubeconfig: Path, name: str) -> None:
        self.kubectl, self.kubeconfig, self.name = kubectl, kubeconfig, name

    def publish(self, **serving: Any) -> World:
        """Create the SpeechModel with a version that is published, and return the world that it comes from."""
        spec = World().spec | {"serving": serving}
        manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": self.name}}
        self.kubectl.apply(manifest | {"spec": spec})
        created = self.kubectl.get("speechmodel", self.name)
        assert created
        world = World(owner=Owner("default", self.name, created["metadata"]["uid"]), spec=spec)
        world.to_ready()
        self.write(world.status)
        return world

    def write(self, status: SpeechModelStatus) -> None:
        """Merge-patch the status."""
        patch = json.dumps({"status": status.model_dump(by_alias=True, exclude_none=True, mode="json")})
        self.kubectl("patch", "speechmodel", self.name, "--subresource=status", "--type=merge", "-p", patch)

    def edit(self, serving: Object | None) -> None:
        """Merge-patch spec.serving."""
        self.kubectl.patch(self.name, {"serving": serving})

    def step(self) -> str:
        """Take one step without an event, and return the problem that it reports or an empty text."""
        return asyncio.run(self._take(after_event=False))

    def react(self) -> str:
        """Take one step after an event, on what the watches know, and return the same."""
        return asyncio.run(self._take(after_event=True))

    async def _take(self, *, after_event: bool) -> str:
        configuration = client.Configuration()
        await config.load_kube_config(str(self.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        async with connect(configuration, lambda: datetime.now(UTC) + self.ahead) as connection:
            model = self.kubectl.get("speechmodel", self.name)
            assert model
            owner, api = Owner("default", self.name, model["metadata"]["uid"]), Api(connection)
            rehearsal = Rehearsal(api, await listed(api)) if after_event else None
            interval = timedelta(seconds=10)
            engine = ClusterEngine(api, self.images, owner, progress_interval=interval, rehearsal=rehearsal)
            try:
                await (engine.react() if after_event else reconcile(engine))
            except StepFailed as failure:
                return str(failure)
            except InvalidSpec as invalid:  # reported by the supervisor
                await engine.report_failure(Trouble(invalid.reason, str(invalid)))
                return str(invalid)
        return ""

    def kinds(self) -> set[str]:
        """Return the kinds of what exists for the model beside its Deployment and Service."""
        resources = "poddisruptionbudgets,horizontalpodautoscalers,ingresses"
        selector = f"speechops.dev/model={self.name}"
        return {found["kind"] for found in self.kubectl.find(resources, selector)}


async def listed(api: Api) -> Cache:
    """Return what the watches of the namespace know once everything is listed."""
    cache = Watches(("default",), 60, Telemetry()).cache
    for resource in (MODELS, *CHILDREN):
        async for page in api.pages(resource, "default", "" if resource is MODELS else MODEL):
            for item in page.items:
                cache[resource.plural].put(item)
    return cache


@pytest.fixture
def operator(kubectl: Kubectl, install: Install, tmp_path: Path, request: pytest.FixtureRequest) -> Operator:
    """The operator with the chart's permissions; a parameter gives the chart's values."""
    install(getattr(request, "param", {}))
    token = replace(kubectl, namespace=NAMESPACE)("create", "token", NAME).strip()
    kubeconfig = yaml.safe_load(Path(kubectl.kubeconfig).read_text(encoding="utf-8"))
    write_kubeconfig(tmp_path / "kubeconfig", kubeconfig["clusters"][0]["cluster"]["server"], token)
    name = f"m{abs(hash(request.node.name)) % 10**8}"
    return Operator(kubectl, tmp_path / "kubeconfig", name)
