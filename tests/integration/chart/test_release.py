"""The chart of a release: its images are pinned by the digests of those that were built."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from support.helm_chart import NAME, Helm, of_kind, operator_pod
from support.places import CHART, ROOT

PROGRAM = ROOT / "tools" / "pin_images.py"
NAMES = ("operator", "pipeline", "training", "coqui", "inference")


def digest(name: str) -> str:
    return f"sha256:{NAMES.index(name):064x}"


@pytest.fixture
def digests(tmp_path: Path) -> Path:
    """A folder with the digest of each image."""
    folder = tmp_path / "digests"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"{digest(name)}\n", encoding="utf-8")
    return folder


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """A copy of the program beside a copy of the chart."""
    shutil.copytree(CHART, tmp_path / "charts" / CHART.name)
    (tmp_path / "tools").mkdir()
    return Path(shutil.copy(PROGRAM, tmp_path / "tools"))


def pin(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, program, folder], capture_output=True, text=True)


def test_a_pinned_chart_names_every_image_by_its_digest(helm: Helm, tools: Path, digests: Path) -> None:
    chart = tools.parent.parent / "charts" / CHART.name
    before = (chart / "values.yaml").read_text(encoding="utf-8").splitlines()
    done = pin(tools, digests)
    assert done.returncode == 0, done.stderr
    after = (chart / "values.yaml").read_text(encoding="utf-8").splitlines()
    changed = [new for old, new in zip(before, after, strict=True) if old != new]
    assert changed == [f"    digest: {digest(name)}" for name in NAMES], "no other line changes"
    assert "0 chart(s) failed" in helm("lint", "--strict", str(chart))
    manifests = [found for found in yaml.safe_load_all(helm.render(NAME, chart=chart)) if found]
    (container,) = operator_pod(manifests)["spec"]["containers"]
    given = [entry["value"] for entry in container["env"] if entry["name"].startswith("SPEECHMODEL_IMAGE_")][:4]
    assert container["image"] == f"docker.io/speechops/operator@{digest('operator')}"
    assert given == [f"docker.io/speechops/{name}@{digest(name)}" for name in NAMES[1:]]
    (test,) = of_kind(manifests, "Pod")
    assert test["spec"]["containers"][0]["image"] == container["image"]


def test_nothing_is_pinned_while_a_digest_is_missing_or_is_none(tools: Path, digests: Path) -> None:
    values = tools.parent.parent / "charts" / CHART.name / "values.yaml"
    before = values.read_text(encoding="utf-8")
    (digests / "coqui").unlink()
    (digests / "training").write_text("docker.io/speechops/training:0.1.0\n", encoding="utf-8")
    done = pin(tools, digests)
    assert done.returncode == 1
    lines = done.stderr.splitlines()
    assert [line.split(" is missing, or is not one digest")[0] for line in lines] == [
        str(digests / "training"),
        str(digests / "coqui"),
    ]
    assert values.read_text(encoding="utf-8") == before


@pytest.mark.slow
def test_buildah_writes_the_digests_as_the_program_reads_them(tools: Path, tmp_path: Path) -> None:
    if not shutil.which("buildah"):
        pytest.skip("there is no buildah")
    storage: list[str | Path] = ["buildah", "--root", tmp_path / "root", "--runroot", tmp_path / "run"]
    storage += ["--storage-driver", "vfs"]

    def buildah(*arguments: str | Path) -> str:
        done = subprocess.run([*storage, *arguments], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    image = buildah("commit", buildah("from", "scratch"), "example")
    folder = tmp_path / "digests"
    folder.mkdir()
    for name in NAMES:
        buildah("push", "--digestfile", folder / name, image, f"dir:{tmp_path / name}")
    done = pin(tools, folder)
    assert done.returncode == 0, done.stderr
    assert len(set(done.stdout.split())) == len(NAMES) + 1, "five names of one image"


def test_artifact_hub_lists_the_images_of_the_values() -> None:
    about = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    images = yaml.safe_load((CHART / "values.yaml").read_text(encoding="utf-8"))["images"]
    listed = yaml.safe_load(about["annotations"]["artifacthub.io/images"])
    assert {entry["name"]: entry["image"] for entry in listed} == {
        name: f"{images['registry']}/{value['repository']}:{about['appVersion']}"
        for name, value in images.items()
        if isinstance(value, dict)
    }
