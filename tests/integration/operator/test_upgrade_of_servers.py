"""An upgrade of the operator changes the servers of every model, and replaces a few at a time."""

import json
import math
import os
import signal
import subprocess
import sys
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import URLError

import pytest
from prometheus_client.parser import text_string_to_metric_families
from speechmodel_plan.task import Owner
from support import built
from support.fake_cluster import NODES, PROGRAMS, fake_cluster, ready_status, spec
from support.kube import Kubectl, Model, Object
from support.ports import free_port
from support.servers import HANGS

pytestmark = pytest.mark.slow

MODELS, LIMIT = [f"m{number:02}" for number in range(12)], 3
OLD, NEW = "inference:1", "inference:2"
UNSCHEDULABLE = Counter({"!Unschedulable": 100})
"""Events about the pods for which no node was free, as the test wants it."""


@contextmanager
def operator(kubectl: Kubectl, log: Path, image: str) -> Iterator[Callable[[str], float]]:
    """Run the operator with an image of the server, and give its metric of upgrades by state. It is killed at the end, as when its
    node fails.
    """
    metrics = free_port()
    given = {"LIVENESS_PORT": "0", "METRICS_PORT": str(metrics), "LOG_LEVEL": "WARNING", "IMAGE_INFERENCE": image}
    given |= {"SERVER_UPGRADES_AT_ONCE": str(LIMIT)}
    environment = os.environ | {f"SPEECHMODEL_{name}": value for name, value in given.items()}
    command = [sys.executable, "-m", "speechmodel_operator"]
    with log.open("ab") as file:
        process = subprocess.Popen(command, env=environment | {"KUBECONFIG": kubectl.kubeconfig}, stderr=file)

    def upgrades(state: str) -> float:
        address = f"http://127.0.0.1:{metrics}/metrics?name[]=speechmodel_upgrades"
        try:
            text = urllib.request.urlopen(address, timeout=HANGS).read().decode()
        except URLError:  # it has just been started
            return math.nan
        found = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
        return next((sample.value for sample in found if sample.labels == {"state": state}), math.nan)

    try:
        yield upgrades
        assert process.poll() is None, log.read_text(encoding="utf-8")
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


@contextmanager
def watched(kubectl: Kubectl, output: Path) -> Iterator[None]:
    """Write every state of the Deployments to a file, in order."""
    command = kubectl.argv("get", "deployments", "--watch", "--output=json")
    with output.open("wb") as file:
        process = subprocess.Popen(command, stdout=file)
    try:
        yield
    finally:
        process.terminate()
        process.wait()


def states(output: Path) -> Iterator[Object]:
    """Yield what `watched` wrote. The last one may not be whole."""
    text, decoder = output.read_text(encoding="utf-8").lstrip(), json.JSONDecoder()
    while text:
        try:
            found, end = decoder.raw_decode(text)
        except json.JSONDecodeError:
            return
        yield found
        text = text[end:].lstrip()


def image(deployment: Object) -> str:
    found: str = deployment["spec"]["template"]["spec"]["containers"][0]["image"]
    return found


def settled(deployment: Object) -> bool:
    status: dict[str, Any] = deployment.get("status", {})
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    observed = status.get("observedGeneration") == deployment["metadata"]["generation"]
    return observed and counts == [deployment["spec"]["replicas"]] * 3


@dataclass
class Fleet:
    """The models of the cluster."""

    kubectl: Kubectl
    log: Path
    before: dict[str, Counter[str]] = field(default_factory=dict)

    def create(self) -> None:
        """Create the models, each with a version that is published."""
        kind = {"apiVersion": "speechops.dev/v1alpha1", "kind": "SpeechModel"}
        self.kubectl.apply(*(kind | {"metadata": {"name": name}, "spec": spec()} for name in MODELS))
        for name in MODELS:
            owner = Owner("default", name, Model(self.kubectl, name).object["metadata"]["uid"])
            status = ready_status(owner).model_dump(by_alias=True, exclude_none=True, mode="json")
            patch = json.dumps({"status": status})
            self.kubectl("patch", "speechmodel", name, "--subresource=status", "--type=merge", "-p", patch)

    def until(self, look: Any, what: str) -> None:
        self.kubectl.until(look, f"{what}\n{self.log.read_text(encoding='utf-8')}", every=0.5)

    def images(self) -> dict[str, str]:
        """Return the image that each Deployment asks for."""
        return {found["metadata"]["name"]: image(found) for found in self.kubectl.find("deployments")}

    def replaced(self) -> set[str]:
        return {name for name, found in self.images().items() if found == NEW}

    def waiting(self) -> set[str]:
        """Return the models that say that they wait."""
        models = (Model(self.kubectl, name) for name in MODELS)
        return {model.name for model in models if model.condition("Serving").get("reason") == "WaitingForUpgrade"}

    def serve(self, version: str) -> bool:
        """Return True when every model has ready servers with an image, and its status says so."""
        found = self.kubectl.find("deployments")
        ready = all(settled(deployment) and image(deployment) == version for deployment in found)
        models = [Model(self.kubectl, name) for name in MODELS]
        return (
            len(found) == len(MODELS)
            and ready
            and all(model.condition("Serving").get("reason") == "Serving" for model in models)
            and all(model.status.get("phase") == "Ready" for model in models)
        )

    def events(self) -> dict[str, Counter[str]]:
        return {name: Model(self.kubectl, name).reported() for name in MODELS}


def test_a_few_servers_are_replaced_at_a_time_also_after_a_restart_and_an_edit_goes_at_once(tmp_path: Path) -> None:
    with fake_cluster(built.programs(*PROGRAMS), tmp_path) as plane:
        kubectl, nodes = plane.kubectl, [f"fake-{number}" for number in range(NODES)]
        fleet, log = Fleet(kubectl, tmp_path / "operator.log"), tmp_path / "deployments"
        fleet.create()
        with operator(kubectl, fleet.log, OLD):
            fleet.until(lambda: fleet.serve(OLD), "every model is served")
        before = fleet.events()
        kubectl("cordon", *nodes)  # no roll-out ends
        with watched(kubectl, log):
            with operator(kubectl, fleet.log, NEW):
                fleet.until(lambda: len(fleet.replaced()) >= LIMIT, "some are replaced")
                first = fleet.replaced()
                fleet.until(lambda: fleet.waiting() == {*MODELS} - first, "the others wait")
                assert len(first) == LIMIT
                edited = min(fleet.waiting())
                kubectl.patch(edited, {"serving": {"env": [{"name": "TZ", "value": "UTC"}]}})
                fleet.until(lambda: fleet.replaced() == {*first, edited}, "the edit is carried out")
            with operator(kubectl, fleet.log, NEW) as upgrades:
                fleet.until(lambda: upgrades("waiting") == len(MODELS) - LIMIT - 1, "the others still wait")
                assert upgrades("rolling_out") == LIMIT + 1, "a new operator cannot tell the edit from an upgrade"
                assert fleet.waiting() == {*MODELS} - first - {edited}
                assert fleet.replaced() == {*first, edited}
                assert {Model(kubectl, name).condition("Ready")["status"] for name in MODELS} == {"True"}
                kubectl("uncordon", *nodes)
                fleet.until(lambda: fleet.serve(NEW), "every server is replaced")
        assert most_at_once(log, edited) == LIMIT
        posted = {name: found - before[name] - UNSCHEDULABLE for name, found in fleet.events().items()}
        assert {name: found for name, found in posted.items() if found.total() > 1} == {}


def most_at_once(log: Path, edited: str) -> int:
    """Return the largest number of Deployments that were being replaced at the same time, without the one that a user edited."""
    going_on: set[str] = set()
    most = 0
    for deployment in states(log):
        name = deployment["metadata"]["name"]
        if image(deployment) == NEW and not settled(deployment) and name != edited:
            going_on.add(name)
        else:
            going_on.discard(name)
        most = max(most, len(going_on))
    return most
