"""The progress of a lineage that Coqui trains, and the checkpoints in its folder.

checkpoints/<lineage>/
    owner, lock, training.csv     as for our trainer
    coqui.json                    CoquiState
    train-<step>.*, checkpoint    Coqui's checkpoints, and its pointer to the newest
    best_dev-<step>.*             Coqui's best checkpoint since it was started, which may be worse than the one below
    best/                         the checkpoint with the lowest dev loss of the lineage
    damaged-train-<step>.*        checkpoints that could not be read
    tensorboard/, flags.txt, alphabet.txt
"""

import re
import shutil
from collections.abc import Container, Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import ValidationError
from speechmodel_api.base import Document
from speechmodel_api.workspace import ALPHABET, HISTORY
from speechmodel_stagekit.durable import replace_file, sync, sync_folder

from speechmodel_training.epochs import EpochRecord, as_csv
from speechmodel_training.errors import CheckpointsDamaged, ForeignCheckpoints

BEST = "best"
BEST_NAME = f"{BEST}/model"
"""Name of the best checkpoint in the folder of the lineage."""
DAMAGED = "damaged-"
"""Start of the names of checkpoints that could not be read."""
_ADVICE = (
    "the engine CoquiSTT continues only its own: move them away to train from scratch, or set training.engine to Native and name "
    "them in training.initFrom, with resume: true to continue their steps and moments too"
)
_STATE = "coqui.json"
_INDEX = re.compile(r"(train-\d+)\.index")
_POINTERS = "checkpoint", "best_dev_checkpoint"
"""Files in which Coqui looks for a checkpoint, with `last` and `best`."""


class CoquiState(Document):
    """The progress of a lineage. It is immutable."""

    version: Literal[1] = 1
    target: str = ""
    """Key of the train stage that it was last trained for."""
    target_began: int = 0
    """Finished epochs at the start of the training for that key."""
    stopped_early: bool = False
    """True when Coqui stopped early in the training for that key."""
    learning_rate: float | None = None
    """Learning rate that Coqui was last started with."""
    rate: float | None = None
    """Learning rate after the last finished epoch: that of the setting, or a reduced one. None in states from before it was kept."""
    rates: dict[str, float] = {}
    """Learning rates in the checkpoints of `ends`, by name."""
    ends: dict[str, int] = {}
    """Finished epochs of the checkpoints at the end of an epoch, and of those that were continued, by name."""
    best_epoch: int = 0
    """Epoch of the checkpoint in `best`, 0 without one."""
    best_step: int = 0
    best_dev_loss: float | None = None
    history: tuple[EpochRecord, ...] = ()

    @property
    def epoch(self) -> int:
        """Finished epochs."""
        return len(self.history)

    def towards(self, target: str) -> Self:
        """Return the state in which training continues for the train key `target`."""
        if target == self.target:
            return self
        return self.model_copy(update={"target": target, "target_began": self.epoch, "stopped_early": False})

    def changed(self, **changes: object) -> Self:
        """Return the state with other values."""
        return self.model_copy(update=changes)

    def at(self, names: Sequence[str]) -> Self:
        """Return the state at the last of `names`, the checkpoints in their order: epochs after it are forgotten."""
        known = [self.ends[name] for name in names if name in self.ends]
        return self.changed(history=self.history[: known[-1]]) if known else self


def read_state(folder: Path) -> CoquiState:
    """Return the state in the folder of a lineage, a fresh one for an empty folder.

    Raises CheckpointsDamaged, and ForeignCheckpoints for checkpoints without a state: Coqui would continue them with other labels, or
    train from random weights beside them, without a word.
    """
    path = folder / _STATE
    try:
        return CoquiState.model_validate_json(path.read_bytes())
    except FileNotFoundError:
        if foreign := sorted(index.stem for index in folder.glob("[!.]*.index")):
            raise ForeignCheckpoints(folder, foreign, _ADVICE) from None
        return CoquiState()
    except ValidationError as error:
        raise CheckpointsDamaged(folder, [f"{path} is damaged: {error}"]) from error


def write_state(folder: Path, state: CoquiState) -> None:
    """Write the state and training.csv."""
    replace_file(folder / _STATE, state.model_dump_json(by_alias=True, indent=1))
    replace_file(folder / HISTORY, as_csv(state.history))


def checkpoints(folder: Path) -> list[str]:
    """Return the names of the complete checkpoints, the oldest first, and before them the best one.

    They are ordered by time: with reduceOnPlateau, Coqui goes back to the step of the best one.
    """
    best = [BEST_NAME] if (folder / f"{BEST_NAME}.index").exists() else []
    found = [
        (path.stat().st_mtime_ns, step_of(match[1]), match[1])  # a copy may have given all files one time
        for path in folder.glob("train-*.index")
        if (match := _INDEX.fullmatch(path.name)) and path.with_suffix(".data-00000-of-00001").exists()
    ]
    return best + [name for _, _, name in sorted(found)]


def point_to(folder: Path, name: str) -> None:
    """Let Coqui load the checkpoint `name` with `last` and `best`. The path is relative, so the folder can be moved."""
    for pointer in _POINTERS:
        text = f'model_checkpoint_path: "{name}"\nall_model_checkpoint_paths: "{name}"\n'
        replace_file(folder / pointer, text)


def remove(folder: Path, name: str) -> None:
    """Remove a checkpoint."""
    for path in folder.glob(f"{name}.*"):
        path.unlink()


def step_of(name: str) -> int:
    """Return the step in the name of a checkpoint of Coqui."""
    return int(name.rpartition("-")[2])


def prune(folder: Path, keep: int, ends: Container[str], next_end: int) -> None:
    """Remove all but the newest `keep` checkpoints, the newest one in `ends` and the best.

    Those from the step `next_end` on stay: their lines were not taken in yet.
    """
    names = [name for name in checkpoints(folder) if name != BEST_NAME]
    names = [name for name in names if name in ends or step_of(name) < next_end]
    kept = {*names[-keep:], *[name for name in names if name in ends][-1:]}
    for name in names:
        if name not in kept:
            remove(folder, name)


def put_aside(folder: Path, name: str) -> None:
    """Keep the files of a checkpoint that cannot be read, under another name."""
    for path in folder.glob(f"{name}.*"):
        path.rename(path.with_name(f"{DAMAGED}{path.name}"))


def keep_best(folder: Path, name: str) -> None:
    """Copy the checkpoint `name` to the folder `best`, which is complete or absent at any time.

    Raises CheckpointsDamaged when the checkpoint is gone.
    """
    if not (folder / f"{name}.index").exists():
        raise CheckpointsDamaged(folder, [f"{name} is missing"])
    partial = folder / f".{BEST}.partial"
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir()
    for path in (*folder.glob(f"{name}.index"), *folder.glob(f"{name}.data-*")):
        shutil.copy(path, partial / path.name.replace(name, "model", 1))
    shutil.copy(folder / ALPHABET, partial)
    point_to(partial, "model")
    sync_folder(partial)
    shutil.rmtree(folder / BEST, ignore_errors=True)
    partial.rename(folder / BEST)
    sync(folder)
