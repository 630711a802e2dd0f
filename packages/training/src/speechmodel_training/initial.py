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

from speechmodel_training.best_epochs import by_dev_loss
from speechmodel_training.checkpoints import BYTES, bytes_difference, read_state
from speechmodel_training.coqui.state import BEST
from speechmodel_training.errors import InitialCheckpointUnusable, some_of
from speechmodel_training.learner import average_of
from speechmodel_training.network import CELL, GAMMA, Array, Geometry
from speechmodel_training.tensor_files import UnreadableCheckpoint

log = logging.getLogger(__name__)

LAYERS = ("layer_2", "layer_3", CELL, "layer_5", "layer_6")
"""Layers that can be dropped. dropLayers counts from the last one, as drop_source_layers in DeepSpeech."""
OUTPUT = "layer_6"
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
_OTHER_PROGRAM = "give a checkpoint of DeepSpeech 0.9, Coqui STT or a SpeechModel"
_OTHER_PATH = "correct the path or the prefix"
_PART = re.compile(r"(.+)\.(?:index|meta|data-\d+-of-\d+)")
"""A file of a checkpoint, and the prefix."""


@dataclass(frozen=True)
class AlphabetProblem:
    """Why the alphabet beside a checkpoint does not say what the outputs are, and what to do."""

    problem: str
    advice: str


@dataclass(frozen=True)
class InitialCheckpoint:
    """The weights of a finished network."""

    place: Path
    """Prefix of the checkpoint's files."""
    weights: Mapping[str, Array]
    """By their names in a checkpoint. The averages, if the checkpoint has them."""
    alphabet: tuple[str, ...] | None
    """Labels in order. None if nothing beside the checkpoint names them."""
    alphabet_problem: AlphabetProblem | None = None
    """None if the alphabet says what the outputs are, or if there is none."""

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
        if self.hidden_units != (units := len(fresh["layer_1/bias"])):
            differences.append(f"it has hiddenUnits {self.hidden_units} instead of {units}")
        if f"{OUTPUT}/bias" in kept and self.alphabet is None:
            if difference := bytes_difference(len(self.weights[f"{OUTPUT}/bias"]), len(alphabet)):
                differences.append(difference)
            elif found := self.alphabet_problem:
                advice = f"{found.advice}, or leave out the output layer with dropLayers: 1"
                raise InitialCheckpointUnusable(self.place, [found.problem], advice)
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
    shapes = Geometry(1, 1).weight_shapes()
    if missing := sorted(set(shapes) - set(weights)):
        raise InitialCheckpointUnusable(
            place,
            [f"it lacks {some_of(missing)}; it has {some_of(sorted(found)) or 'nothing'}"],
            _OTHER_PROGRAM,
        )
    if wrong := [
        f"{name} has {weights[name].ndim} dimensions instead of {len(shape)}"
        for name, shape in shapes.items()
        if weights[name].ndim != len(shape)
    ]:
        raise InitialCheckpointUnusable(place, wrong, _OTHER_PROGRAM)
    alphabet, problem = _alphabet(place.parent, len(weights[f"{OUTPUT}/bias"]))
    return InitialCheckpoint(place, weights, alphabet, problem)


def _prefix(path: Path) -> Path:
    if path.with_name(f"{path.name}.index").is_file():
        return path
    if not path.is_dir():
        raise InitialCheckpointUnusable(path, [_no_folder(path)], _OTHER_PATH)
    if (path / "model.index").is_file():
        return path / "model"
    if ours := sorted((*path.glob("best-*/model.index"), *path.glob("step-*/model.index"))):
        return _best_of([index.parent for index in ours]) / "model"
    if (path / BEST / "model.index").is_file():  # of all runs of Coqui, while its own best_dev is that of the last one
        return path / BEST / "model"
    names = [file.name for file in path.glob("*.index") if not file.name.startswith(".")]
    numbered = [(match, path / name) for name in names if (match := _UPSTREAM.fullmatch(name))]
    if numbered:
        _, newest = max(numbered, key=lambda found: (found[0][1].startswith("best_dev"), int(found[0][2])))
        return newest.with_suffix("")
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


def _alphabet(folder: Path, outputs: int) -> tuple[tuple[str, ...] | None, AlphabetProblem | None]:
    """Return the alphabet in a folder, and why it cannot be that of so many outputs."""
    advice = "choose another checkpoint"
    try:
        if (folder / "state.json").is_file():
            alphabet = read_state(folder).facts.alphabet
        elif (folder / ALPHABET).is_file():
            advice = f"correct {ALPHABET} in its folder"
            alphabet = read_alphabet(folder / ALPHABET)
        else:
            log.warning(
                "%s has no %s, so the checkpoint is assumed to have the dataset's labels; add the file if it has others",
                folder,
                ALPHABET,
            )
            return None, None
    except UnreadableCheckpoint as error:
        return None, AlphabetProblem(str(error), advice)
    except ValueError as error:  # of alphabet.txt
        return None, None if outputs == BYTES + 1 else AlphabetProblem(str(error), advice)
    if len(alphabet) + 1 != outputs:
        problem = f"{OUTPUT} has {outputs} outputs, but its alphabet has {len(alphabet)} labels"
        return None, AlphabetProblem(problem, advice)
    return alphabet, None


def _difference(name: str, theirs: npt.NDArray[np.generic], ours: npt.NDArray[np.generic]) -> str:
    return f"{name} has the shape {list(theirs.shape)} instead of {list(ours.shape)}"
