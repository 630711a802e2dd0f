"""The checkpoint of `training.initFrom`: a network that training begins with.

The weights are taken over, and with `resume` also the steps, Adam's moments and the averages. Epochs begin at zero.
"""

import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from speechmodel_api.workspace import ALPHABET
from speechmodel_stagekit.alphabet import read_alphabet

from speechmodel_training.checkpoints import read_state
from speechmodel_training.errors import InitialCheckpointUnusable, some_of
from speechmodel_training.initial_places import prefix_at
from speechmodel_training.learner import BETA_1, BETA_2, Tensors, average_of
from speechmodel_training.network import CELL, GAMMA, Array, Geometry
from speechmodel_training.tensor_files import UnreadableCheckpoint, damage_named, variables

log = logging.getLogger(__name__)

LAYERS = ("layer_2", "layer_3", CELL, "layer_5", "layer_6")
"""Layers that can be dropped. dropLayers counts from the last one, as drop_source_layers in DeepSpeech."""
OUTPUT = "layer_6"
_MOMENTS = "Adam", "Adam_1"
_SCALARS = "global_step", "beta1_power", "beta2_power"
_BYTES = 255
"""Labels of upstream's bytes_output_mode. The alphabet.txt that Coqui writes for them is not UTF-8."""
_WEIGHT = re.compile(r".+/(weights|bias|kernel|beta|gamma)")
_OTHER_CHECKPOINT = "choose another checkpoint"
_OTHER_PROGRAM = "give a checkpoint of DeepSpeech 0.9, Coqui STT or a SpeechModel"


@dataclass(frozen=True)
class AlphabetProblem:
    """Why the alphabet beside a checkpoint does not say what the outputs are, and what to do."""

    problem: str
    advice: str


@dataclass(frozen=True)
class InitialCheckpoint:
    """The tensors of a network that was trained before."""

    place: Path
    """Prefix of the checkpoint's files."""
    weights: Mapping[str, Array]
    """By their names in a checkpoint. Unless training resumes, the averages if the checkpoint has them."""
    alphabet: tuple[str, ...] | None
    """Labels in order. None if nothing beside the checkpoint names them."""
    alphabet_problem: AlphabetProblem | None = None
    """None if the alphabet says what the outputs are, or if there is none."""
    has_state: bool = False
    """True if its labels are those in state.json, so that alphabet.txt is not read."""
    progress: Mapping[str, Array] | None = None
    """Averages, Adam's moments and scalars by their names in a checkpoint. None unless training resumes."""

    @property
    def hidden_units(self) -> int:
        """Width of the network."""
        return len(self.weights["layer_1/bias"])

    @property
    def layer_norm(self) -> bool:
        """True if its dense layers are normalised."""
        return f"layer_1/{GAMMA}" in self.weights

    def tensors_for(self, fresh: Mapping[str, Array], alphabet: Sequence[str], drop_layers: int) -> Tensors:
        """Return the tensors that training begins with, as learner.tensor_shapes names them.

        The weights are those of weights_for. Averages, moments and steps are those of the checkpoint if training resumes; labels
        that it lacks, and weights whose moments it lacks, have moments of 0. Raises InitialCheckpointUnusable.
        """
        weights, progress = self.weights_for(fresh, alphabet, drop_layers), self.progress or {}
        tensors: Tensors = {**weights}
        lacking, wrong = [], []

        def take(name: str, absent: Array) -> None:
            theirs = progress.get(name)
            found = absent if theirs is None else self._arranged(name, theirs, absent, alphabet)
            if found is None:
                wrong.append(_difference(name, progress[name], absent))
            elif not np.isfinite(found).all():
                wrong.append(_not_finite(name))
            else:
                tensors[name] = found

        for name, weight in weights.items():
            take(average_of(name), weight)
            for moment in (f"{name}/{each}" for each in _MOMENTS):
                take(moment, np.zeros(weight.shape, np.float32))
                lacking += [moment] if moment not in progress else []
        scalars = dict(zip(_SCALARS, map(np.float32, (0, BETA_1, BETA_2)), strict=True)) | {
            name: progress[name] for name in _SCALARS if name in progress
        }
        tensors |= scalars | {"global_step": np.int64(scalars["global_step"])}
        if wrong:
            raise InitialCheckpointUnusable(self.place, wrong, _OTHER_CHECKPOINT)
        if self.progress is not None:
            log.info("resuming %s at step %d", self.place, int(scalars["global_step"]))
            if lacking:
                log.warning("%s lacks %s: these moments of Adam begin at zero", self.place, ", ".join(lacking))
        return tensors

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
            if difference := self._bytes_difference(len(alphabet)):
                differences.append(difference)
            elif found := self.alphabet_problem:
                advice = f"{found.advice}, or leave out the output layer with {self._dropping} 1"
                raise InitialCheckpointUnusable(self.place, [found.problem], advice)
        for name in kept:
            if name not in self.weights:
                differences.append(f"{name} is missing")
            elif (arranged := self._arranged(name, self.weights[name], fresh[name], alphabet)) is None:
                differences.append(_difference(name, self.weights[name], fresh[name]))
            else:
                mixed[name] = arranged
        if more := sorted(set(self.weights) - set(fresh)):
            differences.append(f"it has {', '.join(more)}, which this network does not have")
        if differences:
            raise InitialCheckpointUnusable(self.place, differences)
        if infinite := sorted(name for name in kept if not np.isfinite(mixed[name]).all()):
            raise InitialCheckpointUnusable(self.place, [_not_finite(name) for name in infinite], _OTHER_CHECKPOINT)
        if self.alphabet is not None and f"{OUTPUT}/bias" in kept:
            common = [label for label in alphabet if label in self.alphabet]
            log.info("%s: %d of %d labels are in the checkpoint's alphabet", OUTPUT, len(common), len(alphabet))
        log.info("starting from %s; layers with random weights: %s", self.place, ", ".join(dropped) or "nothing")
        return mixed

    def warnings(self, alphabet: Sequence[str], drop_layers: int) -> Iterator[str]:
        """Yield a sentence if the checkpoint's alphabet has less than half of these labels, and the output layer is kept."""
        common = [label for label in alphabet if label in (self.alphabet or alphabet)]
        if not drop_layers and 2 * len(common) < len(alphabet):
            sentence = (
                f"only {len(common)} of the dataset's {len(alphabet)} labels are in the alphabet of the checkpoint of initFrom, so the "
                "other outputs begin with random weights"
            )
            advice = (
                "; if they are the same labels in another spelling, such as upper case, correct "
                f"{ALPHABET} beside the checkpoint"
            )
            yield sentence if self.has_state else f"{sentence}{advice}"

    def _arranged(self, name: str, theirs: Array, absent: Array, alphabet: Sequence[str]) -> Array | None:
        """Return a tensor whose columns, in the output layer, are those of these labels; None if it has another shape.

        Columns of labels that the checkpoint lacks are those of `absent`. The last one is that of the blank.
        """
        if self.alphabet in (None, tuple(alphabet)) or not name.startswith(f"{OUTPUT}/"):
            return theirs if theirs.shape == absent.shape else None
        if theirs.shape[:-1] != absent.shape[:-1]:
            return None
        assert self.alphabet is not None
        arranged = absent.copy()
        for place, label in enumerate(alphabet):
            if label in self.alphabet:
                arranged[..., place] = theirs[..., self.alphabet.index(label)]
        arranged[..., -1] = theirs[..., -1]
        return arranged

    def _bytes_difference(self, labels: int) -> str | None:
        """Return a sentence for a checkpoint with upstream's bytes_output_mode that is to be used with another alphabet."""
        if len(self.weights[f"{OUTPUT}/bias"]) != _BYTES + 1 or labels == _BYTES:
            return None
        return (
            f"it has {_BYTES} labels, the bytes of UTF-8 (bytes_output_mode), but the dataset has {labels} labels; "
            f"to use its other layers, set {self._dropping} 1 or more"
        )

    @property
    def _dropping(self) -> str:
        """The field that leaves out the output layer."""
        return "dropLayers:" if self.progress is None else "(without resume) dropLayers:"


def read_initial_checkpoint(path: Path, *, resume: bool = False) -> InitialCheckpoint:
    """Return the checkpoint at `path`: a lineage's folder or one checkpoint in it, a folder of
    DeepSpeech's checkpoints, or the prefix of one.

    The checkpoint with the lowest dev loss is taken, or else the newest, with `resume` always that one. Raises
    InitialCheckpointUnusable.
    """
    place = prefix_at(path, newest=resume)
    try:
        reader, found = variables(place)
        names = [name for name in found if _WEIGHT.fullmatch(name)]
        averages = {} if resume else {name: average_of(name) for name in names if average_of(name) in found}
        wanted = _progress_of(names) if resume else []
        with damage_named(place):
            weights = {name: np.asarray(reader.get_tensor(averages.get(name, name)), np.float32) for name in names}
            progress = {name: _number(reader.get_tensor(name)) for name in wanted if name in found}
    except UnreadableCheckpoint as error:
        raise InitialCheckpointUnusable(place, [f"it is damaged: {error.__cause__}"], _OTHER_CHECKPOINT) from error
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
    if resume and (absent := [name for name in _SCALARS if name not in progress]):
        raise InitialCheckpointUnusable(
            place,
            [f"it lacks {', '.join(absent)}"],
            "leave out resume, which needs them, to begin with its weights alone",
        )
    has_state = (place.parent / "state.json").is_file()
    alphabet, problem = _alphabet(place.parent, len(weights[f"{OUTPUT}/bias"]), has_state=has_state)
    return InitialCheckpoint(place, weights, alphabet, problem, has_state, progress if resume else None)


def _progress_of(weights: Sequence[str]) -> list[str]:
    """Return the names of the averages, moments and scalars that belong to these weights."""
    moments = [f"{name}/{each}" for name in weights for each in _MOMENTS]
    return [*_SCALARS, *map(average_of, weights), *moments]


def _number(value: npt.NDArray[np.generic]) -> Array:
    """Return a tensor as float32, and a step, which is an integer, as it is."""
    return np.asarray(value, value.dtype if value.dtype.kind == "i" else np.float32)


def _alphabet(folder: Path, outputs: int, *, has_state: bool) -> tuple[tuple[str, ...] | None, AlphabetProblem | None]:
    """Return the alphabet in a folder, and why it cannot be that of so many outputs."""
    advice = _OTHER_CHECKPOINT
    try:
        if has_state:
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
        return None, None if outputs == _BYTES + 1 else AlphabetProblem(str(error), advice)
    if len(alphabet) + 1 != outputs:
        problem = f"{OUTPUT} has {outputs} outputs, but its alphabet has {len(alphabet)} labels"
        return None, AlphabetProblem(problem, advice)
    return alphabet, None


def _difference(name: str, theirs: npt.NDArray[np.generic], ours: npt.NDArray[np.generic]) -> str:
    return f"{name} has the shape {list(theirs.shape)} instead of {list(ours.shape)}"


def _not_finite(name: str) -> str:
    return f"{name} has values that are infinite or NaN"
