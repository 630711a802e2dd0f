"""The checkpoint of `training.initFrom`: a finished network that training begins with.

Only weights are taken over. Adam's moments, steps and epochs begin at zero.
"""

import logging
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import tensorflow as tf
from speechmodel_api.workspace import ALPHABET
from speechmodel_stagekit.alphabet import read_alphabet

from speechmodel_training.checkpoints import UnreadableCheckpoint, by_dev_loss, bytes_difference, read_state
from speechmodel_training.coqui.state import BEST
from speechmodel_training.errors import InitialCheckpointUnusable
from speechmodel_training.learner import average_of
from speechmodel_training.network import CELL, GAMMA, Array, Geometry

log = logging.getLogger(__name__)

LAYERS = ("layer_2", "layer_3", CELL, "layer_5", "layer_6")
"""Layers that can be dropped. dropLayers counts from the last one, as drop_source_layers in DeepSpeech."""
OUTPUT = "layer_6"
_UPSTREAM = re.compile(r"([^.].*)-(\d+)\.index")
_PART = re.compile(r"(.+)\.(?:index|meta|data-\d+-of-\d+)")
"""A file of a checkpoint, and the prefix."""


@dataclass(frozen=True)
class InitialCheckpoint:
    """The weights of a finished network."""

    place: Path
    """Prefix of the checkpoint's files."""
    weights: Mapping[str, Array]
    """By their names in a checkpoint. The averages, if the checkpoint has them."""
    alphabet: tuple[str, ...] | None
    """Labels in order. None if nothing beside the checkpoint names them."""

    @property
    def hidden_units(self) -> int:
        """Width of the network."""
        return len(self.weights["layer_1/bias"])

    @property
    def layer_norm(self) -> bool:
        """True if its dense layers are normalised."""
        return f"layer_1/{GAMMA}" in self.weights

    def weights_for(self, fresh: Mapping[str, Array], alphabet: Sequence[str], drop_layers: int) -> dict[str, Array]:
        """Return the weights that training begins with: those of the checkpoint, and `fresh` ones in
        the last `drop_layers` layers.

        For another alphabet, the output layer is `fresh` but for the labels that both have. Raises
        InitialCheckpointUnusable, which names every size that differs.
        """
        dropped = LAYERS[len(LAYERS) - drop_layers :]
        kept = [name for name in fresh if not name.startswith(tuple(f"{layer}/" for layer in dropped))]
        mixed = {**fresh}
        differences = []
        if f"{OUTPUT}/bias" in kept and self.alphabet is None:
            difference = bytes_difference(len(self.weights[f"{OUTPUT}/bias"]), len(alphabet))
            differences = [difference] if difference else []
        for name in kept:
            if name not in self.weights:
                differences.append(f"{name} is missing")
            elif name.startswith(f"{OUTPUT}/") and self.alphabet not in (None, tuple(alphabet)):
                rows_fit = name.endswith("bias") or len(self.weights[name]) == len(fresh[name])
                if not rows_fit:
                    differences.append(_difference(name, self.weights[name], fresh[name]))
                else:
                    mixed[name] = self._common_labels(name, fresh[name], alphabet)
            elif self.weights[name].shape != fresh[name].shape:
                differences.append(_difference(name, self.weights[name], fresh[name]))
            else:
                mixed[name] = self.weights[name]
        if more := sorted(set(self.weights) - set(fresh)):
            differences.append(f"it has {', '.join(more)}, which this network does not have")
        if differences:
            raise InitialCheckpointUnusable(self.place, differences)
        if infinite := sorted(name for name in kept if not np.isfinite(mixed[name]).all()):
            differences = [f"{name} has values that are infinite or NaN" for name in infinite]
            raise InitialCheckpointUnusable(self.place, differences, "choose another checkpoint")
        log.info("starting from %s; layers with random weights: %s", self.place, ", ".join(dropped) or "nothing")
        return mixed

    def _common_labels(self, name: str, fresh: Array, alphabet: Sequence[str]) -> Array:
        """Return the output layer with the columns of labels that both alphabets have, and of the
        blank, which is the last.
        """
        assert self.alphabet is not None
        common = [label for label in alphabet if label in self.alphabet]
        log.info("%s: %d of %d labels are in the checkpoint's alphabet", name, len(common), len(alphabet))
        mixed, theirs = fresh.copy(), self.weights[name]
        for label in common:
            mixed[..., alphabet.index(label)] = theirs[..., self.alphabet.index(label)]
        mixed[..., -1] = theirs[..., -1]
        return mixed


def read_initial_checkpoint(path: Path) -> InitialCheckpoint:
    """Return the checkpoint at `path`: a lineage's folder or one checkpoint in it, a folder of
    DeepSpeech's checkpoints, or the prefix of one.

    The checkpoint with the lowest dev loss is taken, or else the newest. Raises
    InitialCheckpointUnusable.
    """
    place = _prefix(path)
    try:
        reader = tf.train.load_checkpoint(str(place))
        found = reader.get_variable_to_shape_map()
        names = [name for name in found if re.search(r"/(weights|bias|kernel|beta|gamma)$", name)]
        best = {name: average_of(name) if average_of(name) in found else name for name in names}
        weights = {name: np.asarray(reader.get_tensor(best[name]), np.float32) for name in names}
    except (tf.errors.OpError, IndexError, ValueError, RuntimeError) as error:  # the reader raises all of them
        raise InitialCheckpointUnusable(place, [f"it is damaged: {error}"]) from error
    if missing := sorted(set(Geometry(1, 1).weight_shapes()) - set(weights)):
        raise InitialCheckpointUnusable(place, [f"{name} is missing" for name in missing])
    checkpoint = InitialCheckpoint(place, weights, _alphabet(place.parent))
    classes = len(weights[f"{OUTPUT}/bias"])
    if checkpoint.alphabet is not None and len(checkpoint.alphabet) + 1 != classes:
        labels = f"{OUTPUT} has {classes} outputs, but its alphabet has {len(checkpoint.alphabet)} labels"
        raise InitialCheckpointUnusable(place, [labels])
    return checkpoint


def _prefix(path: Path) -> Path:
    if path.with_name(f"{path.name}.index").is_file():
        return path
    if not path.is_dir():
        raise InitialCheckpointUnusable(path, [_no_folder(path)])
    if (path / "model.index").is_file():
        return path / "model"
    if ours := sorted((*path.glob("best-*/model.index"), *path.glob("step-*/model.index"))):
        return _best_of([index.parent for index in ours]) / "model"
    if (path / BEST / "model.index").is_file():  # of all runs of Coqui, while its own best_dev is that of the last one
        return path / BEST / "model"
    indexes = [(match, file) for file in path.glob("*.index") if (match := _UPSTREAM.fullmatch(file.name))]
    if not indexes:
        below = sorted({file.parent.name for file in path.glob("*/*.index") if _UPSTREAM.fullmatch(file.name)})
        but = f", but its subfolder {below[0]} has one; give {below[0]}" if below else ""
        raise InitialCheckpointUnusable(
            path, [f"the folder has no checkpoint (step-*, best_dev-*.index or *.index){but}"]
        )
    _, newest = max(indexes, key=lambda found: (found[0][1].startswith("best_dev"), int(found[0][2])))
    return newest.with_suffix("")


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


def _alphabet(folder: Path) -> tuple[str, ...] | None:
    if (folder / "state.json").is_file():
        try:
            return read_state(folder).facts.alphabet
        except UnreadableCheckpoint as error:
            raise InitialCheckpointUnusable(folder, [str(error)]) from error
    if (folder / ALPHABET).is_file():
        try:
            return read_alphabet(folder / ALPHABET)
        except ValueError as error:
            raise InitialCheckpointUnusable(folder, [str(error)]) from error
    log.warning(
        "%s has no %s, so the checkpoint is assumed to have the dataset's labels; add the file if it has others",
        folder,
        ALPHABET,
    )
    return None


def _difference(name: str, theirs: npt.NDArray[np.generic], ours: npt.NDArray[np.generic]) -> str:
    return f"{name} has the shape {list(theirs.shape)} instead of {list(ours.shape)}"
