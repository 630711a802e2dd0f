"""Alerts and dashboard: they use metrics that exist, and the alerts fire when they should."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from speechmodel_operator.telemetry import Telemetry
from support import built
from support.helm_chart import NAME, NAMESPACE, Helm, Object, of_kind
from support.places import CHART, ROOT

ALL: Object = {
    "monitoring": {name: {"enabled": True} for name in ("serviceMonitor", "podMonitor", "rules", "dashboard")}
}
ALERTS: Object = yaml.safe_load((CHART / "files" / "alerts.yaml").read_text(encoding="utf-8"))
SERVER = ROOT / "packages" / "inference" / "src" / "speechmodel_inference" / "telemetry.py"


def known() -> set[str]:
    """Return the names of the metrics of the operator and of the server."""
    names = {metric.name for metric in Telemetry().registry.collect()}
    return names | set(re.findall(r'"(speechmodel_[a-z_]+)"', SERVER.read_text(encoding="utf-8")))


def expressions() -> list[str]:
    dashboard = json.loads((CHART / "files" / "dashboard.json").read_text(encoding="utf-8"))
    rules = [rule["expr"] for group in ALERTS["groups"] for rule in group["rules"]]
    return rules + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_expression_uses_metrics_that_exist() -> None:
    used = {name for text in expressions() for name in re.findall(r"speechmodel_[a-z_]+", text)}
    bare = {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in used}
    assert len(bare) > 8
    assert bare - known() == set()


@pytest.mark.slow
def test_the_alerts_fire_when_they_should_and_only_then(helm: Helm, tmp_path: Path) -> None:
    promtool = built.programs("promtool") / "promtool"
    (rule,) = of_kind(helm.manifests(ALL), "PrometheusRule")
    (tmp_path / "alerts.yaml").write_text(yaml.safe_dump(rule["spec"]), encoding="utf-8")
    shutil.copy(Path(__file__).with_name("alerts_test.yaml"), tmp_path)
    done = subprocess.run([promtool, "test", "rules", tmp_path / "alerts_test.yaml"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_nothing_is_created_unless_asked_for(helm: Helm) -> None:
    kinds = {"ServiceMonitor", "PodMonitor", "PrometheusRule", "ConfigMap"}
    assert not kinds & {found["kind"] for found in helm.manifests()}
    assert kinds <= {found["kind"] for found in helm.manifests(ALL)}


def test_the_rule_holds_the_alerts_and_the_config_map_the_dashboard(helm: Helm) -> None:
    manifests = helm.manifests(ALL)
    (rule,) = of_kind(manifests, "PrometheusRule")
    text = (CHART / "files" / "alerts.yaml").read_text(encoding="utf-8")
    assert rule["spec"] == yaml.safe_load(text.replace("@job@", NAME).replace("@namespace@", NAMESPACE))
    (dashboard,) = of_kind(manifests, "ConfigMap")
    assert dashboard["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(dashboard["data"]["speechmodels.json"])["uid"] == "speechmodels"


def test_the_alerts_of_a_release_are_about_its_own_operator(helm: Helm) -> None:
    text = helm.render("team-a", "--namespace", "speech-a", values=ALL)
    manifests = [found for found in yaml.safe_load_all(text) if found]
    (rule,), (service,) = of_kind(manifests, "PrometheusRule"), of_kind(manifests, "Service")
    expressions = [rule["expr"] for rule in rule["spec"]["groups"][0]["rules"]]
    name = service["metadata"]["name"]  # Prometheus takes the label job from it
    assert [text for text in expressions if f'job="{name}"' not in text and "speechmodel_http" not in text] == []
    assert f'absent(speechmodel_models{{job="{name}", namespace="speech-a"}})' in expressions
    assert "@" not in json.dumps(rule["spec"])


@pytest.mark.parametrize("watch, selector", [([], {"any": True}), (["a", "b"], {"matchNames": ["a", "b"]})])
def test_the_pod_monitor_finds_servers_where_the_operator_creates_them(
    helm: Helm, watch: list[str], selector: Object
) -> None:
    (monitor,) = of_kind(helm.manifests(ALL | {"watchNamespaces": watch}), "PodMonitor")
    assert monitor["spec"]["namespaceSelector"] == selector
    (selected,) = monitor["spec"]["selector"]["matchExpressions"]
    assert (selected["key"], selected["values"]) == ("speechops.dev/stage", ["server", "canary"])


def test_the_service_monitor_selects_the_service_and_its_port(helm: Helm) -> None:
    manifests = helm.manifests(ALL)
    (monitor,), (service,) = of_kind(manifests, "ServiceMonitor"), of_kind(manifests, "Service")
    assert monitor["spec"]["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert {endpoint["port"] for endpoint in monitor["spec"]["endpoints"]} <= {
        port["name"] for port in service["spec"]["ports"]
    }
