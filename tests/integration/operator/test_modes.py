"""The whole operator, as a process with the chart's settings and permissions: namespaces by label, and one of several."""

import asyncio
import os
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest
from kubernetes.aio import client, config
from speechmodel_operator import lease as module
from speechmodel_operator.cluster.api import Api, Resource
from speechmodel_operator.cluster.connection import connect
from speechmodel_operator.cluster.errors import Refused
from speechmodel_operator.cluster.views import Manifest, ViewT
from speechmodel_operator.lease import Lease, LeaseLost
from support import waiting
from support.helm_chart import NAME, NAMESPACE, Helm, Object, operator_pod
from support.kube import Kubectl
from support.ports import free_port
from support.servers import HANGS
from support.world import World

from .conftest import Operator

pytestmark = pytest.mark.slow

BY_LABEL: Object = {"watchNamespaceSelector": {"matchLabels": {"speech": "enabled"}}}
TWO: Object = {"replicaCount": 2}
PATIENT = """\
import sys
from speechmodel_operator import __main__, lease
lease.RENEW_SECONDS, lease.DURATION_SECONDS = 180.0, 240
sys.exit(__main__.main())
"""
"""The operator, with a Lease that it does not lose while a busy machine gives it no processor time for some seconds."""


class Process:
    """An operator that runs with the environment of the chart's pod."""

    def __init__(self, helm: Helm, values: Object, kubeconfig: Path, log: Path) -> None:
        (container,) = operator_pod(helm.manifests(values))["spec"]["containers"]
        given = {entry["name"]: entry["value"] for entry in container["env"]}
        self.health, self.metrics, self.log = free_port(), free_port(), log
        given |= {"SPEECHMODEL_LIVENESS_PORT": str(self.health), "SPEECHMODEL_METRICS_PORT": str(self.metrics)}
        with log.open("wb") as file:
            self.process = subprocess.Popen(
                [sys.executable, "-c", PATIENT],
                env={**os.environ, **given, "KUBECONFIG": str(kubeconfig)},
                stderr=file,
            )

    def until_logged(self, text: str) -> None:
        waiting.until(lambda: text in self.text(), f"{text!r} is logged", moved=self.text, explain=self.text)

    def text(self) -> str:
        return self.log.read_text(encoding="utf-8")

    def answers(self, host: str) -> str:
        """Return the answer of /healthz, and the first line of /metrics."""
        addresses = f"http://{host}:{self.health}/healthz", f"http://{host}:{self.metrics}/metrics"
        health, metrics = (urllib.request.urlopen(address, timeout=HANGS).read().decode() for address in addresses)
        return f"{health.strip()} {metrics.split()[1]}"

    def leads(self) -> bool:
        """Return True if the metrics say that this operator does the work."""
        address = f"http://127.0.0.1:{self.metrics}/metrics?name[]=speechmodel_leading"
        return "speechmodel_leading 1.0" in urllib.request.urlopen(address, timeout=HANGS).read().decode()


Start = Callable[[Object], Process]


@pytest.fixture
def start(helm: Helm, operator: Operator, tmp_path: Path) -> Iterator[Start]:
    """Start operators with values of the chart. They are stopped at the end."""
    with ExitStack() as stack:
        started: list[Process] = []

        def go(values: Object) -> Process:
            found = Process(helm, values, operator.kubeconfig, tmp_path / f"operator-{len(started)}.log")
            started.append(found)
            stack.callback(found.process.wait)
            stack.callback(found.process.kill)
            return found

        yield go


@pytest.fixture
def teams(kubectl: Kubectl) -> Iterator[tuple[Kubectl, Kubectl]]:
    """A namespace with the label and one without, each with a SpeechModel of the same name."""
    for name, labels in (("team-a", {"speech": "enabled"}), ("team-b", {})):
        kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})
        manifest = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel", "metadata": {"name": "m"}}
        replace(kubectl, namespace=name).apply(manifest | {"spec": World().spec | {"suspend": True}})
    yield replace(kubectl, namespace="team-a"), replace(kubectl, namespace="team-b")
    for name in ("team-a", "team-b"):
        replace(kubectl, namespace=name)("delete", "speechmodel", "m", "--wait=false")
        replace(kubectl, namespace=name)("delete", "networkpolicies", "--all")
        kubectl("label", "namespace", name, "speech-")


def generation(kubectl: Kubectl) -> int:
    """Return the generation that the status of the SpeechModel is about; 0 before there is one."""
    found = kubectl.get("speechmodel", "m")
    assert found
    return int(found.get("status", {}).get("observedGeneration", 0))


@pytest.mark.parametrize("operator", [BY_LABEL], indirect=True)
def test_a_namespace_is_taken_up_with_its_label_and_let_go_without_it(
    start: Start, teams: tuple[Kubectl, Kubectl]
) -> None:
    with_label, without = teams
    process = start(BY_LABEL)
    with_label.until(lambda: generation(with_label) == 1, "the model with the label has a status")
    assert generation(without) == 0
    assert len(with_label.find("networkpolicies")) == 5, "its pods are restricted before there are any"
    assert without.find("networkpolicies") == []
    without("label", "namespace", "team-b", "speech=enabled")
    without.until(lambda: generation(without) == 1, "the model that got the label has a status")
    with_label("label", "namespace", "team-a", "speech-")
    process.until_logged("managing the namespaces team-b\n")
    with_label.patch("m", {"training": {"maxEpochs": 11}})
    without.patch("m", {"training": {"maxEpochs": 11}})
    without.until(lambda: generation(without) == 2, "the edit of the model with the label is followed")
    assert len(with_label.find("networkpolicies")) == len(without.find("networkpolicies")) == 5, "pods may still run"
    assert generation(with_label) == 1, "an edit in a namespace that was let go has no effect"
    with_label("label", "namespace", "team-a", "speech=enabled")
    with_label.until(lambda: generation(with_label) == 2, "the edit is followed when the label is back")
    assert process.answers("127.0.0.1") == process.answers("[::1]") == "ok HELP"
    assert process.leads(), "it needs no Lease"


@pytest.mark.parametrize("operator", [BY_LABEL], indirect=True)
def test_a_selector_that_is_not_valid_ends_the_operator_with_the_reason(start: Start) -> None:
    process = start({"watchNamespaceSelector": {"matchLabels": {"speech": "not a value"}}})
    assert waiting.until_ended(process.process) == 78
    assert "SPEECHMODEL_NAMESPACE_SELECTOR='speech=not a value' is not a valid label selector" in process.text()
    assert "Traceback" not in process.text()


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_of_two_operators_one_works_and_the_other_takes_over(start: Start, teams: tuple[Kubectl, Kubectl]) -> None:
    model, _ = teams
    first = start(TWO)
    first.until_logged("holding the Lease")
    second = start(TWO)
    second.until_logged("waiting for the Lease")
    assert second.answers("127.0.0.1") == "ok HELP"
    assert "holding the Lease" not in second.text()
    model.until(lambda: generation(model) == 1, "the first operator works")
    assert (first.leads(), second.leads()) == (True, False)
    first.process.send_signal(signal.SIGTERM)
    assert waiting.until_ended(first.process) == 0
    second.until_logged("holding the Lease")
    model.patch("m", {"training": {"maxEpochs": 11}})
    model.until(lambda: generation(model) == 2, "the second operator works")
    assert second.leads()
    third = start(TWO)
    third.until_logged("waiting for the Lease")
    second.process.kill()  # as when its node is lost: the Lease expires
    replace(model, namespace=NAMESPACE)(
        "patch", "lease", NAME, "--type=merge", "-p", '{"spec": {"leaseDurationSeconds": 1}}'
    )  # the four minutes of a test
    third.until_logged("holding the Lease")


class SlowApi(Api):
    """A client whose calls take longer from when a test says so."""

    call_seconds = 0.0
    renewals = 0
    answered: Callable[[], None] = staticmethod(lambda: None)
    """Called after the API server has answered a renewal, and before this client returns."""

    async def get(self, resource: Resource[ViewT], namespace: str, name: str) -> ViewT | None:
        await asyncio.sleep(self.call_seconds)
        return await super().get(resource, namespace, name)

    async def merge_patch(
        self, resource: Resource[ViewT], namespace: str, name: str, patch: Manifest, part: str = ""
    ) -> ViewT | None:
        await asyncio.sleep(self.call_seconds)
        found = await super().merge_patch(resource, namespace, name, patch, part)
        self.renewals += 1
        self.answered()
        return found


async def connected(operator: Operator, use: Callable[[SlowApi], object]) -> None:
    configuration = client.Configuration()
    await config.load_kube_config(str(operator.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
    async with connect(configuration) as connection:
        await use(SlowApi(connection))  # type: ignore[misc]


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_work_is_cancelled_when_the_lease_is_lost(
    operator: Operator, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(kubectl, namespace=NAMESPACE)
    there("delete", "lease", NAME, "--ignore-not-found")
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.5)
    monkeypatch.setattr(module, "RENEW_SECONDS", waiting.STALLED_SECONDS)  # kubectl may take long
    told: list[str] = []

    async def work() -> None:
        told.append("began")
        taken = '{"spec": {"holderIdentity": "another"}}'
        await asyncio.to_thread(there, "patch", "lease", NAME, "--type=merge", "-p", taken)
        try:
            await asyncio.Event().wait()
        finally:
            told.append("cancelled")

    async def use(api: SlowApi) -> None:
        with pytest.raises(LeaseLost, match=f"{NAMESPACE}/{NAME}"):
            await Lease(api, NAMESPACE, NAME, "me").hold(work)

    asyncio.run(connected(operator, use))
    assert told == ["began", "cancelled"]
    lease = there.get("lease", NAME)
    assert lease
    assert lease["spec"]["holderIdentity"] == "another", "a lost Lease is left alone"


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_a_slow_api_server_does_not_end_the_work(
    operator: Operator, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(kubectl, namespace=NAMESPACE)("delete", "lease", NAME, "--ignore-not-found")
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    monkeypatch.setattr(module, "RENEW_SECONDS", waiting.STALLED_SECONDS)

    async def use(api: SlowApi) -> None:
        async def work() -> None:
            api.call_seconds = 0.2
            renewed = api.renewals + 3
            async with asyncio.timeout(waiting.STALLED_SECONDS):
                while api.renewals < renewed:
                    await asyncio.sleep(0.05)

        await Lease(api, NAMESPACE, NAME, "me").hold(work)

    asyncio.run(connected(operator, use))


def lose(operator: Operator, harm: Callable[[SlowApi], None]) -> None:
    """Hold the Lease, harm the API server, and expect that the work ends because the Lease is lost."""

    async def use(api: SlowApi) -> None:
        async def work() -> None:
            harm(api)
            await asyncio.sleep(waiting.STALLED_SECONDS)

        with pytest.raises(LeaseLost):
            await Lease(api, NAMESPACE, NAME, "me").hold(work)

    asyncio.run(connected(operator, use))


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_an_api_server_that_stops_answering_ends_the_work(
    operator: Operator, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(kubectl, namespace=NAMESPACE)("delete", "lease", NAME, "--ignore-not-found")
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)

    def stop_answering(api: SlowApi) -> None:
        monkeypatch.setattr(module, "RENEW_SECONDS", 0.5)
        api.call_seconds = 2 * waiting.STALLED_SECONDS

    lose(operator, stop_answering)


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_a_renewal_counts_from_when_it_was_sent(
    operator: Operator, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace(kubectl, namespace=NAMESPACE)("delete", "lease", NAME, "--ignore-not-found")
    monkeypatch.setattr(module, "RETRY_SECONDS", 0.1)
    late = [0.0]
    monkeypatch.setattr(module, "time", SimpleNamespace(monotonic=lambda: time.monotonic() + late[0]))

    def answer_late() -> None:
        late[0] += module.RENEW_SECONDS

    lose(operator, lambda api: setattr(api, "answered", answer_late))


@pytest.mark.parametrize("operator", [TWO], indirect=True)
def test_an_error_of_the_work_ends_it_and_gives_the_lease_up(
    operator: Operator, kubectl: Kubectl, monkeypatch: pytest.MonkeyPatch
) -> None:
    there = replace(kubectl, namespace=NAMESPACE)
    there("delete", "lease", NAME, "--ignore-not-found")
    monkeypatch.setattr(module, "RENEW_SECONDS", 600.0)

    async def work() -> None:
        raise RuntimeError("broken")

    async def use(api: SlowApi) -> None:
        with pytest.raises(RuntimeError, match="broken"):
            await Lease(api, NAMESPACE, NAME, "me").hold(work)

    asyncio.run(connected(operator, use))
    lease = there.get("lease", NAME)
    assert lease
    assert lease["spec"].get("holderIdentity", "") == ""


def test_an_operator_without_the_permission_says_so(operator: Operator) -> None:
    async def use(api: SlowApi) -> None:
        with pytest.raises(Refused, match="leases"):
            await Lease(api, NAMESPACE, NAME, "me").hold(lambda: asyncio.sleep(0))

    asyncio.run(connected(operator, use))
