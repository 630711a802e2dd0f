"""Keep a workspace in order: remove folders that nothing refers to any more."""

import logging
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages.contract import Kept, Manifest
from speechmodel_api.workspace import MODEL, PARTIAL, Workspace, downloads_index

from speechmodel_stagekit.artefacts import MANIFEST

log = logging.getLogger(__name__)

FULL = 0.85
"""Share of a volume above which folders are removed at once."""
_GOING = ".removed"
"""Ending of the name of a folder that is being removed."""
_CHECKPOINT = re.compile(r"(?:best|step)-(\d+)-epoch-(\d+)-attempt-(\d+)")
"""Name of a checkpoint: the averages of a best epoch, or the state of training at a step."""


class _Epoch(Document):
    epoch: int
    step: int
    dev_loss: float | None = None


class _Running(Document):
    clips: int = 0


class _State(Document):
    """The part of a checkpoint's state.json that tells how good it is."""

    step: int
    history: tuple[_Epoch, ...] = ()
    running: _Running = _Running()
    rated_from: int = 0

    @property
    def dev_loss(self) -> float | None:
        """Dev loss of exactly these weights, or None."""
        at_epoch_end = bool(self.history) and self.history[-1].step == self.step and not self.running.clips
        return self.history[-1].dev_loss if at_epoch_end else None


@dataclass(frozen=True)
class _Unused:
    """A folder that nothing refers to."""

    path: Path
    seconds: float
    """Time since it was first found that nothing refers to it."""
    modified: float
    """Time at which it was written."""


def tidy(workspace: Workspace, kept: Kept) -> None:
    """Remove folders that nothing has referred to for `kept.seconds`, and the oldest others while the volume is too full.

    Folders in `kept`, the models in it, and the newest and the best checkpoint of every lineage stay. The time begins with the
    first call that finds a folder unused, which an empty file beside it records. A folder that cannot be removed is logged and left.
    """
    for left in (*workspace.root.glob(f"*/.*{_GOING}"), *workspace.root.glob(f"checkpoints/*/.*{_GOING}")):
        shutil.rmtree(left, ignore_errors=True)  # of a process that was killed
    unused = sorted(_unused(workspace, kept), key=lambda folder: (folder.seconds < kept.seconds, folder.modified))
    for folder in unused:
        if folder.seconds < kept.seconds and _used_share(workspace.root) <= FULL:
            break
        going = folder.path.with_name(f".{folder.path.name}{_GOING}")  # nobody may find a part of it
        try:
            folder.path.rename(going)
            shutil.rmtree(going)
            if (partial := folder.path.with_name(f"{folder.path.name}{PARTIAL}")).is_dir():
                shutil.rmtree(partial)
            for beside in (downloads_index(folder.path), _mark(folder.path)):
                beside.unlink(missing_ok=True)
            log.info("removed %s, which nothing has referred to for %d s", folder.path, folder.seconds)
        except FileNotFoundError:
            continue  # another process, such as one of several workers, removes it
        except OSError as error:
            log.warning("cannot remove %s: %s", folder.path, error)


def _unused(workspace: Workspace, kept: Kept) -> Iterator[_Unused]:
    referred = {workspace.root / name for name in kept.folders}
    for kind in ("sources", "data", "exports", "reports"):
        for folder in _folders(workspace.root / kind):
            stays = folder in referred or (kind == "exports" and _model_of(folder) in kept.models)
            seconds = _seconds_unused(folder, referred=stays)
            if not stays:
                yield _Unused(folder, seconds, _modified(folder))
    for lineage in _folders(workspace.root / "checkpoints"):
        seconds = _seconds_unused(lineage, referred=lineage in referred)
        if lineage not in referred:
            checkpoints = sorted(filter(_position, _folders(lineage)), key=_position)
            stay = _newest_and_best(checkpoints)
            yield from (_Unused(path, seconds, _modified(path)) for path in checkpoints if path not in stay)


def _seconds_unused(folder: Path, *, referred: bool) -> float:
    """Return the time since a folder was first found unused, and begin or end it."""
    mark = _mark(folder)
    try:
        if referred:
            mark.unlink(missing_ok=True)
            return 0
        if not mark.exists():
            mark.touch()
        return max(0.0, time.time() - mark.stat().st_mtime)
    except OSError as error:  # such as a full volume, on which room is made all the same
        log.warning("cannot write %s: %s", mark, error)
        return 0


def _modified(folder: Path) -> float:
    """Return the time at which a folder was written; 0 if another process, such as one of several workers, has removed it."""
    try:
        return folder.stat().st_mtime
    except FileNotFoundError:
        return 0


def _mark(folder: Path) -> Path:
    """Return the empty file whose time is when a folder was first found unused."""
    return folder.with_name(f".{folder.name}.unused")


def _position(checkpoint: Path) -> tuple[int, ...]:
    """Return the step, epoch and attempt of a checkpoint by its name; nothing for another folder."""
    match = _CHECKPOINT.fullmatch(checkpoint.name)
    return tuple(map(int, match.groups())) if match else ()


def _newest_and_best(checkpoints: list[Path]) -> set[Path]:
    """Return the checkpoint that training continues from and the one that is exported, of checkpoints in the order of training.

    Best epochs after the newest checkpoint do not count, because training continues before them.
    """
    newest = [path for path in checkpoints if path.name.startswith("step-")][-1:]
    counted = [path for path in checkpoints if not newest or _position(path)[:2] <= _position(newest[0])[:2]]
    return {*newest, *_best(counted)}


def _best(checkpoints: list[Path]) -> list[Path]:
    """Return the checkpoint that is exported, if any has a dev loss: that with the lowest since the newest one's `rated_from`."""
    rated = [
        (state.dev_loss, path, state) for path in checkpoints if (state := _state(path)) and state.dev_loss is not None
    ]
    comparable = [
        (loss, state.step, path) for loss, path, state in rated if state.history[-1].epoch > rated[-1][2].rated_from
    ]
    return [path for *_, path in sorted(comparable)[:1]]


def _state(checkpoint: Path) -> _State | None:
    try:
        return _State.model_validate_json((checkpoint / "state.json").read_bytes())
    except (OSError, ValidationError):
        return None


def _folders(parent: Path) -> list[Path]:
    """Return the finished folders in a folder. Those with a dot in front, or the ending of a partial download, are being
    written.
    """
    if not parent.is_dir():
        return []
    return [
        path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".") and path.suffix != PARTIAL
    ]


def _model_of(export: Path) -> str | None:
    """Return the sha256 of the model in an export by its manifest, or None."""
    try:
        manifest = Manifest[Document].model_validate_json((export / MANIFEST).read_bytes())
    except (OSError, ValidationError):
        return None
    model = manifest.files.get(MODEL)
    return model.sha256 if model else None


def _used_share(folder: Path) -> float:
    usage = shutil.disk_usage(folder)
    return usage.used / usage.total
