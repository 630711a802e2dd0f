"""The CustomResourceDefinition in the chart matches the types."""

import runpy
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from speechmodel_api.crd import crd
from support.helm_chart import Helm, of_kind
from support.places import CHART, ROOT

GENERATE = ROOT / "tools" / "generate.py"
KEEP = {"helm.sh/resource-policy": "keep"}


def test_the_generated_files_match_the_types() -> None:
    done = subprocess.run([sys.executable, str(GENERATE), "--check"], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr


def test_helm_gives_the_definition_of_the_types_and_keeps_it(helm: Helm) -> None:
    (given,) = of_kind(helm.manifests(), "CustomResourceDefinition")
    assert given["metadata"].pop("annotations") == KEEP
    assert given == crd()


def test_it_can_be_left_to_somebody_else(helm: Helm) -> None:
    assert of_kind(helm.manifests({"crds": {"enabled": False}}), "CustomResourceDefinition") == []


def test_braces_in_a_description_are_no_template(helm: Helm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    manifest = crd()
    manifest["metadata"]["labels"] = {"braces": "{{ .Release.Name }}"}
    monkeypatch.setattr("speechmodel_api.crd.crd", lambda: manifest)
    chart = shutil.copytree(CHART, tmp_path / "chart")
    (chart / "templates" / "crd.yaml").write_text(runpy.run_path(str(GENERATE))["template"](), encoding="utf-8")
    shown = helm.render("x", "--show-only", "templates/crd.yaml", chart=chart)
    assert yaml.safe_load(shown) == manifest
