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

Without folders of that kind, upstream's own files (`train-<step>.index`) in the lineage's folder
are read: weights, Adam's moments and step continue, and epochs are counted from 0.
"""

import logging
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from pydantic import ValidationError
from speechmodel_api.workspace import ALPHABET
from speechmodel_stagekit.alphabet import read_alphabet, write_alphabet
from speechmodel_stagekit.durable import sync, sync_folder

from speechmodel_training.best_epochs import BEST, best_epochs, by_dev_loss, later_bests, latest_first
from speechmodel_training.errors import CheckpointMismatch, CheckpointsDamaged, some_of
from speechmodel_training.learner import Tensors, average_of, tensor_shapes, upstream_shapes
from speechmodel_training.network import GAMMA, Geometry
from speechmodel_training.ownership import Ownership
from speechmodel_training.state import LineageFacts, TrainingState
from speechmodel_training.tensor_files import (
    UnreadableCheckpoint,
    flushed_early,
    read_tensors,
    truncate_files,
    variables,
    write_tensors,
)

log = logging.getLogger(__name__)

_NAME = re.compile(r"step-(\d{9,})-epoch-(\d{6,})-attempt-(\d{4,})")
_UPSTREAM = re.compile(r"([^.].*-(\d+))\.index")
_PREFIX = "model"
_MOMENTS = "/Adam", "/Adam_1"
BYTES = 255
"""Labels of upstream's bytes_output_mode. The alphabet.txt that Coqui writes for them is not UTF-8."""
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
        self._prune()

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

        Raises CheckpointsDamaged when none can be read, CheckpointMismatch when it is of another
        network or dataset.
        """
        folders = self._newest_first()
        if not folders:
            return self._upstream()
        return self._first_readable(folders, self._read)

    def newest_averages(self) -> Checkpoint | None:
        """Return what newest() returns, but only its averages, by the names of the weights."""
        folders = self._newest_first()
        if not folders:
            upstream = self._upstream()
            return None if upstream is None else self._averages_of(upstream)
        return self._first_readable(folders, self._read_averages)

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

    def _upstream(self) -> Checkpoint | None:
        matches = (_UPSTREAM.fullmatch(path.name) for path in self._folder.glob("*.index"))
        found = sorted(((int(match[2]), match[1]) for match in matches if match), reverse=True)
        if not found:
            return None
        self._require_alphabet(self._folder / ALPHABET)
        reasons = []
        for step, name in found:
            try:
                return self._continued_from(self._folder / name, step)
            except UnreadableCheckpoint as error:
                log.warning("%s; falling back to the checkpoint before", error)
                reasons.append(str(error))
        raise CheckpointsDamaged(self._folder, reasons)

    def _continued_from(self, prefix: Path, step: int) -> Checkpoint:
        tensors = _read_upstream(prefix, self._facts.geometry)
        tensors |= {average_of(name): tensors[name] for name in self._facts.geometry.weight_shapes()}
        log.info("continuing from upstream's checkpoint %s: step %d; epochs are counted from 0", prefix, step)
        attempt = self._ownership.owner.attempt
        state = TrainingState(facts=self._facts, attempt=attempt, target="", step=int(tensors["global_step"]))
        return Checkpoint(state, tensors)

    def _require_alphabet(self, path: Path) -> None:
        """Raise CheckpointMismatch when upstream's alphabet, if it is there, differs from the dataset's."""
        if not path.is_file():
            log.warning("%s is missing, so the checkpoint is assumed to have the dataset's labels", path)
            return
        try:
            theirs, ours = read_alphabet(path), self._facts.alphabet
        except ValueError as error:
            raise CheckpointMismatch(self._folder, [str(error)]) from error
        if theirs != ours:
            raise CheckpointMismatch(self._folder, list(_alphabet_differences(theirs, ours)))

    def _prune(self) -> None:
        states = self._states()
        good = [folder for folder in self._newest_first() if folder in states]
        kept = {*good[: self._keep], *by_dev_loss(states)[:1], *self._later_bests()}
        for folder in (*self._newest_first(), *best_epochs(self._folder)):
            if folder not in kept:
                shutil.rmtree(folder)

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
            if _NAME.match(left_over.name, 1) or BEST.match(left_over.name, 1):
                shutil.rmtree(left_over)
        partial = target.with_name(f".{target.name}.partial")
        partial.mkdir()
        try:
            yield partial
        finally:
            shutil.rmtree(partial, ignore_errors=True)


def _alphabet_differences(theirs: Sequence[str], ours: Sequence[str]) -> Iterator[str]:
    if missing := [label for label in ours if label not in theirs]:
        yield f"its alphabet lacks {', '.join(map(repr, missing))}"
    if more := [label for label in theirs if label not in ours]:
        yield f"its alphabet also has {', '.join(map(repr, more))}"
    if not missing and not more:
        yield "its alphabet has the labels of the dataset in another order"


def has_checkpoint(folder: Path) -> bool:
    """Return True when the folder of a lineage has a checkpoint, ours or upstream's, even a damaged one."""
    return any(_NAME.fullmatch(path.name) or _UPSTREAM.fullmatch(path.name) for path in folder.iterdir())


def read_state(folder: Path) -> TrainingState:
    """Return the state in a checkpoint folder. Raises UnreadableCheckpoint."""
    path = folder / "state.json"
    try:
        return TrainingState.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise UnreadableCheckpoint(f"{path} is damaged: {error}") from error


def _read_upstream(prefix: Path, geometry: Geometry) -> Tensors:
    """Return the tensors of an upstream checkpoint.

    Moments that it lacks are zero, as with upstream's --load_cudnn: a network that was trained with cuDNN has none of
    its LSTM. Raises what read_tensors raises.
    """
    (_, found), shapes = variables(prefix), upstream_shapes(geometry)
    if (normed := f"layer_1/{GAMMA}" in found) is not geometry.layer_norm:
        has, wanted = ("has", "true") if normed else ("has no", "false")
        raise CheckpointMismatch(prefix, [f"it {has} layer norm, so hyperparameters.layerNorm must be {wanted}"])
    if difference := bytes_difference(found.get("layer_6/bias", [0])[0], geometry.labels):
        raise CheckpointMismatch(prefix, [difference])
    moments = [name for name in shapes if name.endswith(_MOMENTS) and name not in found]
    if moments:
        log.warning("%s lacks %s: these moments of Adam begin at zero", prefix, ", ".join(moments))
    absent = {*moments, *({"learning_rate"} - set(found))}  # upstream's older checkpoints have no learning rate
    if missing := sorted(set(shapes) - set(found) - absent):
        raise UnreadableCheckpoint(
            f"{prefix} lacks {some_of(missing)}; if it has all weights, use it with training.initFrom, which needs only the weights"
        )
    tensors = read_tensors(prefix, {name: shape for name, shape in shapes.items() if name not in absent})
    return tensors | {name: np.zeros(shapes[name], np.float32) for name in absent}


def bytes_difference(outputs: int, labels: int) -> str | None:
    """Return a sentence for a checkpoint with upstream's bytes_output_mode that is to be used with another alphabet."""
    if outputs != BYTES + 1 or labels == BYTES:
        return None
    return (
        f"it has {BYTES} labels, the bytes of UTF-8 (bytes_output_mode), but the dataset has {labels} labels; "
        "to use its other layers, set training.initFrom with dropLayers: 1 or more"
    )
