"""The manifests of the chart: restricted pods, small roles, and settings that the operator knows."""

import pytest
from speechmodel_operator.__main__ import images_of
from speechmodel_operator.resources.pod import CaBundle
from speechmodel_operator.settings import PREFIX, PolicySettings, Settings
from speechmodel_plan.names import retrain_account
from support.helm_chart import NAME, NAMESPACE, Helm, Object, of_kind, operator_pod, rules

CLUSTER_SCOPED = {"ClusterRole", "ClusterRoleBinding", "Namespace", "PriorityClass", "CustomResourceDefinition"}
SCHEDULING: Object = {
    "imagePullSecrets": [{"name": "regcred"}],
    "nodeSelector": {"pool": "serving"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "high",
}


# The calls of speechmodel_operator.cluster, and list and watch for the kinds that its handlers watch.
ALLOWED = {
    ("speechops.dev", "speechmodels"): "get list watch patch",
    ("speechops.dev", "speechmodels/status"): "patch",
    ("speechops.dev", "speechmodels/finalizers"): "update",
    ("batch", "jobs"): "get list watch create delete",
    ("", "pods"): "list watch",
    ("", "pods/log"): "get",
    ("", "persistentvolumeclaims"): "get list watch create patch",
    ("apps", "deployments"): "get list watch create patch delete",
    ("", "services"): "get list watch create patch delete",
    ("policy", "poddisruptionbudgets"): "get create patch delete",
    ("autoscaling", "horizontalpodautoscalers"): "get create patch delete",
    ("", "events"): "list create",
}
POLICY = "NetworkPolicy"
OWNER = f"{NAME}-net"
"""The role that owns the policies that the operator writes."""
EXPOSED = {
    ("networking.k8s.io", "ingresses"): "get create patch delete",
    ("gateway.networking.k8s.io", "httproutes"): "get create patch delete",
}


def pods(manifests: list[Object]) -> list[Object]:
    """Return the specs of all pods: the operator's and the one of `helm test`."""
    found = [operator_pod(manifests)["spec"], *(p["spec"] for p in of_kind(manifests, "Pod"))]
    assert len(found) == 2
    return found


def test_every_pod_keeps_the_restricted_standard_and_a_read_only_root(helm: Helm) -> None:
    for pod in pods(helm.manifests()):
        assert pod["securityContext"] == {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}}
        assert not pod.keys() & {"hostNetwork", "hostPID", "hostIPC", "volumes", "initContainers"}
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }


def test_a_late_answer_to_a_probe_does_not_make_the_operator_unready(helm: Helm) -> None:
    (container,) = operator_pod(helm.manifests())["spec"]["containers"]
    for name, path in (("readinessProbe", "/readyz"), ("livenessProbe", "/healthz")):
        assert container[name]["httpGet"]["path"] == path
        assert container[name]["timeoutSeconds"] >= 5, name
        assert container[name].get("failureThreshold", 3) >= 3, name


def test_one_operator_at_a_time(helm: Helm) -> None:
    (deployment,) = of_kind(helm.manifests(), "Deployment")
    assert deployment["spec"]["replicas"] == 1
    assert deployment["spec"]["strategy"] == {"type": "Recreate"}


def test_several_operators_share_a_lease(helm: Helm) -> None:
    manifests = helm.manifests({"replicaCount": 2})
    (deployment,) = of_kind(manifests, "Deployment")
    assert deployment["spec"]["replicas"] == 2
    (container,) = operator_pod(manifests)["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["SPEECHMODEL_LEASE"] == f"{NAMESPACE}/{NAME}"
    (role,) = of_kind(manifests, "Role")
    assert role["metadata"]["namespace"] == NAMESPACE
    leases = {"apiGroups": ["coordination.k8s.io"], "resources": ["leases"]}
    assert role["rules"] == [
        leases | {"resourceNames": [NAME], "verbs": ["get", "patch"]},
        leases | {"verbs": ["create"]},
    ]
    assert of_kind(helm.manifests(), "Role") == []


def test_a_selector_for_namespaces_is_one_for_the_api_server(helm: Helm) -> None:
    expressions = [
        {"key": "env", "operator": "NotIn", "values": ["test", "dev"]},
        {"key": "team", "operator": "Exists"},
        {"key": "old", "operator": "DoesNotExist"},
    ]
    selector = {"matchLabels": {"speech": "enabled"}, "matchExpressions": expressions}
    manifests = helm.manifests({"watchNamespaceSelector": selector})
    (container,) = operator_pod(manifests)["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["SPEECHMODEL_NAMESPACE_SELECTOR"] == "speech=enabled,env notin (test,dev),team,!old"
    assert rules(manifests)["", "namespaces"] == {"list", "watch"}
    assert of_kind(manifests, "Role") == []


def test_scheduling_holds_for_every_pod(helm: Helm) -> None:
    for pod in pods(helm.manifests(SCHEDULING)):
        assert {key: pod[key] for key in SCHEDULING} == SCHEDULING
    assert not any(pod.keys() & SCHEDULING.keys() for pod in pods(helm.manifests()))


def test_a_pods_own_labels_and_annotations_do_not_replace_those_that_find_it(helm: Helm) -> None:
    values = {"podLabels": {"team": "speech", "app.kubernetes.io/name": "mine"}, "podAnnotations": {"a/b": "true"}}
    manifests = helm.manifests(values)
    (deployment,) = of_kind(manifests, "Deployment")
    metadata = operator_pod(manifests)["metadata"]
    assert metadata["annotations"] == {"a/b": "true"}
    assert metadata["labels"] == {"team": "speech"} | deployment["spec"]["selector"]["matchLabels"]
    assert metadata["labels"]["app.kubernetes.io/name"] == NAME


def test_the_operators_settings_are_all_set_and_all_known(helm: Helm, monkeypatch: pytest.MonkeyPatch) -> None:
    values = {"watchNamespaces": ["a", "b"], "logLevel": "DEBUG", "progressSeconds": 2.5, "watchSeconds": 30}
    values |= {"serverUpgradesAtOnce": 1_000_000, "caBundle": {"configMapName": "cas", "key": "ca.crt"}}
    (container,) = operator_pod(helm.manifests(values))["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert set(environment) == {PREFIX + name.upper() for name in Settings.model_fields}
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings = Settings.from_environment()
    assert settings.namespaces == ("a", "b")
    assert (settings.progress_seconds, settings.watch_seconds) == (2.5, 30)
    assert settings.server_upgrades_at_once == 1_000_000
    assert images_of(settings).ca_bundle == CaBundle("cas", "ca.crt")
    monkeypatch.delenv("SPEECHMODEL_CA_BUNDLE_CONFIG_MAP")
    assert images_of(Settings()).ca_bundle is None
    assert settings.network_policies == policies_of(helm, values)
    monkeypatch.setenv("SPEECHMODEL_NETWORK_POLICIES", "")
    assert Settings.from_environment().network_policies is None
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert ports == {"health": settings.liveness_port, "metrics": settings.metrics_port}


def test_the_operator_may_do_what_its_code_does_and_nothing_else(helm: Helm) -> None:
    for values in ({}, {"watchNamespaces": ["a"]}):
        assert rules(helm.manifests(values)) == {key: set(verbs.split()) for key, verbs in ALLOWED.items()}
        exposed = helm.manifests({**values, "exposure": {"ingress": True, "gatewayAPI": True}})
        assert rules(exposed) == {key: set(verbs.split()) for key, verbs in (ALLOWED | EXPOSED).items()}


def test_a_server_that_may_start_a_training_may_change_its_own_model_and_nothing_else(helm: Helm) -> None:
    before = {(found["kind"], found["metadata"]["name"]) for found in helm.manifests()}
    manifests = helm.manifests({"retrain": {"models": [{"namespace": "speech", "name": "espejo"}]}})
    made = [found for found in manifests if (found["kind"], found["metadata"]["name"]) not in before]
    assert {found["metadata"]["namespace"] for found in made} == {"speech"}
    account, role, binding = made
    assert account["metadata"]["name"] == retrain_account("espejo")
    assert account["automountServiceAccountToken"] is False
    (rule,) = role["rules"]
    assert rule == {
        "apiGroups": ["speechops.dev"],
        "resources": ["speechmodels"],
        "resourceNames": ["espejo"],
        "verbs": ["get", "patch"],
    }
    assert binding["roleRef"]["name"] == role["metadata"]["name"]
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": account["metadata"]["name"], "namespace": "speech"}
    ]


def test_global_pull_secrets_reach_every_pod_and_the_operators_settings(helm: Helm) -> None:
    values = {
        "global": {"imageRegistry": "reg.example.com", "imagePullSecrets": ["a", {"name": "b"}]},
        "images": {"registry": "other.example.com", "training": {"registry": "third.example.com"}},
        "imagePullSecrets": [{"name": "own"}, {"name": "a"}],
    }
    manifests = helm.manifests(values)
    for pod in pods(manifests):
        assert pod["imagePullSecrets"] == [{"name": "own"}, {"name": "a"}, {"name": "b"}]
        assert all(container["image"].startswith("reg.example.com/speechops/") for container in pod["containers"])
    (container,) = operator_pod(manifests)["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["SPEECHMODEL_IMAGE_PULL_SECRETS"] == "a,b"
    assert environment["SPEECHMODEL_IMAGE_TRAINING"].startswith("reg.example.com/speechops/training:")


def test_variables_volumes_and_a_budget_are_added_to_the_operator(helm: Helm) -> None:
    values = {
        "extraEnv": [{"name": "SSL_CERT_FILE", "value": "/etc/ca/ca.crt"}],
        "extraVolumes": [{"name": "ca", "configMap": {"name": "ca"}}],
        "extraVolumeMounts": [{"name": "ca", "mountPath": "/etc/ca"}],
        "podDisruptionBudget": {"enabled": True, "maxUnavailable": 0},
    }
    manifests = helm.manifests(values)
    pod = operator_pod(manifests)["spec"]
    assert pod["volumes"] == values["extraVolumes"]
    assert pod["containers"][0]["volumeMounts"] == values["extraVolumeMounts"]
    assert values["extraEnv"][0] in pod["containers"][0]["env"]  # type: ignore[index]
    (budget,) = of_kind(manifests, "PodDisruptionBudget")
    assert budget["spec"]["maxUnavailable"] == 0
    assert of_kind(helm.manifests(), "PodDisruptionBudget") == []


def test_with_namespaces_given_nothing_reaches_further(helm: Helm) -> None:
    everywhere, here = helm.manifests(), helm.manifests({"watchNamespaces": ["team-a", "team-b"]})
    assert {m["kind"] for m in here} & CLUSTER_SCOPED == {"CustomResourceDefinition"}
    assert {
        m["kind"] for m in helm.manifests({"watchNamespaces": ["a"], "crds": {"enabled": False}})
    } & CLUSTER_SCOPED == set()
    assert rules(here) == rules(everywhere)
    for kind in ("Role", "RoleBinding"):
        assert [m["metadata"]["namespace"] for m in of_kind(here, kind)] == ["team-a", "team-b"] * 2, (
            "its own, and the one of its policies"
        )
    for binding in of_kind(here, "RoleBinding"):
        assert binding["subjects"] == [{"kind": "ServiceAccount", "name": NAME, "namespace": NAMESPACE}]


def test_roles_and_account_can_be_somebody_elses(helm: Helm) -> None:
    roles = {"Role", "RoleBinding", "ClusterRole", "ClusterRoleBinding"}
    values: Object = {
        "rbac": {"create": False},
        "serviceAccount": {"create": False, "name": "given"},
        "replicaCount": 2,
    }
    manifests = helm.manifests(values)
    assert not {m["kind"] for m in manifests} & (roles | {"ServiceAccount"})
    assert all(pod["serviceAccountName"] == "given" for pod in pods(manifests))
    values["retrain"] = {"models": [{"namespace": "speech", "name": "espejo"}]}
    manifests = helm.manifests(values)
    assert not {m["kind"] for m in manifests} & roles
    (account,) = of_kind(manifests, "ServiceAccount")
    assert account["metadata"]["name"] == retrain_account("espejo")
    assert "and a RoleBinding\nfor the ServiceAccount NAME-retrain." in helm.notes(values)


def test_the_account_gives_its_token_to_these_pods_only(helm: Helm) -> None:
    manifests = helm.manifests()
    (account,) = of_kind(manifests, "ServiceAccount")
    assert account["automountServiceAccountToken"] is False
    assert all(pod["automountServiceAccountToken"] is True for pod in pods(manifests))


@pytest.mark.parametrize("release", ["a" * 53, "x"])
def test_long_names_stay_valid(helm: Helm, release: str) -> None:
    text = helm.render(release)
    names = [line.split()[1] for line in text.splitlines() if line.startswith("  name: ")]
    assert names
    assert max(map(len, names)) <= 63


def policies_of(helm: Helm, values: Object) -> PolicySettings | None:
    """Return the setting about NetworkPolicies that the chart gives to the operator."""
    (container,) = operator_pod(helm.manifests(values))["spec"]["containers"]
    given = {entry["name"]: entry["value"] for entry in container["env"]}["SPEECHMODEL_NETWORK_POLICIES"]
    return PolicySettings.model_validate_json(given) if given else None


def test_the_policy_of_the_operator_opens_what_it_needs(helm: Helm) -> None:
    (policy,) = of_kind(helm.manifests(), POLICY)
    always, canaries = policy["spec"]["egress"]
    assert {port["port"] for port in always["ports"]} == {53, 443, 6443, 8443, 16443}
    assert canaries["ports"] == [{"port": "http"}]
    (peer,) = canaries["to"]
    assert peer == {"namespaceSelector": {}, "podSelector": {"matchLabels": {"speechops.dev/stage": "canary"}}}


def test_the_operator_learns_what_its_policies_for_pods_need(helm: Helm) -> None:
    caller, prometheus, home = ({"namespaceSelector": {"matchLabels": {"team": name}}} for name in ("a", "b", "c"))
    peers = {"serverFrom": [caller], "metricsFrom": [prometheus], "wyomingFrom": [home]}
    found = policies_of(helm, {"networkPolicy": peers})
    assert found is not None
    assert (found.server_from, found.metrics_from, found.wyoming_from) == ((caller,), (prometheus,), (home,))
    assert (found.name, found.namespace, found.collector_ports) == (NAME, NAMESPACE, ())
    assert found.operator_labels.items() <= operator_pod(helm.manifests())["metadata"]["labels"].items()
    default = policies_of(helm, {"networkPolicy": dict.fromkeys(peers)})
    assert default == policies_of(helm, {})
    assert default and default.server_from == ()
    assert policies_of(helm, {"networkPolicy": {"enabled": False}}) is None


@pytest.mark.parametrize(("values", "kind"), [({}, "ClusterRole"), ({"watchNamespaces": ["a", "b"]}, "Role")])
def test_the_policies_go_with_a_role_that_allows_nothing_else(helm: Helm, values: Object, kind: str) -> None:
    found = policies_of(helm, values)
    assert found and found.owner and (found.owner.kind, found.owner.name) == (kind, OWNER)
    roles = [role for role in of_kind(helm.manifests(values), kind) if role["metadata"]["name"] == OWNER]
    assert [role["metadata"].get("namespace") for role in roles] == values.get("watchNamespaces", [None])
    plural = f"{kind.lower()}s"
    for role in roles:
        policies, itself = role["rules"]
        assert (policies["resources"], set(policies["verbs"])) == (["networkpolicies"], {"list", "create", "patch"})
        assert (itself["resources"], itself["resourceNames"], itself["verbs"]) == ([plural], [OWNER], ["get"])
    bindings = [each for each in of_kind(helm.manifests(values), f"{kind}Binding") if each["roleRef"]["name"] == OWNER]
    assert len(bindings) == len(roles)
    off = helm.manifests({**values, "networkPolicy": {"enabled": False}})
    assert OWNER not in {each["metadata"]["name"] for each in off}, "helm deletes it, and with it the policies"


def test_without_roles_the_policies_have_no_owner_and_the_notes_say_how_to_remove_them(helm: Helm) -> None:
    values = {"rbac": {"create": False}}
    found = policies_of(helm, values)
    assert found and found.owner is None
    command = f"kubectl delete networkpolicies -A -l speechops.dev/operator={NAME}"
    assert command in helm.notes(values)
    assert command not in helm.notes({})
    assert command not in helm.notes(values | {"networkPolicy": {"enabled": False}})


def test_the_notes_warn_of_a_prometheus_that_may_not_call_servers(helm: Helm) -> None:
    policy: Object = {"serverFrom": [{"podSelector": {}}], "metricsFrom": [{"podSelector": {}}]}
    values: Object = {"networkPolicy": policy, "monitoring": {"podMonitor": {"enabled": True}}}
    warning = "If serverFrom does not include Prometheus"
    assert warning not in helm.notes(values)
    del policy["metricsFrom"]
    assert warning in helm.notes(values)
    del policy["serverFrom"]
    assert warning not in helm.notes(values)


@pytest.mark.parametrize(
    ("variable", "ports"),
    [
        ({"name": "HTTPS_PROXY", "value": "http://proxy.corp:3128"}, {3128}),
        ({"name": "https_proxy", "value": "http://proxy.corp:3128/"}, {3128}),
        ({"name": "HTTP_PROXY", "value": "proxy:8080"}, {8080}),
        ({"name": "HTTPS_PROXY", "value": "http://me:secret@[fd00::1]:3128"}, {3128}),
        ({"name": "HTTPS_PROXY", "value": "http://proxy.corp"}, {80}),
        ({"name": "HTTPS_PROXY", "value": "https://proxy.corp"}, set()),  # 443 is open already
        ({"name": "NO_PROXY", "value": "10.0.0.1:9999"}, set()),
        ({"name": "HTTPS_PROXY", "value": ""}, set()),
    ],
)
def test_the_policy_lets_the_operator_call_its_proxy(helm: Helm, variable: Object, ports: set[int]) -> None:
    policies = of_kind(helm.manifests({"extraEnv": [variable]}), POLICY)
    (operator,) = (policy["spec"] for policy in policies if policy["metadata"]["name"] == NAME)
    given = [port["port"] for port in operator["egress"][0]["ports"]]
    assert set(given) - {53, 443, 6443, 8443, 16443} == ports
    assert given.count(443) == 1


def test_the_port_of_a_proxy_that_the_chart_cannot_know_is_asked_for(helm: Helm) -> None:
    reference = {"secretKeyRef": {"name": "proxy", "key": "url"}}
    values = {"extraEnv": [{"name": "HTTPS_PROXY", "valueFrom": reference}]}
    assert "cannot read the port of HTTPS_PROXY in extraEnv" in helm.notes(values)
    assert "cannot read the port" not in helm.notes(values | {"networkPolicy": {"enabled": False}})


@pytest.mark.parametrize(
    ("endpoint", "ports"),
    [
        ("http://collector.obs:4318", [4318]),
        ("https://collector.example.com", [443, 4318]),
        ("http://collector/otlp", [80, 4318]),
    ],
)
def test_traces_are_sent_to_the_collector_and_policies_let_them(helm: Helm, endpoint: str, ports: list[int]) -> None:
    manifests = helm.manifests({"tracing": {"endpoint": endpoint, "ratio": 0.1}})
    (container,) = operator_pod(manifests)["spec"]["containers"]
    environment = {entry["name"]: entry["value"] for entry in container["env"]}
    assert environment["OTEL_EXPORTER_OTLP_ENDPOINT"] == endpoint
    assert environment["OTEL_TRACES_SAMPLER_ARG"] == "0.1"
    (policy,) = of_kind(manifests, POLICY)
    open_ports = [{"port": port, "protocol": "TCP"} for port in ports]
    assert policy["spec"]["egress"][-1] == {"ports": open_ports, "to": [{"namespaceSelector": {}}]}
    found = policies_of(helm, {"tracing": {"endpoint": endpoint, "ratio": 0.1}})
    assert found and found.collector_ports == tuple(ports)


def test_the_notes_say_where_the_policies_are(helm: Helm) -> None:
    assert f"a NetworkPolicy for the operator in {NAMESPACE}. The operator creates those for stages" in helm.notes({})
    assert "NetworkPolicy" not in helm.notes({"networkPolicy": {"enabled": False}})


def test_the_notes_warn_of_alerts_without_their_metrics_and_of_a_tag_without_effect(helm: Helm) -> None:
    rules: Object = {"rules": {"enabled": True}}
    assert "SpeechModelOperatorDown fires all the time" in helm.notes({"monitoring": rules})
    assert "WARNING" not in helm.notes({"monitoring": rules | {"serviceMonitor": {"enabled": True}}})
    own = {"rules": {"enabled": True, "job": "scraped"}}
    assert "WARNING" not in helm.notes({"monitoring": own})
    (made,) = of_kind(helm.manifests({"monitoring": own}), "PrometheusRule")
    assert 'job="scraped"' in made["spec"]["groups"][0]["rules"][0]["expr"]
    digest = {"digest": f"sha256:{'0' * 64}"}
    images = dict.fromkeys(("operator", "pipeline", "training", "coqui", "inference"), digest)
    assert "images.tag has no effect" in helm.notes({"images": {"tag": "1", **images}})
    assert "images.tag has no effect" not in helm.notes({"images": {"tag": "1", **images, "coqui": {"digest": ""}}})
