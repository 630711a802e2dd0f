"""The flows that the NetworkPolicies allow, computed over the pods that the operator creates.

No network plugin is at hand that enforces policies, so a small evaluation of selectors and ports stands in for one.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
from speechmodel_api.credentials import S3_KEYS
from speechmodel_api.serving_spec import WYOMING_PORT
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PurgeInput
from speechmodel_operator.resources import jobs, labels, serving
from speechmodel_operator.resources.policies import OFFLINE, ONLINE, policies
from speechmodel_operator.resources.workers import PORT as WORKERS_PORT
from speechmodel_operator.settings import PolicySettings
from speechmodel_plan.observed import Claim
from support.world import World

from .test_resources import IMAGES, MODEL, OWNER

OPERATOR = {"app.kubernetes.io/name": "speechmodel-operator", "app.kubernetes.io/instance": "speech"}
SETTINGS: dict[str, Any] = {"name": "speech", "namespace": "ops", "operatorLabels": OPERATOR}
HTTP, WYOMING, COLLECTOR = serving.PORT, WYOMING_PORT, 4318
STAGES = [*(str(stage) for stage in StageName), labels.PURGE]
SERVERS = [labels.SERVER, labels.CANARY]


@dataclass(frozen=True)
class Pod:
    """One end of a flow."""

    labels: Mapping[str, str]
    namespace: str = OWNER.namespace
    ports: tuple[tuple[str, int], ...] = ()
    """Name and number of each port of its containers."""
    variables: frozenset[str] = frozenset()
    """Names of the environment variables of its containers."""
    volumes: str = ""


CLIENT, NEIGHBOUR = Pod({"app": "client"}, "elsewhere"), Pod({"app": "neighbour"})
OPERATOR_POD, COLLECTOR_POD = Pod(OPERATOR, "ops"), Pod({"app": "collector"}, "observability")
PROMETHEUS = Pod({"app": "prometheus"}, "monitoring")
STORAGE = None
"""An address outside of the cluster, such as that of a bucket."""


def pod(template: Mapping[str, Any]) -> Pod:
    """Return the pod of a template of the operator."""
    spec = template["spec"]
    containers = [*spec["containers"], *spec.get("initContainers", [])]
    ports = tuple((port["name"], port["containerPort"]) for each in containers for port in each.get("ports", []))
    variables = frozenset(variable["name"] for each in containers for variable in each["env"])
    return Pod(template["metadata"]["labels"], OWNER.namespace, ports, variables, str(spec["volumes"]))


def pods() -> dict[str, Pod]:
    """Return a pod of each kind by its stage, the one of several workers as "worker", and a convert that has lost the workspace as
    "restoring".
    """
    world = World()
    bucket = {"bucket": "pretrained", "secretRef": {"name": "s"}}
    world.edit(training__initFrom={"s3": bucket}, evaluation={"gate": {"notWorseThanServing": {}}})
    world.to_ready()
    world.data = "other"
    world.edit(dataset__revision="2")
    world.to_rest()
    found = {
        str(run.stage): jobs.stage_job(IMAGES, OWNER, world.observe().spec, run, {})
        for run in world.stage_runs.values()
    }
    lost = World()
    lost.to_ready()
    lost.claim = Claim("espejo-workspace", "another uid", owned=False)
    lost.edit(decoding={"beamWidth": 9})
    lost.until(StageName.CONVERT)
    assert lost.plan and lost.plan.start
    found["restoring"] = jobs.stage_job(IMAGES, OWNER, lost.observe().spec, lost.plan.start, {})
    several = World()
    several.edit(training__numWorkers=3)
    several.until(StageName.TRAIN)
    assert several.plan and several.plan.start
    found["worker"] = jobs.stage_job(IMAGES, OWNER, several.observe().spec, several.plan.start, {})
    given = {"wyoming": {"enabled": True}, "takes": {"retrain": {}}, "apiKeysSecretRef": {"name": "keys"}}
    spec = SpeechModelSpec.model_validate(World().spec | {"serving": given})
    found[labels.PURGE] = jobs.purge_job(IMAGES, OWNER, spec, PurgeInput(target=spec.publish.s3, base="a/b"), {})
    found[labels.SERVER] = serving.deployment(IMAGES, OWNER, spec, MODEL)
    found[labels.CANARY] = serving.canary(IMAGES, OWNER, spec, MODEL, 1)
    return {name: pod(manifest["spec"]["template"]) for name, manifest in found.items()}


PODS = pods()


def may(caller: Pod | None, called: Pod | None, port: int, protocol: str = "TCP", **settings: Any) -> bool:
    """Return True when policies of both namespaces allow a flow. `None` is an address outside of the cluster."""
    found = policies(PolicySettings.model_validate(SETTINGS | settings), OWNER.namespace, "")
    leaves = caller is None or _allows(found, "egress", caller, called, port, protocol, called)
    return leaves and (called is None or _allows(found, "ingress", called, caller, port, protocol, called))


def _allows(
    found: Iterable[Mapping[str, Any]],
    direction: str,
    subject: Pod,
    peer: Pod | None,
    port: int,
    protocol: str,
    called: Pod | None,
) -> bool:
    specs = [
        policy["spec"]
        for policy in found
        if policy["metadata"]["namespace"] == subject.namespace
        and direction.capitalize() in policy["spec"]["policyTypes"]
        and _selects(policy["spec"]["podSelector"], subject.labels)
    ]
    rules = [rule for spec in specs for rule in spec.get(direction, [])]
    ends = "from" if direction == "ingress" else "to"
    return not specs or any(
        _has_port(rule.get("ports"), port, protocol, called) and _has_peer(rule.get(ends), peer, subject)
        for rule in rules
    )


def _has_port(ports: Any, port: int, protocol: str, called: Pod | None) -> bool:
    named = dict(called.ports) if called is not None else {}
    return not ports or any(
        each["protocol"] == protocol and named.get(each["port"], each["port"]) == port for each in ports
    )


def _has_peer(peers: Any, pod: Pod | None, subject: Pod) -> bool:
    if not peers:
        return True
    return pod is not None and any(
        _selects(peer.get("podSelector", {}), pod.labels)
        and (
            _selects(peer["namespaceSelector"], {"kubernetes.io/metadata.name": pod.namespace})
            if "namespaceSelector" in peer
            else pod.namespace == subject.namespace
        )
        for peer in peers
    )


def _selects(selector: Mapping[str, Any], found: Mapping[str, str]) -> bool:
    expressions = selector.get("matchExpressions", [])
    assert {expression["operator"] for expression in expressions} <= {"In", "Exists"}
    return selector.get("matchLabels", {}).items() <= found.items() and all(
        expression["key"] in found
        and (expression["operator"] == "Exists" or found[expression["key"]] in expression["values"])
        for expression in expressions
    )


def test_every_kind_of_pod_is_either_offline_or_online_or_a_server() -> None:
    assert PODS.keys() == {*STAGES, *SERVERS, "worker", "restoring"}
    assert sorted([*OFFLINE, *ONLINE]) == sorted(STAGES), "a new stage needs a policy"


@pytest.mark.parametrize("name", [*STAGES, "worker", "restoring"])
def test_nobody_calls_a_stage_but_workers_each_other(name: str) -> None:
    callers = [CLIENT, NEIGHBOUR, OPERATOR_POD, *(other for kind, other in PODS.items() if kind != name)]
    assert not any(may(caller, PODS[name], port) for caller in callers for port in (22, 80, HTTP, WORKERS_PORT))
    assert may(PODS["worker"], PODS["worker"], WORKERS_PORT)
    assert not may(PODS["worker"], PODS["worker"], 22)


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_stage_calls_nobody_but_a_collector_of_traces(name: str) -> None:
    others = [STORAGE, CLIENT, NEIGHBOUR, COLLECTOR_POD, *PODS.values()]
    assert not any(may(PODS[name], other, port) for other in others for port in (53, 443, HTTP, COLLECTOR))
    assert not may(PODS[name], NEIGHBOUR, 53, "UDP")
    traced: dict[str, Any] = {"collectorPorts": [COLLECTOR]}
    assert may(PODS[name], COLLECTOR_POD, COLLECTOR, **traced)
    assert may(PODS[name], NEIGHBOUR, 53, "UDP", **traced), "the name of the collector is resolved"
    assert not may(PODS[name], STORAGE, COLLECTOR, **traced)
    assert not may(PODS[name], STORAGE, 443, **traced)


def test_labels_of_a_manifest_do_not_let_a_pod_leave() -> None:
    ours = {"speechops.dev/restores": "x", "speechops.dev/workers": "3"}
    template = {"podTemplate": {"labels": ours | {"team": "speech"}}}
    world = World()
    world.edit(training__podTemplate=template["podTemplate"], serving=template)
    world.until(StageName.CONVERT)
    assert world.plan and world.plan.start
    spec = world.observe().spec
    stage = pod(jobs.stage_job(IMAGES, OWNER, spec, world.plan.start, {})["spec"]["template"])
    server = pod(serving.deployment(IMAGES, OWNER, spec, MODEL)["spec"]["template"])
    for each in (stage, server):
        assert each.labels["team"] == "speech"
        assert not ours.keys() & each.labels.keys()
    assert not may(stage, STORAGE, 443)
    assert not may(stage, PODS["worker"], WORKERS_PORT)


def test_workers_resolve_the_names_of_each_other_and_send_traces() -> None:
    worker = PODS["worker"]
    assert may(worker, NEIGHBOUR, 53, "UDP") and may(worker, NEIGHBOUR, 53)
    assert not may(worker, STORAGE, 443) and not may(worker, COLLECTOR_POD, COLLECTOR)
    assert may(worker, COLLECTOR_POD, COLLECTOR, collectorPorts=[COLLECTOR])


@pytest.mark.parametrize("name", PODS)
def test_every_pod_that_has_keys_of_a_bucket_or_a_token_of_kubernetes_may_leave(name: str) -> None:
    found = PODS[name]
    keys = any(variable.endswith(key) for variable in found.variables for key in S3_KEYS)
    if keys or "serviceAccountToken" in found.volumes:
        assert may(found, STORAGE, 443) and may(found, STORAGE, 9000) and may(found, NEIGHBOUR, 53, "UDP")
    assert may(found, STORAGE, 443) == (name in (*ONLINE, *SERVERS, "restoring"))


@pytest.mark.parametrize("name", PODS)
def test_every_port_of_a_pod_is_open_for_those_who_need_it(name: str) -> None:
    callers = {HTTP: [CLIENT, NEIGHBOUR, OPERATOR_POD, PROMETHEUS], WYOMING: [CLIENT], WORKERS_PORT: [PODS["worker"]]}
    for port_name, port in PODS[name].ports:
        for caller in callers[port]:
            assert may(caller, PODS[name], port), f"{port_name} of {name}: a new port needs a rule and a line here"


@pytest.mark.parametrize("name", SERVERS)
def test_with_server_from_only_those_who_are_named_call_servers(name: str) -> None:
    client = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "elsewhere"}}}
    scraper = {"namespaceSelector": {}, "podSelector": {"matchLabels": {"app": "prometheus"}}}
    limited: dict[str, Any] = {"serverFrom": [client], "metricsFrom": [scraper]}
    server = PODS[name]
    callers = [CLIENT, NEIGHBOUR, OPERATOR_POD, PROMETHEUS]
    http = [caller for caller in callers if may(caller, server, HTTP, **limited)]
    assert http == [CLIENT, OPERATOR_POD, PROMETHEUS], "the operator reads the metrics of canaries"
    assert [caller for caller in callers if may(caller, server, WYOMING, **limited)] == [CLIENT]
    alone = limited | {"wyomingFrom": [{"podSelector": {"matchLabels": {"app": "neighbour"}}}]}
    assert may(NEIGHBOUR, server, WYOMING, **alone) and not may(CLIENT, server, WYOMING, **alone)
    assert not may(CLIENT, server, 9999, **limited), "no other port is open"
