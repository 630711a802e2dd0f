"""Keep a workspace in order: remove folders that nothing refers to any more."""

import logging
import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.stages import Kept, Manifest
from speechmodel_api.workspace import MODEL, Workspace

from speechmodel_stagekit.artefacts import MANIFEST

log = logging.getLogger(__name__)

FULL = 0.85
"""Share of a volume above which folders are removed at once."""


@dataclass(frozen=True)
class _Unused:
    """A folder that nothing refers to."""

    path: Path
    seconds: float
    """Time since something referred to it."""


def tidy(workspace: Workspace, kept: Kept) -> None:
    """Remove folders that nothing has referred to for `kept.seconds`, and the oldest others while the volume is too full.

    Folders in `kept`, the models in it, and the newest checkpoint of every lineage stay. A folder that cannot be removed is logged
    and left.
    """
    for name in kept.folders:  # the time of a folder is when something referred to it last
        if (workspace.root / name).is_dir():
            os.utime(workspace.root / name)
    unused = sorted(_unused(workspace, kept), key=lambda folder: folder.seconds, reverse=True)
    for folder in unused:
        if folder.seconds <= kept.seconds and _used_share(workspace.root) <= FULL:
            break
        try:
            shutil.rmtree(folder.path)
            log.info("removed %s, which nothing has referred to for %d s", folder.path, folder.seconds)
        except OSError as error:
            log.warning("cannot remove %s: %s", folder.path, error)


def _unused(workspace: Workspace, kept: Kept) -> Iterator[_Unused]:
    now, referred = time.time(), {workspace.root / name for name in kept.folders}
    for kind in ("sources", "data", "exports", "reports"):
        for folder in _folders(workspace.root / kind):
            if folder not in referred and not (kind == "exports" and _model_of(folder) in kept.models):
                yield _Unused(folder, now - folder.stat().st_mtime)
    for lineage in _folders(workspace.root / "checkpoints"):
        if lineage not in referred:
            newest_last = sorted(path for path in _folders(lineage) if path.name.startswith("step-"))
            seconds = now - lineage.stat().st_mtime
            yield from (_Unused(checkpoint, seconds) for checkpoint in newest_last[:-1])


def _folders(parent: Path) -> list[Path]:
    """Return the finished folders in a folder. Those with a dot in front are being written."""
    if not parent.is_dir():
        return []
    return [path for path in parent.iterdir() if path.is_dir() and not path.name.startswith(".")]


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
