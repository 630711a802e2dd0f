"""The place of the checkpoint of `training.initFrom`: the prefix of its files, below the path that the manifest names."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from speechmodel_training.best_epochs import by_dev_loss
from speechmodel_training.checkpoints import read_state
from speechmodel_training.coqui.state import BEST, DAMAGED
from speechmodel_training.errors import InitialCheckpointUnusable, some_of
from speechmodel_training.tensor_files import UnreadableCheckpoint

log = logging.getLogger(__name__)

_UPSTREAM = re.compile(r"([^.].*)-(\d+)\.index")
_GRAPH = "a finished graph, which cannot be trained"
_ARCHIVE = "an archive: unpack it"
_KINDS = {
    ".pb": _GRAPH,
    ".pbmm": _GRAPH,
    ".tflite": _GRAPH,
    ".gz": _ARCHIVE,
    ".tgz": _ARCHIVE,
    ".xz": _ARCHIVE,
    ".zip": _ARCHIVE,
    ".tar": _ARCHIVE,
}
"""Other files that people have of a model, by the end of the name."""
_OTHER_PATH = "correct the path or the prefix"
_PART = re.compile(r"(.+)\.(?:index|meta|data-\d+-of-\d+)")
"""A file of a checkpoint, and the prefix."""


def prefix_at(path: Path, *, newest: bool) -> Path:
    """Return the prefix of the checkpoint at `path`: a lineage's folder or one checkpoint in it, a folder of DeepSpeech's
    checkpoints, or the prefix of one.

    Of several, it is the one with the lowest dev loss, or else the newest; with `newest` always that one. Raises
    InitialCheckpointUnusable.
    """
    if path.with_name(f"{path.name}.index").is_file():
        return path
    if not path.is_dir():
        raise InitialCheckpointUnusable(path, [_no_folder(path)], _OTHER_PATH)
    if (path / "model.index").is_file():
        return path / "model"
    steps = sorted(path.glob("step-*/model.index"))
    if newest and steps:
        return steps[-1].with_suffix("")
    if ours := [*sorted(path.glob("best-*/model.index")), *steps]:
        return _best_of([index.parent for index in ours]) / "model"
    # of all runs of Coqui, while its own best_dev is that of the last one
    if not newest and (path / BEST / "model.index").is_file():
        return path / BEST / "model"
    names = [file.name for file in path.glob("*.index") if not file.name.startswith((".", DAMAGED))]
    numbered = [(match, path / name) for name in names if (match := _UPSTREAM.fullmatch(name))]
    if numbered:
        _, chosen = max(
            numbered, key=lambda found: (not newest and found[0][1].startswith("best_dev"), int(found[0][2]))
        )
        return chosen.with_suffix("")
    if len(names) == 1:
        return (path / names[0]).with_suffix("")
    if names:
        prefixes = ", ".join(sorted(name.removesuffix(".index") for name in names))
        raise InitialCheckpointUnusable(
            path, [f"the folder has several checkpoints: {prefixes}"], "give the prefix of one"
        )
    problem = f"the folder has no checkpoint (files that end in .index){_beside(path)}"
    raise InitialCheckpointUnusable(path, [problem], _OTHER_PATH)


def _beside(path: Path) -> str:
    """Return what a folder has instead of a checkpoint, for a message."""
    below = {
        _place(file) for pattern in ("*/*.index", "*/*/*.index") for file in path.glob(pattern) if file.name[0] != "."
    }
    if folders := sorted(str(folder.relative_to(path)) for folder in below if not folder.name.startswith(".")):
        one = len(folders) == 1
        return f", but {some_of(folders)} {'has one' if one else 'have some'}; give {'that' if one else 'one of these'}"
    for file in sorted(path.iterdir()):
        if kind := _KINDS.get(file.suffix.lower()):
            return f", but it has {file.name}, {kind}"
    return ""


def _place(index: Path) -> Path:
    """Return the folder to give for a checkpoint: that of a lineage or of a training by Coqui, or else its own."""
    folder = index.parent
    in_place = index.name == "model.index" and (folder.name == BEST or folder.name.startswith(("best-", "step-")))
    return folder.parent if in_place else folder


def _no_folder(path: Path) -> str:
    """Return why a path that is no prefix and no folder cannot be used."""
    if not path.exists():
        return "there is no such checkpoint and no such folder"
    if part := _PART.fullmatch(path.name):
        return f"it is one file of a checkpoint; give the prefix {part[1]} instead"
    return "it is not a TensorFlow checkpoint; if it is an archive, unpack it and give its folder"


def _best_of(folders: Sequence[Path]) -> Path:
    """Return the folder with the lowest dev loss, or else the newest."""
    states = {}
    for folder in folders:
        try:
            states[folder] = read_state(folder)
        except UnreadableCheckpoint as error:
            log.warning("%s", error)
    return next(iter(by_dev_loss(states)), folders[-1])
