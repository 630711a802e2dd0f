"""Finished folders appear whole or not at all, and are recognised."""

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from speechmodel_api.stages.publish import PurgeOutput
from speechmodel_stagekit.alphabet import alphabet_digest, read_alphabet, write_alphabet
from speechmodel_stagekit.artefacts import file_digest, once, recorded_output, require_file
from speechmodel_stagekit.errors import ArtefactMissing


def make(folder: Path) -> PurgeOutput:
    (folder / "sub").mkdir()
    (folder / "sub" / "a.txt").write_text("hello", encoding="utf-8")
    return PurgeOutput(objects=7)


def fail(folder: Path) -> PurgeOutput:
    make(folder)
    raise RuntimeError


def never(folder: Path) -> PurgeOutput:
    raise AssertionError("made again")


def killed(folder: Path, moment: str) -> None:
    """A process that makes `folder` and is gone at this moment, with no time to tidy up."""
    program = textwrap.dedent(
        """
        import os, sys
        from pathlib import Path
        from speechmodel_api.stages.publish import PurgeOutput
        from speechmodel_stagekit.artefacts import once
        folder, moment, rename = Path(sys.argv[1]), sys.argv[2], Path.rename
        def renamed(path, target):
            if moment == "between the renames" and target == folder:
                os._exit(137)
            return rename(path, target)
        def make(partial):
            (partial / "half").write_text("x")
            if moment == "while it makes":
                os._exit(137)
            return PurgeOutput(objects=1)
        Path.rename = renamed
        once(folder, PurgeOutput, make)
        """
    )
    assert subprocess.run([sys.executable, "-c", program, str(folder), moment], check=False).returncode == 137


def test_a_complete_folder_is_not_made_again(tmp_path: Path) -> None:
    folder = tmp_path / "exports" / "0badcafe"
    assert once(folder, PurgeOutput, make).objects == 7
    assert once(folder, PurgeOutput, never).objects == 7
    assert [p.name for p in folder.parent.iterdir()] == ["0badcafe"]


@pytest.mark.parametrize("damage", ["cut", "flip", "remove", "manifest", "no manifest"])
def test_a_damaged_folder_is_made_again(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "x"
    once(folder, PurgeOutput, make)
    file = folder / "sub" / "a.txt"
    match damage:
        case "cut":
            file.write_text("hell", encoding="utf-8")
        case "flip":
            file.write_text("hellp", encoding="utf-8")
        case "remove":
            file.unlink()
        case "manifest":
            (folder / "manifest.json").write_text("{", encoding="utf-8")
        case "no manifest":
            (folder / "manifest.json").unlink()
    assert recorded_output(folder, PurgeOutput) is None
    assert once(folder, PurgeOutput, make).objects == 7
    assert file.read_text(encoding="utf-8") == "hello"


def test_a_stage_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError):
        once(tmp_path / "x", PurgeOutput, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_process_that_fails_leaves_alone_what_another_makes(tmp_path: Path) -> None:
    def make_while_another_fails(folder: Path) -> PurgeOutput:
        with pytest.raises(RuntimeError):
            once(tmp_path / "x", PurgeOutput, fail)
        return make(folder)

    assert once(tmp_path / "x", PurgeOutput, make_while_another_fails).objects == 7
    assert recorded_output(tmp_path / "x", PurgeOutput) is not None
    assert [path.name for path in tmp_path.iterdir()] == ["x"]


@pytest.mark.parametrize("moment", ["while it makes", "between the renames"])
def test_what_a_killed_process_left_is_gone_after_the_next(tmp_path: Path, moment: str) -> None:
    folder = tmp_path / "x"
    folder.mkdir()
    (folder / "damaged").touch()
    killed(folder, moment)
    assert any(path.name.startswith(".x.") for path in tmp_path.iterdir())
    assert once(tmp_path / "y", PurgeOutput, make).objects == 7
    assert {path.name for path in tmp_path.iterdir()} <= {"x", "y"}
    assert once(folder, PurgeOutput, make).objects == 7
    assert not (folder / "damaged").exists()


def test_who_may_read_the_parent_may_read_the_folder(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        once(tmp_path / "x", PurgeOutput, make)
    finally:
        os.umask(before)
    assert (tmp_path / "x").stat().st_mode & 0o777 == 0o750


def test_the_manifest_names_every_file_with_size_and_digest(tmp_path: Path) -> None:
    once(tmp_path / "x", PurgeOutput, make)
    manifest = json.loads((tmp_path / "x" / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["output"] == {"objects": 7}
    assert manifest["files"] == {"sub/a.txt": {"sizeBytes": 5, "sha256": file_digest(tmp_path / "x" / "sub" / "a.txt")}}


def test_an_artefact_that_is_gone_or_another_is_code_66(tmp_path: Path) -> None:
    path = tmp_path / "graph.pb"
    with pytest.raises(ArtefactMissing, match=r"graph\.pb is missing"):
        require_file(path)
    path.write_bytes(b"x")
    with pytest.raises(ArtefactMissing, match="sha256"):
        require_file(path, "0" * 64)
    assert require_file(path, file_digest(path)) == path


@given(st.lists(st.sampled_from(" #'aбñ\\,\"é"), min_size=1, unique=True))
def test_an_alphabet_reads_back_as_it_was_written(tmp_path_factory: pytest.TempPathFactory, labels: list[str]) -> None:
    path = tmp_path_factory.mktemp("alphabet") / "alphabet.txt"
    write_alphabet(path, labels)
    assert read_alphabet(path) == tuple(labels)


def test_an_alphabet_is_read_as_upstream_reads_it(tmp_path: Path) -> None:
    path = tmp_path / "alphabet.txt"
    path.write_bytes("# comment\r\n \r\na\r\n\\#\r\n\r\nñ".encode())
    assert read_alphabet(path) == (" ", "a", "#", "ñ")
    assert alphabet_digest("ab") != alphabet_digest("ba")
