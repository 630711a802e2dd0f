"""The chart as helm sees it."""

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from support.places import CHART

Object = dict[str, Any]

NAMESPACE = "speechops"
NAME = "speechmodel-operator"
OLDEST = "1.29.0"
"""Of Kubernetes: kubeVersion in Chart.yaml."""


@dataclass(frozen=True)
class Helm:
    """helm, on no cluster unless the arguments say one."""

    program: str
    arguments: tuple[str, ...] = ()

    def run(self, *argv: str, values: Object | None = None) -> subprocess.CompletedProcess[str]:
        """One command; values are given as a file would."""
        given = ["--values", "-"] if values is not None else []
        command = [self.program, *self.arguments, *argv, *given]
        return subprocess.run(command, input=json.dumps(values or {}), text=True, capture_output=True)

    def __call__(self, *argv: str, values: Object | None = None) -> str:
        """What it prints; an AssertionError with what it says when it fails."""
        done = self.run(*argv, values=values)
        assert done.returncode == 0, f"helm {' '.join(argv)}: {done.stderr}{done.stdout}"
        return done.stdout

    def render(self, release: str, *argv: str, values: Object | None = None, chart: Path = CHART) -> str:
        """helm template, for the oldest Kubernetes that the chart is for."""
        return self("template", release, str(chart), "--kube-version", OLDEST, *argv, values=values)

    def manifests(self, values: Object | None = None) -> list[Object]:
        """Of the release that is named as the chart, hooks included."""
        text = self.render(NAME, "--namespace", NAMESPACE, values=values)
        return [found for found in yaml.safe_load_all(text) if found]

    def refusal(self, values: Object) -> str:
        """What helm says of values that it refuses."""
        done = self.run("template", NAME, str(CHART), "--kube-version", OLDEST, values=values)
        assert done.returncode != 0, "helm took these values"
        return done.stderr


def of_kind(manifests: list[Object], kind: str) -> list[Object]:
    """Those of one kind."""
    return [found for found in manifests if found["kind"] == kind]


def operator_pod(manifests: list[Object]) -> Object:
    """The template of the operator's pod."""
    (deployment,) = of_kind(manifests, "Deployment")
    template: Object = deployment["spec"]["template"]
    return template


def rules(manifests: list[Object]) -> dict[tuple[str, str], set[str]]:
    """What the operator's roles allow: (group, resource) -> verbs."""
    found: dict[tuple[str, str], set[str]] = {}
    for role in of_kind(manifests, "ClusterRole") + of_kind(manifests, "Role"):
        if role["metadata"]["name"] == NAME:
            for rule in role["rules"]:
                for group in rule["apiGroups"]:
                    for resource in rule["resources"]:
                        found.setdefault((group, resource), set()).update(rule["verbs"])
    return found
