"""chart-testing (ct lint) finds nothing: its schema of Chart.yaml, its rules for YAML, and helm lint."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from kubecluster.layout import TOOL
from support import built
from support.helm_chart import Helm
from support.places import CHART

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def rules() -> Path:
    """The folder of ct's own schema and rules, in the module that it is built from."""
    built.programs("ct")
    command = ["go", "list", "-m", "-f", "{{.Dir}}", "github.com/helm/chart-testing/v3"]
    found = subprocess.run(command, cwd=TOOL / "go" / "ct", capture_output=True, text=True, check=True).stdout.strip()
    if not found:
        pytest.skip("the module chart-testing is not downloaded, because ct was built elsewhere")
    return Path(found) / "etc"


def lint(helm: Helm, rules: Path, chart: Path) -> subprocess.CompletedProcess[str]:
    """Run ct lint, with helm as the test cluster has it, and yamllint and yamale of this environment."""
    programs = built.programs("ct")
    folders = (Path(sys.executable).parent, Path(helm.program).parent, os.environ["PATH"])
    command: list[str | Path] = [
        programs / "ct",
        "lint",
        "--charts",
        chart,
        "--chart-yaml-schema",
        rules / "chart_schema.yaml",
    ]
    # there is no release to compare the version with, and maintainers are accounts of a forge that is not asked
    command += [
        "--lint-conf",
        rules / "lintconf.yaml",
        "--check-version-increment=false",
        "--validate-maintainers=false",
    ]
    environment = os.environ | {"PATH": os.pathsep.join(map(str, folders))}
    return subprocess.run(command, env=environment, cwd=chart.parent, capture_output=True, text=True)


def test_chart_testing_finds_nothing(helm: Helm, rules: Path) -> None:
    done = lint(helm, rules, CHART)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "All charts linted successfully" in done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "complaint"),
    [
        ("Chart.yaml", "surprise: true", "surprise"),
        ("values.yaml", "logLevel: DEBUG", "duplication of key"),
        ("values.yaml", "extra:   [1]", "too many spaces after colon"),
    ],
)
def test_a_line_that_it_does_not_like_is_found(
    helm: Helm, rules: Path, tmp_path: Path, file: str, line: str, complaint: str
) -> None:
    chart = tmp_path / CHART.name
    shutil.copytree(CHART, chart)
    with (chart / file).open("a", encoding="utf-8") as text:
        text.write(f"{line}\n")
    done = lint(helm, rules, chart)
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr
