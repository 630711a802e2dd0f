"""What of the source tree an image depends on."""

import os
import string
from datetime import timedelta
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kubecluster import build_context, images
from kubecluster.buildah import buildah, image_id, prune
from kubecluster.errors import ImageError
from kubecluster.images import Image
from kubecluster.layout import Layout
from kubecluster.patterns import Ignore, Pattern

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it runs buildah")

names = st.text(string.ascii_letters + string.digits + "._- ", min_size=1, max_size=8).filter(
    lambda name: name.strip() == name and name not in (".", "..") and not name.startswith("#")
)
paths = st.lists(names, min_size=1, max_size=4).map(lambda parts: PurePosixPath(*parts))


@given(paths)
def test_a_plain_path_means_itself_and_all_below(path: PurePosixPath) -> None:
    pattern = Pattern(str(path))
    assert pattern.matches(path)
    assert pattern.matches(path / "below")
    assert not pattern.matches(PurePosixPath("elsewhere") / path)


@given(paths)
def test_two_stars_mean_any_depth(path: PurePosixPath) -> None:
    pattern = Pattern(f"**/{path.name}")
    assert pattern.matches(PurePosixPath(path.name))
    assert pattern.matches(path)
    assert pattern.matches(PurePosixPath("deeper") / path)


@given(paths, st.lists(paths, max_size=5))
def test_what_is_taken_in_again_is_never_ignored(path: PurePosixPath, others: list[PurePosixPath]) -> None:
    ignore = Ignore("\n".join(["*", *map(str, others), f"!{path}"]))
    assert not ignore.ignores(path)
    for parent in list(path.parents)[:-1]:
        assert not ignore.ignores_all_below(parent)


@pytest.mark.parametrize(
    ("pattern", "path", "matches"),
    [
        ("*.md", "README.md", True),
        ("*.md", "docs/README.md", False),
        ("**/*.md", "docs/a/README.md", True),
        ("**/__pycache__", "a/b/__pycache__/c.pyc", True),
        ("a/*/c", "a/b/c/d", True),
        ("a/*/c", "a/b/b/c", False),
        ("/a/", "a/b", True),
        ("a?c", "abc", True),
        ("[a-c]x", "bx", True),
        ("[a-c]x", "dx", False),
        (".", "anything/at/all", True),
        ("a.b", "aXb", False),
    ],
)
def test_patterns_mean_what_docker_means(pattern: str, path: str, matches: bool) -> None:
    assert Pattern(pattern).matches(PurePosixPath(path)) is matches


def test_a_pattern_that_cannot_be_read_is_refused() -> None:
    with pytest.raises(ImageError, match=r"\[z-a\]"):
        Pattern("[z-a]")


@pytest.mark.parametrize(
    ("dockerfile", "sources"),
    [
        ("FROM x\nCOPY a b /dst/\n", {"a", "b"}),
        ("FROM x\nCOPY --chown=1:1 --link a /dst/\n", {"a"}),
        ("FROM x\n# COPY no /dst\nCOPY a \\\n  b \\\n# between\n  /dst/\n", {"a", "b"}),
        ('FROM x\nCOPY ["with space", "/dst/"]\n', {"with space"}),
        ("FROM x AS y\nFROM z\nCOPY --from=y /opt /opt\n", set()),
        ("FROM x\nRUN --mount=type=bind,source=crds,target=/src pip install /src\n", {"crds"}),
        ("FROM x\nRUN --mount=target=/src make\n", {"."}),
        ("FROM x\nRUN --mount=type=cache,target=/var/cache/pip pip install y\n", set()),
        ("FROM x\nARG WHAT\nCOPY images/$WHAT /dst\n", {"."}),
        ("FROM x\nRUN echo hello\n", set()),
    ],
)
def test_a_dockerfile_tells_what_it_reads(dockerfile: str, sources: set[str]) -> None:
    assert build_context.sources(dockerfile) == sources


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A small source tree with a .dockerignore."""
    for name in ("src/main.py", "src/deep/er.py", "src/__pycache__/x.pyc", "docs/a.md", "keep/no.txt", "keep/yes.txt"):
        file = tmp_path / "project" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(name)
    (tmp_path / "project" / "link").symlink_to("src")
    (tmp_path / "project" / ".dockerignore").write_text("# a comment\n**/__pycache__\ndocs\nkeep/*\n!keep/yes.txt\n")
    (tmp_path / "project" / "Dockerfile").write_text("FROM scratch\nCOPY src /src\n")
    return tmp_path / "project"


@needs_root
def test_the_files_of_a_context_are_those_that_buildah_copies(project: Path, layout: Layout, tmp_path: Path) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    copied = tmp_path / "copied"
    buildah(layout, "build", "-q", "-o", f"type=local,dest={copied}", "-f", project / "Dockerfile", project)
    everything = {path.relative_to(copied) for path in copied.rglob("*") if path.is_symlink() or path.is_file()}
    assert {Path(path) for path in build_context.files(project)} == everything


@needs_root
def test_pruning_leaves_named_images_and_what_they_stand_on(project: Path, layout: Layout) -> None:
    (project / "Dockerfile").write_text("FROM scratch\nCOPY src /src\nCOPY docs /docs\n")
    (project / ".dockerignore").unlink()
    name = "docker.io/library/pruned:dev"
    buildah(layout, "build", "-q", "--layers", "-t", name, "-f", project / "Dockerfile", project)
    assert len(buildah(layout, "images", "--all", "-q").splitlines()) == 2
    prune(layout, timedelta(days=1))
    assert len(buildah(layout, "images", "--all", "-q").splitlines()) == 2
    prune(layout, timedelta(0))
    assert buildah(layout, "images", "--all", "-q", "--no-trunc").split(":")[-1] == image_id(layout, name)
    assert buildah(layout, "from", name)


def test_a_mount_that_would_empty_the_image_is_refused(
    layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kubecluster.cluster.require_up", lambda layout: None)
    above = layout.cache.parent.parent
    (tmp_path / "Dockerfile").write_text(f"FROM scratch\nRUN --mount=type=cache,target={above} true\n")
    with pytest.raises(ImageError, match=rf"target={above}, .* Mount a folder below it"):
        images.build(layout, Image("docker.io/library/app:dev", tmp_path / "Dockerfile", tmp_path))


def test_only_what_the_dockerfile_reads_counts(project: Path) -> None:
    def digest() -> str:
        return build_context.digest(project, project / "Dockerfile", {"A": "1"})

    before = digest()
    (project / "docs" / "a.md").write_text("other")
    (project / "keep" / "yes.txt").write_text("other")
    (project / "src" / "__pycache__" / "x.pyc").write_text("other")
    os.utime(project / "src" / "main.py", (0, 0))
    assert digest() == before
    (project / "src" / "main.py").write_text("other")
    assert digest() != before


def test_the_build_arguments_the_mode_and_the_dockerfile_count(project: Path) -> None:
    dockerfile = project / "Dockerfile"
    seen = {
        build_context.digest(project, dockerfile, {"A": "1"}),
        build_context.digest(project, dockerfile, {"A": "2"}),
    }
    (project / "src" / "main.py").chmod(0o755)
    seen.add(build_context.digest(project, dockerfile, {"A": "1"}))
    dockerfile.write_text("FROM scratch\nCOPY src /elsewhere\n")
    seen.add(build_context.digest(project, dockerfile, {"A": "1"}))
    assert len(seen) == 4
