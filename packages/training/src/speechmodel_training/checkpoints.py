"""Checkpoints of a lineage: folders that appear in one rename.

checkpoints/<lineage>/
    owner, lock                                   see ownership.py
    training.csv, tensorboard/                    the finished epochs, see history.py
    step-000001200-epoch-000015-attempt-0003/     15 finished epochs
        model.index, model.data-00000-of-00001    upstream's 40 tensors by its names, and the averages
        checkpoint, best_dev_checkpoint           upstream's pointer files, for its --load_checkpoint_dir
        alphabet.txt                              the labels, for its --alphabet_config_path
        state.json                                TrainingState
    best-000000800-epoch-000010-attempt-0002/     the averages of the epoch with the lowest dev loss, by the names of the weights
        model.index, …                            as above

A folder is written under a name that begins with a dot, fsynced and renamed. The newest has the
highest step, and among equal steps the highest epoch: the last step of an epoch may be saved before
and after the epoch was measured. The newest few are kept, and the one with the lowest dev loss
until there is a better one. A best epoch that is later than the newest checkpoint does not count: training continues before
it, perhaps with other settings.

Other checkpoints in the lineage's folder are not read. training.initFrom continues them from a folder outside of it.
"""

import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.workspace import ALPHABET
from speechmodel_stagekit.alphabet import write_alphabet
from speechmodel_stagekit.durable import sync, sync_folder

from speechmodel_training.best_epochs import BEST, best_epochs, by_dev_loss, later_bests, latest_first
from speechmodel_training.errors import CheckpointMismatch, CheckpointsDamaged, ForeignCheckpoints, some_of
from speechmodel_training.learner import Tensors, average_of, tensor_shapes
from speechmodel_training.ownership import Ownership
from speechmodel_training.state import LineageFacts, TrainingState
from speechmodel_training.tensor_files import (
    UnreadableCheckpoint,
    flushed_early,
    read_tensors,
    truncate_files,
    write_tensors,
)

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{9,})-epoch-(\d{6,})-attempt-(\d{4,})")
_PREFIX = "model"
_ADVICE = (
    "move them to a folder outside of this one, and name it in training.initFrom to begin with them, with resume: true to continue "
    "their steps and moments too"
)
_UPSTREAM_POINTERS = "checkpoint", "best_dev_checkpoint"
"""Files in which upstream looks for a checkpoint, with --load_train last and best. They name it relative to the
folder, so that the folder can be moved."""
_UPSTREAM_POINTER = f'model_checkpoint_path: "{_PREFIX}"\nall_model_checkpoint_paths: "{_PREFIX}"\n'


@dataclass(frozen=True)
class Checkpoint:
    """A training state and its tensors."""

    state: TrainingState
    tensors: Tensors
    """All tensors, named and shaped as in learner.tensor_shapes, or only the averages by the names of the weights."""


class SaveGivenUp(Exception):
    """A checkpoint was not written to its end, because a newer one takes its place."""


class CheckpointStore:
    """The checkpoints in a lineage's folder."""

    def __init__(self, ownership: Ownership, facts: LineageFacts, keep: int) -> None:
        self._folder = ownership.folder
        self._ownership = ownership
        self._facts = facts
        self._keep = keep
        self._damaged: set[Path] = set()
        self._appearing = threading.Lock()

    @property
    def folder(self) -> Path:
        """Folder of the lineage."""
        return self._folder

    def save(
        self,
        checkpoint: Checkpoint,
        require_good: Callable[[Tensors], None] = lambda _: None,
        given_up: threading.Event | None = None,
    ) -> None:
        """Write a checkpoint, then remove those that need not be kept.

        Removes the tensors from the checkpoint once the kernel has them, because training needs the memory while the kernel writes
        them to the disk. Raises Superseded, SaveGivenUp, and what `require_good` raises for the tensors.
        """
        self._write("step", checkpoint, require_good, given_up or threading.Event())
        self.prune()

    def save_best(self, checkpoint: Checkpoint, require_good: Callable[[Tensors], None] = lambda _: None) -> None:
        """Write the averages of the best epoch, which are a quarter of a checkpoint. The tensors have the names of the weights.

        Raises what save() raises, but for SaveGivenUp.
        """
        written = self._write("best", checkpoint, require_good, threading.Event())
        for folder in self._later_bests():
            if folder != written:
                shutil.rmtree(folder)

    def give_up(self, given_up: threading.Event) -> None:
        """End the save that another thread makes with this event, if any. It raises SaveGivenUp, unless its folder has appeared.

        What the kernel has not yet written to the disk is dropped, so that the disk is free for a newer checkpoint.
        """
        with self._appearing:
            given_up.set()
            for partial in self._folder.glob(".step-*.partial"):
                with suppress(OSError):  # removed meanwhile
                    truncate_files(partial)

    def forget_later_bests(self) -> None:
        """Remove the best epochs after the newest checkpoint, from which training continues."""
        for folder in self._later_bests():
            log.info("removing %s, which is trained again", folder)
            shutil.rmtree(folder)

    def prune(self, *, damaged: bool = True) -> None:
        """Remove checkpoints that need not be kept. Before the first save, newest() must have found the damaged ones.

        With `damaged` False, those that could not be read stay: it may have been one error of a shared volume.
        """
        states = self._states()
        good = [folder for folder in self._newest_first() if folder in states]
        kept = {*good[: self._keep], *by_dev_loss(states)[:1], *self._later_bests()}
        if not damaged:
            kept |= self._damaged
        for folder in (*self._newest_first(), *best_epochs(self._folder)):
            if folder not in kept:
                shutil.rmtree(folder)

    def _write(
        self, kind: str, checkpoint: Checkpoint, require_good: Callable[[Tensors], None], given_up: threading.Event
    ) -> Path:
        if given_up.is_set():
            raise SaveGivenUp
        state = checkpoint.state
        target = self._folder / f"{kind}-{state.step:09d}-epoch-{state.epoch:06d}-attempt-{state.attempt:04d}"
        with self._partial(target) as partial:
            with flushed_early(partial):
                write_tensors(partial / _PREFIX, checkpoint.tensors)
                if given_up.is_set():
                    raise SaveGivenUp
                require_good(checkpoint.tensors)
                checkpoint.tensors.clear()
            for pointer in _UPSTREAM_POINTERS:
                (partial / pointer).write_text(_UPSTREAM_POINTER, encoding="utf-8")
            write_alphabet(partial / ALPHABET, state.facts.alphabet)
            (partial / "state.json").write_text(state.model_dump_json(by_alias=True, indent=1), encoding="utf-8")
            sync_folder(partial)
            self._ownership.check()
            if target.exists():  # the same step, after falling back from a damaged checkpoint
                shutil.rmtree(target)
            with self._appearing:
                if given_up.is_set():
                    raise SaveGivenUp
                partial.rename(target)
            sync(self._folder)
        self._damaged.discard(target)
        return target

    def check_ownership(self) -> None:
        """Raise Superseded when a newer attempt owns the folder."""
        self._ownership.check()

    def newest(self) -> Checkpoint | None:
        """Return the newest checkpoint that can be read, or None when nothing was saved yet.

        Raises CheckpointsDamaged when none can be read, CheckpointMismatch when it is of another network or dataset, and
        ForeignCheckpoints when there are only those of other programs or lineages.
        """
        folders = self._newest_first()
        if folders:
            return self._first_readable(folders, self._read)
        if foreign := self.foreign():
            raise ForeignCheckpoints(
                self._folder, foreign, f"{_ADVICE}; without initFrom, training begins from scratch"
            )
        return None

    def foreign(self) -> list[str]:
        """Return the prefixes of other checkpoints in the folder and in folders below it, which nothing reads.

        Names with a dot are those of files that a killed process left half written, or of macOS.
        """
        found = (index for pattern in ("*.index", "*/*.index") for index in self._folder.glob(pattern))
        prefixes = (index.relative_to(self._folder).with_suffix("") for index in found)
        visible = (each for each in prefixes if not any(part.startswith(".") for part in each.parts))
        return sorted(str(each) for each in visible if not _is_ours(each.parts[0]))

    def warnings(self) -> Iterator[str]:
        """Yield a sentence if there are other checkpoints, which are not read, beside those of the lineage."""
        if foreign := self.foreign():
            yield f"{self._folder} also has checkpoints of another program or training: {some_of(foreign)}; {_ADVICE}"

    def newest_averages(self) -> Checkpoint | None:
        """Return what newest() returns, but only its averages, by the names of the weights."""
        folders = self._newest_first()
        return self._first_readable(folders, self._read_averages) if folders else None

    def best(self) -> Checkpoint | None:
        """Return the averages of the readable checkpoint with the lowest dev loss, the earliest of equal ones (see
        `by_dev_loss`), by the names of the weights.

        Without dev losses it is the newest. Raises what newest() raises.
        """
        states = self._states()
        if not states:
            return self.newest_averages()
        return self._first_readable(by_dev_loss(states) or self._newest_first(), self._read_averages)

    def _first_readable(self, folders: list[Path], read: Callable[[Path], Checkpoint]) -> Checkpoint:
        reasons = []
        for folder in folders:
            try:
                checkpoint = read(folder)
            except UnreadableCheckpoint as error:
                log.warning("%s; falling back to the checkpoint before", error)
                reasons.append(str(error))
                self._damaged.add(folder)
            else:
                log.info("read %s: epoch %d, step %d", folder, checkpoint.state.epoch, checkpoint.state.step)
                return checkpoint
        raise CheckpointsDamaged(self._folder, reasons)

    def _read(self, folder: Path) -> Checkpoint:
        return Checkpoint(
            self._fitting_state(folder), read_tensors(folder / _PREFIX, tensor_shapes(self._facts.geometry))
        )

    def _read_averages(self, folder: Path) -> Checkpoint:
        state, shapes = self._fitting_state(folder), self._facts.geometry.weight_shapes()
        if BEST.fullmatch(folder.name):
            return Checkpoint(state, read_tensors(folder / _PREFIX, shapes))
        averages = {average_of(name): shape for name, shape in shapes.items()}
        return self._averages_of(Checkpoint(state, read_tensors(folder / _PREFIX, averages)))

    def _averages_of(self, checkpoint: Checkpoint) -> Checkpoint:
        names = self._facts.geometry.weight_shapes()
        return Checkpoint(checkpoint.state, {name: checkpoint.tensors[average_of(name)] for name in names})

    def _fitting_state(self, folder: Path) -> TrainingState:
        """Return the state in a checkpoint folder. Raises UnreadableCheckpoint and CheckpointMismatch."""
        state = read_state(folder)
        if differences := self._facts.differences(state.facts):
            raise CheckpointMismatch(folder, differences)
        return state

    def _states(self) -> dict[Path, TrainingState]:
        """Return the state of every checkpoint that counts and is not known to be damaged."""
        states, later = {}, self._later_bests()
        for folder in (*self._newest_first(), *best_epochs(self._folder)):
            if folder in self._damaged or folder in later:
                continue
            try:
                states[folder] = read_state(folder)
            except UnreadableCheckpoint as error:
                log.warning("%s", error)
                self._damaged.add(folder)
        return states

    def _newest_first(self) -> list[Path]:
        return latest_first(self._folder, _NAME)

    def _later_bests(self) -> list[Path]:
        """Return the best epochs after the newest checkpoint, the latest first."""
        return later_bests(self._folder, [folder for folder in self._newest_first() if folder not in self._damaged])

    @contextmanager
    def _partial(self, target: Path) -> Iterator[Path]:
        for left_over in self._folder.glob(".*.partial"):  # of a killed process: we hold the lock
            if _is_ours(left_over.name.removeprefix(".").removesuffix(".partial")):
                shutil.rmtree(left_over)
        partial = target.with_name(f".{target.name}.partial")
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def has_checkpoint(folder: Path) -> bool:
    """Return True when the folder of a lineage has a checkpoint, even a damaged one."""
    return any(_NAME.fullmatch(path.name) for path in folder.iterdir())


def _is_ours(name: str) -> bool:
    return bool(_NAME.fullmatch(name) or BEST.fullmatch(name))


def read_state(folder: Path) -> TrainingState:
    """Return the state in a checkpoint folder. Raises UnreadableCheckpoint."""
    path = folder / "state.json"
    try:
        return TrainingState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnreadableCheckpoint(f"{path} is damaged: {error}") from error
