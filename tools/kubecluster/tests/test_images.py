"""When an image is built and pushed, and when it is left alone: by buildah, before any cluster."""

import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from kubecluster import base, images, python37, registry
from kubecluster.buildah import buildah, image_id, prune
from kubecluster.errors import ImageError, NotRunning
from kubecluster.images import Image
from kubecluster.layout import REPOSITORY, Layout

NAME = "docker.io/library/app:dev"
Build = Callable[[], str]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small source tree with a .dockerignore."""
    for name in ("src/main.py", "src/deep/er.py", "src/__pycache__/x.pyc", "docs/a.md", "keep/no.txt", "keep/yes.txt"):
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "project" / ".dockerignore").write_text("# a comment\n**/__pycache__\nkeep/*\n!keep/yes.txt\n")
    (tmp_path / "project" / "Dockerfile").write_text("FROM scratch\nCOPY src /src\nCOPY keep /keep\n")
    return tmp_path / "project"


@pytest.fixture
def build(project: Path, layout: Layout, monkeypatch: pytest.MonkeyPatch) -> Build:
    """Build the project's image as if a cluster were up, with a registry that names a manifest by the image's ID."""

    def push(layout: Layout, image: str) -> None:
        link = layout.registry / "docker/registry/v2/repositories/library/app/_manifests/tags/dev" / registry.LINK
        link.parent.mkdir(parents=True, exist_ok=True)
        link.write_text(image_id(layout, image) or "")

    monkeypatch.setattr("kubecluster.cluster.require_up", lambda layout: None)
    monkeypatch.setattr("kubecluster.base.ensure", lambda layout, architecture: None)
    monkeypatch.setattr("kubecluster.images.push", push)
    return lambda: images.build(layout, Image(NAME, project / "Dockerfile", project)).outcome


@pytest.mark.cluster
def test_an_image_is_pushed_once(build: Build) -> None:
    assert [build(), build(), build()] == ["pushed", "unchanged", "unchanged"]


@pytest.mark.cluster
def test_files_that_the_image_does_not_copy_and_times_do_not_count(build: Build, project: Path) -> None:
    build()
    (project / "docs" / "a.md").write_text("other")
    (project / "keep" / "no.txt").write_text("other")
    (project / "src" / "__pycache__" / "x.pyc").write_text("other")
    os.utime(project / "src" / "main.py", (0, 0))
    assert build() == "unchanged"


@pytest.mark.cluster
@pytest.mark.parametrize("path", ["src/main.py", "src/deep/er.py", "keep/yes.txt"])
def test_a_changed_file_counts(build: Build, project: Path, path: str) -> None:
    build()
    (project / path).write_text("other")
    assert [build(), build()] == ["pushed", "unchanged"]


@pytest.mark.cluster
def test_a_new_mode_and_a_new_dockerfile_count(build: Build, project: Path) -> None:
    build()
    (project / "src" / "main.py").chmod(0o755)
    assert build() == "pushed"
    (project / "Dockerfile").write_text("FROM scratch\nCOPY src /elsewhere\n")
    assert build() == "pushed"


@pytest.mark.cluster
def test_a_change_that_is_taken_back_is_pushed_again(build: Build, project: Path) -> None:
    build()
    (project / "src" / "main.py").write_text("other")
    build()
    (project / "src" / "main.py").write_text("src/main.py")
    assert [build(), build()] == ["pushed", "unchanged"]


@pytest.mark.cluster
def test_an_image_that_the_registry_lost_is_pushed_again(build: Build, layout: Layout) -> None:
    build()
    next(layout.registry.rglob("link")).unlink()
    assert [build(), build()] == ["pushed", "unchanged"]


@pytest.mark.cluster
def test_pruning_leaves_named_images_and_the_layers_that_they_are_built_on(project: Path, layout: Layout) -> None:
    def build(*options: str) -> None:
        buildah(layout, "build", "-q", "--layers", *options, "-f", project / "Dockerfile", project)

    def ids() -> set[str]:
        return set(buildah(layout, "images", "--all", "-q", "--no-trunc").split())

    (project / "Dockerfile").write_text("FROM scratch\nCOPY src /src\nCOPY docs /docs\n")
    build("-t", NAME)
    named = ids()
    assert len(named) == 2
    (project / "Dockerfile").write_text("FROM scratch\nCOPY docs /docs\nCOPY src /src\n")
    build()
    assert len(ids()) == 4
    prune(layout, timedelta(days=1))
    assert len(ids()) == 4
    prune(layout, timedelta(0))
    assert ids() == named
    assert buildah(layout, "from", NAME)


@pytest.mark.parametrize("name", ["app", "app:dev", "docker.io/library/app", "quay.io/a/b:c"])
def test_image_names_are_written_whole(name: str, tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="write the whole name"):
        Image(name, tmp_path / "Dockerfile", tmp_path)


def test_an_image_cannot_be_built_without_the_cluster(layout: Layout, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\n")
    with pytest.raises(NotRunning, match="python -m kubecluster up"):
        images.build(layout, Image(NAME, tmp_path / "Dockerfile", tmp_path))


def test_every_image_of_the_project_is_a_target_of_its_dockerfile() -> None:
    for image in images.project(REPOSITORY, images.TARGETS):
        assert f" AS {image.target}\n" in image.dockerfile.read_text()


def test_only_the_image_on_python_is_built_on_python() -> None:
    based_on = {image.target: image.base for image in images.project(REPOSITORY, images.TARGETS)}
    assert based_on == dict.fromkeys(images.NAMES, base.IMAGE) | {"coqui": python37.IMAGE}
