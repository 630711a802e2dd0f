"""`training.engine`: the program that trains, and the settings that each of them has."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from pydantic.config import JsonDict

from speechmodel_api import augmentation
from speechmodel_api.pods import gpus

if TYPE_CHECKING:
    from speechmodel_api.training_spec import Training


COQUI_PYTHON: Final = "SPEECHMODEL_COQUI_PYTHON"
"""Environment variable with the Python 3.7 that has coqui-stt-training."""


class TrainingEngine(StrEnum):
    """The program that trains."""

    NATIVE = "Native"
    COQUI_STT = "CoquiSTT"


COQUI_AUGMENTATIONS: Final = frozenset(
    [
        "add",
        "codec",
        "dropout",
        "frequency_mask",
        "multiply",
        "pitch",
        "resample",
        "reverb",
        "tempo",
        "time_mask",
        "volume",
        "warp",
    ]
)
"""Entries of `training.augmentation` that CoquiSTT has. It also has overlay, but needs a file of noises for it."""


@dataclass(frozen=True)
class _Refusal:
    """Settings that CoquiSTT does not have."""

    rule: str
    """CEL rule that holds without them. The API server evaluates it where the engine is CoquiSTT."""
    message: str
    found: "Callable[[Training], bool]"


def no_gpu(amounts: str) -> str:
    """Return the CEL rule that no amount above 0 is that of a GPU, by the names that `gpus` knows."""
    named = "name.contains('/') && (name.contains('gpu') || name.contains('/mig-'))"
    return f"!has({amounts}) || !{amounts}.exists(name, {named} && {amounts}[name] != '0')"


_REFUSALS: Final = (
    _Refusal(
        "!has(self.schedule) || !has(self.schedule.type) || self.schedule.type != 'Cosine'",
        "schedule.type must be Constant or Auto with the engine CoquiSTT, whose learning rate is constant",
        lambda training: training.schedule.type == "Cosine",
    ),
    _Refusal(
        "!has(self.hyperparameters) || !has(self.hyperparameters.gradientClipNorm)",
        "hyperparameters.gradientClipNorm must be left out with the engine CoquiSTT, which does not limit gradients",
        lambda training: training.hyperparameters.gradient_clip_norm is not None,
    ),
    _Refusal(
        "!has(self.hyperparameters) || !has(self.hyperparameters.consistency) || self.hyperparameters.consistency == 0.0",
        "hyperparameters.consistency must be 0 or left out with the engine CoquiSTT, which trains on one version of each clip",
        lambda training: bool(training.hyperparameters.consistency),
    ),
    _Refusal(
        "!has(self.initFrom)",
        "initFrom must be left out with the engine CoquiSTT, which begins with random weights",
        lambda training: training.init_from is not None,
    ),
    _Refusal(
        "!has(self.earlyStop) || !has(self.reduceOnPlateau) || self.earlyStop.minDelta == self.reduceOnPlateau.minDelta",
        "earlyStop.minDelta and reduceOnPlateau.minDelta must be equal with the engine CoquiSTT, which has one value for both",
        lambda training: (
            training.early_stop is not None
            and training.reduce_on_plateau is not None
            and training.early_stop.min_delta != training.reduce_on_plateau.min_delta
        ),
    ),
    _Refusal(
        "!has(self.podTemplate) || !has(self.podTemplate.resources) || "
        f"({no_gpu('self.podTemplate.resources.limits')}) && ({no_gpu('self.podTemplate.resources.requests')})",
        "podTemplate.resources must not have GPUs in limits or requests with the engine CoquiSTT, which trains on CPUs; "
        "remove them, or set engine to Native",
        lambda training: bool(gpus(training.pod_template.resources)),
    ),
    _Refusal(
        "!has(self.precision) || self.precision != 'BFloat16'",
        "precision must be Auto or Float32 with the engine CoquiSTT, which computes in Float32",
        lambda training: training.precision == "BFloat16",
    ),
    _Refusal(
        "!has(self.numWorkers) || self.numWorkers == 1",
        "numWorkers must be 1 with the engine CoquiSTT, which trains in one pod",
        lambda training: training.num_workers > 1,
    ),
)

ENGINE_RULES: Final = tuple(
    (f"!has(self.engine) || self.engine != 'CoquiSTT' || {refusal.rule}", refusal.message) for refusal in _REFUSALS
)
"""CEL rules of `training` with their messages."""

ENGINE_SCHEMA: Final[JsonDict] = {
    "anyOf": [
        {"properties": {"engine": {"enum": [TrainingEngine.NATIVE.value]}}},
        {"properties": {"augmentation": {"items": {"pattern": augmentation.pattern(COQUI_AUGMENTATIONS)}}}},
    ]
}
"""Part of the schema of `training`. CEL rules cannot see `augmentation`, whose type is a union."""


def refused_by_engine(training: "Training") -> list[str]:
    """Return a sentence for each setting that `training.engine` does not have."""
    if training.engine is not TrainingEngine.COQUI_STT:
        return []
    entries = () if isinstance(training.augmentation, str) else training.augmentation
    return [*(refusal.message for refusal in _REFUSALS if refusal.found(training)), *_refused_entries(entries)]


def _refused_entries(entries: Sequence[str]) -> Iterator[str]:
    """Yield a sentence for each entry of `augmentation` that is refused. The API server checks the names alone."""
    for entry in entries:
        parsed = augmentation.parse(entry)
        if parsed.name not in COQUI_AUGMENTATIONS:
            names = ", ".join(sorted(COQUI_AUGMENTATIONS))
            yield f"augmentation must not have {entry!r} with the engine CoquiSTT, which has {names}"
        elif parsed.probability.start != parsed.probability.end:
            yield f"augmentation must have a p without a range in {entry!r} with the engine CoquiSTT"
