"""The chart as helm renders it."""

import json
import re
import subprocess
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from support import waiting
from support.kube import until_connected
from support.places import CHART

Object = dict[str, Any]

NAMESPACE = "speechops"
NAME = "speechmodel-operator"
OLDEST = "1.30.0"
"""The oldest Kubernetes version, which is kubeVersion in Chart.yaml."""
UNREACHABLE = re.compile(r"^Error: .*kubernetes cluster unreachable", re.MULTILINE | re.IGNORECASE)
"""Error of helm before it does anything. After a later one, such as a refused connection, a release may be half made."""


@dataclass(frozen=True)
class Helm:
    """helm. Without arguments it uses no cluster."""

    program: str
    arguments: tuple[str, ...] = ()

    def run(
        self, *argv: str, values: Object | None = None, moved: Callable[[], Hashable] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run one command with `values` as a values file, as long as something moves (see waiting.run).

        It is run again if the API server accepted no connection before the command began.
        """
        given = ["--values", "-"] if values is not None else []
        command = [self.program, *self.arguments, *argv, *given]
        stdin = json.dumps(values or {}).encode()
        return until_connected(lambda: waiting.run(command, stdin=stdin, moved=moved), UNREACHABLE)

    def __call__(self, *argv: str, values: Object | None = None, moved: Callable[[], Hashable] | None = None) -> str:
        """Return the output of a command. Raises AssertionError with the error output when it fails."""
        done = self.run(*argv, values=values, moved=moved)
        assert done.returncode == 0, f"helm {' '.join(argv)}: {done.stderr}{done.stdout}"
        return done.stdout

    def render(self, release: str, *argv: str, values: Object | None = None, chart: Path = CHART) -> str:
        """Run helm template for the oldest Kubernetes that the chart supports."""
        return self("template", release, str(chart), "--kube-version", OLDEST, *argv, values=values)

    def manifests(self, values: Object | None = None) -> list[Object]:
        """Return the manifests of a release named as the chart, its hooks included."""
        found: list[Object] = json.loads(_manifests(self, json.dumps(values or {})))
        return found

    def notes(self, values: Object | None = None) -> str:
        """Return the notes that helm prints after the installation of a release named as the chart."""
        command = ("install", NAME, str(CHART), "--namespace", NAMESPACE, "--dry-run=client")
        return self(*command, values=values).partition("\nNOTES:\n")[2]

    def refusal(self, values: Object) -> str:
        """Return helm's error for values that it rejects."""
        done = self.run("template", NAME, str(CHART), "--kube-version", OLDEST, values=values)
        assert done.returncode != 0, "helm took these values"
        return done.stderr


@cache
def _manifests(helm: Helm, values: str) -> str:
    """Return the manifests for values, both as JSON: many tests render the chart in the same way."""
    text = helm.render(NAME, "--namespace", NAMESPACE, values=json.loads(values))
    return json.dumps([found for found in yaml.safe_load_all(text) if found])


def of_kind(manifests: list[Object], kind: str) -> list[Object]:
    """Return the manifests of one kind."""
    return [found for found in manifests if found["kind"] == kind]


def operator_pod(manifests: list[Object]) -> Object:
    """Return the template of the operator's pod."""
    (deployment,) = of_kind(manifests, "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def rules(manifests: list[Object]) -> dict[tuple[str, str], set[str]]:
    """Return the verbs that the operator's roles allow by (group, resource)."""
    found: dict[tuple[str, str], set[str]] = {}
    for role in of_kind(manifests, "ClusterRole") + of_kind(manifests, "Role"):
        if role["metadata"]["name"] == NAME:
            for rule in role["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found.setdefault((group, resource), set()).update(rule["verbs"])
    return found
