"""The NetworkPolicies for the pods of all SpeechModels of a namespace. The chart has the one for the operator itself."""

from collections.abc import Iterable, Mapping
from typing import Any

from speechmodel_api.stages.contract import StageName

from speechmodel_operator.resources import labels, workers
from speechmodel_operator.resources.pod import Manifest
from speechmodel_operator.settings import PolicySettings

OFFLINE = (StageName.TRAIN, StageName.CONVERT, StageName.EVALUATE)
"""Stages that work on the workspace alone."""
ONLINE = (StageName.PREPARE, StageName.DOWNLOAD, StageName.PUBLISH, StageName.COMPARE, labels.PURGE)
"""Stages that use a bucket."""
DNS: Manifest = {"ports": [{"port": 53, "protocol": "UDP"}, {"port": 53, "protocol": "TCP"}]}


def policies(settings: PolicySettings, namespace: str, owner_uid: str) -> tuple[Manifest, ...]:
    """Return the policies of a namespace. `owner_uid` is the uid of the role that owns them, if the settings name one.

    They have no `instance` label and no name that an earlier chart used: tools such as Argo CD and helm delete what they recognise.
    """
    specs = {
        "model-offline": _offline(settings),
        "model-workers": _workers(),
        "model-restores": _restores(),
        "model-storage": _storage(),
        "model-servers": _servers(settings),
    }
    return tuple(_policy(settings, namespace, owner_uid, name, spec) for name, spec in specs.items())


def identity(settings: PolicySettings) -> str:
    """Return the annotation of a policy that this operator wrote."""
    return f"{settings.namespace}/{settings.name}"


def meaning(value: Any) -> Any:
    """Return a spec in the form in which two specs that mean the same are equal.

    An empty list or empty matchLabels mean the same as none, and a port without a protocol is one of TCP. The API server changes a
    spec in these ways. It keeps an empty selector, which selects everything.
    """
    if isinstance(value, Mapping):
        empty: dict[object, Manifest] = {"matchLabels": {}}
        found = {name: meaning(field) for name, field in value.items() if field not in (None, [], empty.get(name))}
        return found | {"protocol": found.get("protocol", "TCP")} if "port" in found else found
    return [meaning(each) for each in value] if isinstance(value, list | tuple) else value


def _policy(settings: PolicySettings, namespace: str, owner_uid: str, name: str, spec: Manifest) -> Manifest:
    metadata: Manifest = {
        "name": f"{settings.name}-{name}",
        "namespace": namespace,
        "labels": {
            "app.kubernetes.io/name": "speechmodel",
            "app.kubernetes.io/component": "network-policy",
            "app.kubernetes.io/managed-by": "speechmodel-operator",
            labels.OPERATOR: settings.name,
        },
        "annotations": {labels.OPERATOR: identity(settings)},
    }
    if (owner := settings.owner) is not None:
        version = "rbac.authorization.k8s.io/v1"
        metadata["ownerReferences"] = [
            {"apiVersion": version, "kind": owner.kind, "name": owner.name, "uid": owner_uid}
        ]
    return {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": metadata, "spec": spec}


def _offline(settings: PolicySettings) -> Manifest:
    """Return a policy without any network, but for traces."""
    spec: Manifest = {"podSelector": _stages(OFFLINE), "policyTypes": ["Ingress", "Egress"]}
    if settings.collector_ports:
        ports = [{"port": port, "protocol": "TCP"} for port in settings.collector_ports]
        spec["egress"] = [DNS, {"ports": ports, "to": [{"namespaceSelector": {}}]}]
    return spec


def _workers() -> Manifest:
    """Return a policy by which the workers of one training call each other, by names that DNS resolves."""
    selector = {"matchExpressions": [_exists(labels.MODEL), _exists(labels.WORKERS)]}
    ports, peers = [{"port": workers.PORT_NAME, "protocol": "TCP"}], [{"podSelector": selector}]
    return {
        "podSelector": selector,
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": peers, "ports": ports}],
        "egress": [{"to": peers, "ports": ports}, DNS],
    }


def _restores() -> Manifest:
    """Return a policy by which a stage that is offline otherwise calls the service of a bucket. Policies add up."""
    selector = {"matchExpressions": [_exists(labels.MODEL), _exists(labels.RESTORES)]}
    return {"podSelector": selector, "policyTypes": ["Egress"], "egress": [{}]}


def _storage() -> Manifest:
    """Return a policy by which nobody calls these stages. They call the service of a bucket, which each SpeechModel names."""
    return {"podSelector": _stages(ONLINE), "policyTypes": ["Ingress"]}


def _servers(settings: PolicySettings) -> Manifest:
    """Return a policy that opens the ports http and wyoming of servers. They download their version from a bucket."""
    # the operator reads the metrics of canaries
    operator = {
        "namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": settings.namespace}},
        "podSelector": {"matchLabels": dict(settings.operator_labels)},
    }
    callers = [*settings.server_from, *settings.metrics_from, operator] if settings.server_from else []
    return {
        "podSelector": _stages((labels.SERVER, labels.CANARY)),
        "policyTypes": ["Ingress"],
        "ingress": [_open("http", callers), _open("wyoming", settings.wyoming_from or settings.server_from)],
    }


def _open(port: str, peers: Iterable[Mapping[str, Any]]) -> Manifest:
    """Return the rule that opens a port to some peers, or to all if there are none."""
    given = [meaning(peer) for peer in peers]
    return {"ports": [{"port": port, "protocol": "TCP"}], **({"from": given} if given else {})}


def _stages(names: Iterable[str]) -> Manifest:
    values = [str(name) for name in names]
    return {"matchExpressions": [_exists(labels.MODEL), {"key": labels.STAGE, "operator": "In", "values": values}]}


def _exists(label: str) -> Manifest:
    return {"key": label, "operator": "Exists"}
