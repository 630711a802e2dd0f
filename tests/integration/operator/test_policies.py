"""The NetworkPolicies that the operator keeps, on a real API server and with the permissions of the chart."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
import yaml
from kubernetes.aio import client, config
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.connection import connect
from speechmodel_operator.cluster.policies import EVERY_SECONDS, FIRST_PAUSE_SECONDS, Policies
from speechmodel_operator.resources.policies import policies
from speechmodel_operator.settings import PolicySettings
from speechmodel_operator.telemetry import Telemetry
from speechmodel_plan.task import Owner
from support.helm_chart import NAME, Helm, Object, operator_pod
from support.kube import Kubectl

from .conftest import Operator

pytestmark = pytest.mark.slow

PLACE = "team-net"
LIMITED: Object = {
    "networkPolicy": {
        "serverFrom": [
            {"ipBlock": {"cidr": "10.0.0.0/8", "except": []}},
            {"namespaceSelector": {"matchLabels": {}}, "podSelector": {"matchLabels": {}, "matchExpressions": []}},
        ]
    }
}
LISTED: Object = {"watchNamespaces": [PLACE]}
OFF: Object = {"networkPolicy": {"enabled": False}}
NAMES = {f"{NAME}-model-{part}" for part in ("offline", "workers", "restores", "storage", "servers")}
MODEL = Owner(PLACE, "m", "uid-1")


@pytest.fixture
def there(kubectl: Kubectl) -> Iterator[Kubectl]:
    """The administrator's kubectl in a namespace without policies."""
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": PLACE}})
    found = replace(kubectl, namespace=PLACE)
    yield found
    found("delete", "networkpolicies", "--all")


def settings_of(helm: Helm, values: Object) -> PolicySettings:
    """Return the setting that the chart gives to the operator."""
    (container,) = operator_pod(helm.manifests(values))["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}
    return PolicySettings.model_validate_json(given["SPEECHMODEL_NETWORK_POLICIES"])


@dataclass
class Keeper:
    """An operator that was started with some settings, and a clock that tests set."""

    api: Api
    settings: PolicySettings
    telemetry: Telemetry
    now: float = 0.0
    policies: Policies = field(init=False)

    def __post_init__(self) -> None:
        self.policies = Policies(self.api, self.settings, self.telemetry, clock=lambda: self.now)

    async def after(self, seconds: float) -> None:
        """Take a step of the model some time later."""
        self.now += seconds
        await self.policies.ensure(MODEL)

    def calls(self, verb: str) -> float:
        """Return the number of calls so far."""
        found = self.telemetry.registry.collect()
        samples = [sample for metric in found for sample in metric.samples if sample.name.endswith("api_calls_total")]
        return sum(sample.value for sample in samples if sample.labels["verb"] == verb)

    @property
    def failing(self) -> float | None:
        """The number of namespaces in the metric."""
        return self.telemetry.registry.get_sample_value("speechmodel_network_policies_failing")


def keep(operator: Operator, settings: PolicySettings, use: Callable[[Keeper], Awaitable[object]]) -> None:
    """Start an operator with the permissions of the chart, and use it."""

    async def go() -> None:
        configuration = client.Configuration()
        await config.load_kube_config(str(operator.kubeconfig), client_configuration=configuration)  # type: ignore[no-untyped-call]
        telemetry = Telemetry()
        async with connect(configuration) as connection:
            await use(Keeper(Api(connection, telemetry), settings, telemetry))

    asyncio.run(go())


def found(kubectl: Kubectl) -> dict[str, Object]:
    """Return the policies of the namespace by name."""
    return {each["metadata"]["name"]: each for each in kubectl.find("networkpolicies")}


@pytest.mark.parametrize("operator", [LIMITED], indirect=True)
def test_the_first_model_of_a_namespace_brings_policies_and_a_restart_writes_nothing(
    operator: Operator, there: Kubectl, helm: Helm
) -> None:
    settings = settings_of(helm, LIMITED)

    async def first(keeper: Keeper) -> None:
        models = [replace(MODEL, name=f"m{number}", uid=f"uid-{number}") for number in range(50)]
        await asyncio.gather(*(keeper.policies.ensure(model) for model in models))
        assert keeper.calls("PATCH") == len(NAMES)

    async def again(keeper: Keeper) -> None:
        models = [replace(MODEL, name=f"m{number}", uid=f"uid-{number}") for number in range(50)]
        await asyncio.gather(*(keeper.policies.ensure(model) for model in models))
        assert keeper.calls("GET") == 2, "the policies of the namespace, and the owner of all policies"
        assert keeper.calls("PATCH") == 0
        await keeper.after(EVERY_SECONDS / 2)
        assert keeper.calls("GET") == 2
        await keeper.after(EVERY_SECONDS)
        assert (keeper.calls("GET"), keeper.calls("PATCH")) == (3, 0)

    keep(operator, settings, first)
    role, made = there.get("clusterrole", f"{NAME}-net"), found(there)
    assert role and made.keys() == NAMES
    for policy in made.values():
        (owner,) = policy["metadata"]["ownerReferences"]
        assert (owner["kind"], owner["uid"]) == ("ClusterRole", role["metadata"]["uid"])
        assert "app.kubernetes.io/instance" not in policy["metadata"]["labels"], "Argo CD would prune it"
    assert made[f"{NAME}-model-servers"]["spec"]["ingress"][0]["from"][:2] == [
        {"ipBlock": {"cidr": "10.0.0.0/8"}},
        {"namespaceSelector": {}, "podSelector": {}},
    ]
    keep(operator, settings, again)
    assert found(there) == made
    wanted = yaml.safe_dump_all(policies(settings, PLACE, role["metadata"]["uid"]))
    manager = ("--server-side", "--field-manager=speechmodel-operator", "-f", "-")
    assert not there.differs(*manager, stdin=wanted)


def test_what_somebody_edits_or_deletes_comes_back_within_the_hour(
    operator: Operator, there: Kubectl, helm: Helm
) -> None:
    offline, workers, servers = (f"{NAME}-model-{part}" for part in ("offline", "workers", "servers"))

    async def use(keeper: Keeper) -> None:
        await keeper.after(0)
        made = found(there)
        there("delete", "networkpolicy", offline)
        there(
            "patch",
            "networkpolicy",
            servers,
            "--type=merge",
            "-p",
            '{"spec": {"podSelector": {"matchExpressions": null}}}',
        )
        there("label", "networkpolicy", workers, "app.kubernetes.io/managed-by=me", "mine=kept", "--overwrite")
        await keeper.after(1)
        assert offline not in found(there)
        await keeper.after(2 * EVERY_SECONDS)
        after = found(there)
        assert {name: each["spec"] for name, each in after.items()} == {
            name: each["spec"] for name, each in made.items()
        }
        assert after[workers]["metadata"]["labels"] == made[workers]["metadata"]["labels"] | {"mine": "kept"}
        assert keeper.calls("PATCH") == len(NAMES) + 3

    keep(operator, settings_of(helm, {}), use)


def test_a_policy_of_somebody_else_is_left_and_the_others_are_made(
    operator: Operator, there: Kubectl, helm: Helm, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"{NAME}-model-offline"
    kind: Object = {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy"}
    there.apply(kind | {"metadata": {"name": name}, "spec": {"podSelector": {"matchLabels": {"a": "b"}}}})

    async def use(keeper: Keeper) -> None:
        for _ in range(3):
            await keeper.after(2 * EVERY_SECONDS)
        assert found(there).keys() == NAMES
        assert found(there)[name]["spec"]["podSelector"] == {"matchLabels": {"a": "b"}}
        assert caplog.text.count(f"the NetworkPolicy {name} exists and was not made by this operator") == 1
        assert keeper.failing == 1
        there("delete", "networkpolicy", name)
        await keeper.after(2 * EVERY_SECONDS)
        assert keeper.failing == 0
        assert found(there)[name]["spec"]["podSelector"] != {"matchLabels": {"a": "b"}}

    with caplog.at_level(logging.INFO):
        keep(operator, settings_of(helm, {}), use)
    assert "are applied again" in caplog.text


@pytest.mark.parametrize("operator", [OFF], indirect=True)
def test_without_the_permission_it_is_said_once_and_asked_ever_more_seldom(
    operator: Operator, there: Kubectl, helm: Helm, caplog: pytest.LogCaptureFixture
) -> None:
    async def use(keeper: Keeper) -> None:
        await keeper.after(0)
        assert keeper.calls("GET") == 1
        await keeper.after(FIRST_PAUSE_SECONDS / 2)
        assert keeper.calls("GET") == 1
        for _ in range(100):
            await keeper.after(FIRST_PAUSE_SECONDS)
        assert keeper.calls("GET") <= 8
        assert (keeper.calls("PATCH"), keeper.failing) == (0, 1)
        keeper.policies.forget(MODEL)
        assert keeper.failing == 0, "nothing is missing where no model is"

    keep(operator, settings_of(helm, {}), use)
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert PLACE in record.message
    assert 'cannot list resource "networkpolicies"' in record.message
    assert "Let the operator's ServiceAccount list, create and patch NetworkPolicies, or set" in record.message
    assert found(there) == {}


@pytest.mark.parametrize("operator", [LISTED], indirect=True)
def test_with_namespaces_given_the_role_of_each_owns_its_policies(
    there: Kubectl, operator: Operator, helm: Helm
) -> None:
    keep(operator, settings_of(helm, LISTED), lambda keeper: keeper.after(0))
    role = there.get("role", f"{NAME}-net")
    assert role
    owners = [policy["metadata"]["ownerReferences"][0] for policy in found(there).values()]
    assert {(owner["kind"], owner["uid"]) for owner in owners} == {("Role", role["metadata"]["uid"])}


def test_a_release_that_is_installed_again_takes_its_policies_over(
    operator: Operator, there: Kubectl, helm: Helm
) -> None:
    """The garbage collector may not have deleted them yet."""

    async def use(keeper: Keeper) -> None:
        await keeper.after(0)
        role = there.get("clusterrole", f"{NAME}-net")
        assert role
        there("delete", "clusterrole", f"{NAME}-net")
        there.apply({key: role[key] for key in ("apiVersion", "kind", "rules")} | {"metadata": _without_uid(role)})
        restarted = replace(keeper)
        await restarted.after(0)
        now = there.get("clusterrole", f"{NAME}-net")
        assert now and now["metadata"]["uid"] != role["metadata"]["uid"]
        owners = [owner["uid"] for each in found(there).values() for owner in each["metadata"]["ownerReferences"]]
        assert owners == [now["metadata"]["uid"]] * len(NAMES)

    keep(operator, settings_of(helm, {}), use)


def test_policies_lose_the_role_that_owned_them_when_the_release_has_none_any_more(
    operator: Operator, there: Kubectl, helm: Helm
) -> None:
    """With `rbac.create` set to false, the garbage collector would delete them with the role of before."""

    async def use(keeper: Keeper) -> None:
        await keeper.after(0)
        assert all(policy["metadata"]["ownerReferences"] for policy in found(there).values())
        restarted = replace(keeper, settings=keeper.settings.model_copy(update={"owner": None}))
        await restarted.after(0)
        assert found(there).keys() == NAMES
        assert not any("ownerReferences" in policy["metadata"] for policy in found(there).values())
        written = keeper.calls("PATCH")
        await restarted.after(2 * EVERY_SECONDS)
        assert keeper.calls("PATCH") == written

    keep(operator, settings_of(helm, {}), use)


def test_a_namespace_that_is_being_deleted_is_no_problem(
    operator: Operator, kubectl: Kubectl, helm: Helm, caplog: pytest.LogCaptureFixture
) -> None:
    ending = replace(MODEL, namespace="team-ending")
    kubectl.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": ending.namespace}})
    kubectl("delete", "namespace", ending.namespace, "--wait=false")

    async def use(keeper: Keeper) -> None:
        await keeper.policies.ensure(ending)
        assert (keeper.calls("PATCH"), keeper.failing) == (len(NAMES), 0)

    keep(operator, settings_of(helm, {}), use)
    assert "NetworkPolicies" not in caplog.text


def test_a_rejection_that_is_not_about_permissions_gets_no_advice_about_them(
    operator: Operator, there: Kubectl, helm: Helm, caplog: pytest.LogCaptureFixture
) -> None:
    hard = {"count/networkpolicies.networking.k8s.io": "0"}
    quota: Object = {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "none"}, "spec": {"hard": hard}}
    there.apply(quota)
    patch = json.dumps({"status": {"hard": hard, "used": dict.fromkeys(hard, "0")}})
    there("patch", "resourcequota", "none", "--subresource=status", "--type=merge", "-p", patch)
    try:
        keep(operator, settings_of(helm, {}), lambda keeper: keeper.after(0))
    finally:
        there("delete", "resourcequota", "none")
    (record,) = (record for record in caplog.records if record.levelno == logging.WARNING)
    assert "exceeded quota: none" in record.message
    assert "ServiceAccount" not in record.message


def _without_uid(found: Object) -> dict[str, Any]:
    return {key: found["metadata"][key] for key in ("name", "labels")}


def test_a_release_that_is_being_removed_gets_no_policies_any_more(
    operator: Operator, there: Kubectl, helm: Helm, caplog: pytest.LogCaptureFixture
) -> None:
    grant = {"apiGroups": ["networking.k8s.io"], "resources": ["networkpolicies"], "verbs": ["*"]}
    absent = {"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["clusterroles"], "verbs": ["get"]}
    role: Object = {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "more"}}
    there.apply(role | {"rules": [grant, absent]})
    there("create", "clusterrolebinding", "more", "--clusterrole=more", f"--serviceaccount=speechops:{NAME}")
    there("delete", "clusterrole", f"{NAME}-net")
    try:
        keep(operator, settings_of(helm, {}), lambda keeper: keeper.after(0))
    finally:
        there("delete", "clusterrolebinding", "more")
        there("delete", "clusterrole", "more")
    assert f"the ClusterRole {NAME}-net does not exist" in caplog.text
    assert found(there) == {}
