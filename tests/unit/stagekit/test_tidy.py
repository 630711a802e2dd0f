"""A workspace keeps what is served or needed, and loses the rest."""

import json
import logging
import os
import shutil
import time
from pathlib import Path
from typing import NamedTuple

import pytest
from speechmodel_api.base import Document
from speechmodel_api.stages.contract import Kept
from speechmodel_api.workspace import MODEL, Workspace, downloads_index
from speechmodel_stagekit import tidy as tidying
from speechmodel_stagekit.artefacts import file_digest, seal
from speechmodel_stagekit.tidy import tidy

DAY = 86400
WEEK = 7 * DAY


class Usage(NamedTuple):
    total: int
    used: int
    free: int


@pytest.fixture
def workspace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workspace:
    """A volume that is half full."""
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(100, 50, 50))
    return Workspace(tmp_path)


def folder(path: Path, days: float, text: str = "x") -> Path:
    """A folder that was written, and first found unused, so many days ago."""
    path.mkdir(parents=True)
    (path / "file").write_text(text, encoding="utf-8")
    unused(path, days)
    return path


def unused(path: Path, days: float) -> None:
    at = time.time() - days * DAY
    mark(path).touch()
    for each in (path, mark(path)):
        os.utime(each, (at, at))


def mark(path: Path) -> Path:
    return path.with_name(f".{path.name}.unused")


def checkpoint(path: Path, *dev_losses: float, running: int = 0, rated_from: int = 0) -> Path:
    """A checkpoint with the dev losses of its epochs, one step each."""
    history = [{"epoch": step, "step": step, "devLoss": loss} for step, loss in enumerate(dev_losses, 1)]
    state = {"step": len(history), "history": history, "running": {"clips": running}}
    state["ratedFrom"] = rated_from
    path.mkdir(parents=True)
    (path / "state.json").write_text(json.dumps(state), encoding="utf-8")
    return path


def test_what_nothing_refers_to_goes_after_its_time_and_what_the_spec_refers_to_stays(workspace: Workspace) -> None:
    old = [folder(workspace.data("old"), 8), folder(workspace.report("old"), 8), folder(workspace.source("old"), 8)]
    recent, kept = folder(workspace.export("recent"), 6), folder(workspace.data("kept"), 30)
    tidy(workspace, Kept(folders=("data/kept", "data/missing"), seconds=WEEK))
    assert not any(path.exists() for path in old)
    assert recent.exists()
    assert kept.exists()
    assert not [path for path in workspace.root.glob("*/.*") if path != mark(recent)]
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert kept.exists(), "its time begins when nothing refers to it any more"
    unused(kept, 8)
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert not kept.exists()


def test_what_was_never_found_unused_before_stays_whatever_its_age(workspace: Workspace) -> None:
    old = folder(workspace.data("old"), 30)
    mark(old).unlink()
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert old.exists()
    assert mark(old).exists()


def test_the_model_that_is_served_stays_whatever_its_age(workspace: Workspace) -> None:
    served, other = (folder(workspace.export(name), 0, name) for name in ("served", "other"))
    for export in (served, other):
        (export / MODEL).write_text(export.name, encoding="utf-8")
        seal(export, Document())
        unused(export, 30)
    tidy(workspace, Kept(folders=(), models=(file_digest(served / MODEL),), seconds=WEEK))
    assert served.exists()
    assert not other.exists()


def test_every_lineage_keeps_its_newest_checkpoint(workspace: Workspace) -> None:
    current, old = workspace.checkpoints("current"), workspace.checkpoints("old")
    names = [f"step-00000{step:04d}-epoch-000001-attempt-0001" for step in (9, 10, 200)]
    for lineage in (current, old):
        for name in names:
            (lineage / name).mkdir(parents=True)
        (lineage / "owner").write_text("uid", encoding="utf-8")
        unused(lineage, 30)
    tidy(workspace, Kept(folders=("checkpoints/current",), seconds=WEEK))
    assert sorted(path.name for path in current.iterdir()) == ["owner", *names]
    assert sorted(path.name for path in old.iterdir()) == ["owner", names[2]]


@pytest.mark.parametrize("kind", ["step", "best"])
def test_a_lineage_keeps_the_checkpoint_that_is_exported(workspace: Workspace, kind: str) -> None:
    lineage = workspace.checkpoints("old")
    losses = (3.0, 2.0, 1.0, 1.5)
    kinds = ("step", kind, kind, "step")
    names = [f"{kind}-00000000{step}-epoch-00000{step}-attempt-0001" for step, kind in enumerate(kinds, 1)]
    for step, name in enumerate(names, 1):
        checkpoint(lineage / name, *losses[:step])
    checkpoint(lineage / names[2].replace("attempt-0001", "attempt-0002"), *losses[:3], running=1)
    (lineage / "step-000000000-epoch-000000-attempt-0001").mkdir()  # damaged: it has no state
    unused(lineage, 30)
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert sorted(path.name for path in lineage.iterdir() if path.is_dir()) == names[2:]


def test_losses_of_dev_clips_that_were_augmented_otherwise_do_not_keep_a_checkpoint(workspace: Workspace) -> None:
    lineage, losses = workspace.checkpoints("old"), (1.0, 9.0, 8.0, 8.5)
    names = [f"step-00000000{step}-epoch-00000{step}-attempt-0001" for step in range(1, 5)]
    for step, name in enumerate(names, 1):
        checkpoint(lineage / name, *losses[:step], rated_from=min(step - 1, 1))
    unused(lineage, 30)
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert sorted(path.name for path in lineage.iterdir() if path.is_dir()) == names[2:]


def left_of(workspace: Workspace, lineage: Path) -> list[str]:
    unused(lineage, 30)
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    return sorted(path.name for path in lineage.iterdir() if path.is_dir())


def test_a_best_epoch_after_the_newest_checkpoint_takes_the_place_of_none_before_it(workspace: Workspace) -> None:
    lineage, losses = workspace.checkpoints("old"), (3.0, 4.0, 2.0)
    names = [f"{kind}-00000000{at}-epoch-00000{at}-attempt-0001" for at, kind in enumerate(("best", "step", "best"), 1)]
    for step, name in enumerate(names, 1):
        checkpoint(lineage / name, *losses[:step])
    assert left_of(workspace, lineage) == names[:2], "training continues from the second and exports the first"


def test_a_best_epoch_that_is_measured_after_the_newest_checkpoint_of_its_step_does_not_count(
    workspace: Workspace,
) -> None:
    lineage, losses = workspace.checkpoints("old"), (3.0, 2.0)
    names = [
        "best-000000001-epoch-000001-attempt-0001",
        "best-000000002-epoch-000002-attempt-0001",
        "step-000000002-epoch-000001-attempt-0001",
    ]
    checkpoint(lineage / names[0], *losses[:1])
    checkpoint(lineage / names[1], *losses)
    checkpoint(lineage / names[2], *losses, running=1)
    assert left_of(workspace, lineage) == [names[0], names[2]]


def test_the_best_epoch_since_the_dev_clips_changed_stays_although_one_before_is_a_whole_checkpoint(
    workspace: Workspace,
) -> None:
    lineage, losses = workspace.checkpoints("old"), (1.0, 2.0)
    checkpoint(lineage / "step-000000001-epoch-000001-attempt-0001", *losses[:1])
    checkpoint(lineage / "best-000000002-epoch-000002-attempt-0001", *losses, rated_from=1)
    newest = checkpoint(lineage / "step-000000003-epoch-000002-attempt-0001", *losses, running=1, rated_from=1)
    assert left_of(workspace, lineage) == ["best-000000002-epoch-000002-attempt-0001", newest.name]


def test_of_equal_dev_losses_the_earliest_stays(workspace: Workspace) -> None:
    lineage, losses = workspace.checkpoints("old"), (1.0, 1.0, 2.0)
    names = [f"{kind}-00000000{at}-epoch-00000{at}-attempt-0001" for at, kind in enumerate(("step", "best", "step"), 1)]
    for step, name in enumerate(names, 1):
        checkpoint(lineage / name, *losses[:step])
    assert left_of(workspace, lineage) == [names[0], names[2]]


def test_what_another_worker_removes_meanwhile_is_no_error(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It goes while it is listed, or between that and its removal, or while both remove it."""
    early, late, both = (folder(workspace.data(name), 20) for name in ("early", "late", "both"))
    remove, rename = shutil.rmtree, Path.rename

    def marking(path: Path) -> Path:
        remove(early, ignore_errors=True)
        return mark(path)

    def renaming(path: Path, target: Path) -> None:
        if path == late:
            remove(late)
        rename(path, target)

    def removing(path: Path, *, ignore_errors: bool = False) -> None:
        if path.name == ".both.removed":
            assert not both.exists(), "a part of it might be found"
            remove(path)
        remove(path, ignore_errors=ignore_errors)

    monkeypatch.setattr(tidying, "_mark", marking)
    monkeypatch.setattr(Path, "rename", renaming)
    monkeypatch.setattr(shutil, "rmtree", removing)
    with caplog.at_level(logging.WARNING):
        tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert [path.exists() for path in (early, late, both)] == [False] * 3
    assert caplog.text == ""


def test_what_a_killed_process_was_removing_goes(workspace: Workspace) -> None:
    halves = (workspace.root / "data" / ".old.removed", workspace.checkpoints("old") / ".step-1.removed")
    for half in halves:
        half.mkdir(parents=True)
        (half / "file").touch()
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert not any(half.exists() for half in halves)


def test_a_full_volume_loses_the_oldest_first_and_no_more_than_it_must(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    ages = {name: folder(workspace.data(name), days) for name, days in (("a", 3), ("b", 2), ("c", 1))}
    kept = folder(workspace.data("kept"), 4)
    monkeypatch.setattr(
        shutil,
        "disk_usage",
        lambda _: Usage(100, 80 + 4 * sum(path.exists() for path in ages.values()), 0),
    )
    tidy(workspace, Kept(folders=("data/kept",), seconds=WEEK))
    assert [name for name, path in ages.items() if path.exists()] == ["c"]
    assert kept.exists()


def test_a_folder_that_is_being_written_is_left(workspace: Workspace) -> None:
    writing = folder(workspace.root / "data" / ".new.partial", 30)
    tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert writing.exists()


def test_a_folder_that_cannot_be_removed_is_named_and_the_others_still_go(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    stuck, other = folder(workspace.data("stuck"), 20), folder(workspace.data("other"), 10)
    remove = shutil.rmtree

    def refuse(path: Path) -> None:
        if path.name == f".{stuck.name}.removed":
            raise PermissionError(13, "Permission denied", str(path))
        remove(path)

    monkeypatch.setattr(shutil, "rmtree", refuse)
    with caplog.at_level(logging.WARNING):
        tidy(workspace, Kept(folders=(), seconds=WEEK))
    assert not other.exists()
    assert f"cannot remove {stuck}" in caplog.text


def test_the_index_of_downloads_goes_with_them_and_a_running_download_stays(workspace: Workspace) -> None:
    kept, gone = (folder(workspace.source(key), days=9) for key in ("kept", "gone"))
    for each in (kept, gone):
        downloads_index(each).touch()
        each.with_name(f"{each.name}.partial").mkdir()
    tidy(workspace, Kept(folders=("sources/kept",), seconds=WEEK))
    left = {path.name for path in (workspace.root / "sources").iterdir()}
    assert left == {kept.name, downloads_index(kept).name, "kept.partial"}, "and no file that marks a folder as unused"
