"""The settings of training that depend on the dataset, and the rule that chooses those not given."""

import math
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.training_spec import Hyperparameters, ScheduleType

MANY_LABELS = 128
"""Alphabets with more labels, such as those of Chinese and Korean, get a wider network."""
FEW_SPEAKERS = 5
"""With fewer known speakers, or none known, dropout is higher."""
FEWEST_STEPS, FEWEST_NORMED_STEPS = 5000, 800
"""Optimizer steps that a training makes at least, without layer norm and with it."""
FEWEST_EPOCHS, MOST_EPOCHS = 20, 300
CONSISTENCY = 0.2
"""Weight of the difference between two versions of a clip, that of Yao et al. (CR-CTC, 2024)."""


@dataclass(frozen=True)
class TrainingFacts:
    """The facts about a dataset that the settings depend on."""

    clips: int
    """Training clips, negatives included."""
    hours: float
    """Length of the training clips together."""
    speakers: int | None
    """Known speakers. 0 when nothing names them, None for datasets from before they were counted."""
    labels: int
    """Labels of the alphabet."""

    def __str__(self) -> str:
        speakers = "unknown" if self.speakers is None else self.speakers
        return f"{self.clips} clips, {self.hours:.2f} hours, {speakers} speakers and {self.labels} labels"


class LearningSettings(ApiModel):
    """Values that training uses, whether they were given or chosen from the dataset."""

    hidden_units: int
    """Number of units in each dense layer and in the LSTM."""
    layer_norm: bool = False
    """True if the outputs of the dense layers are normalised."""
    batch_size: int
    """Number of clips in each optimizer step."""
    gradient_clip_norm: float | None = None
    """Largest norm of the gradients. Absent if they are used as they are."""
    consistency: float | None = None
    """Weight of the difference between two versions of each clip. Absent or 0 if there is one version."""
    learning_rate: float
    """Largest learning rate of the Adam optimizer."""
    dropout: float
    """Fraction of activations that are dropped after the dense layers."""
    max_epochs: int
    """Number of epochs in all."""
    schedule: Annotated[ScheduleType, Field(json_schema_extra={"enum": ["Constant", "Cosine"]})]
    """Course of the learning rate: Constant or Cosine."""

    def with_given(
        self, hyperparameters: Hyperparameters, max_epochs: int | None, schedule: ScheduleType
    ) -> "LearningSettings":
        """Return the settings with the given values in place of the chosen ones. A chosen consistency belongs to the chosen
        batch size.
        """
        given = {
            "hidden_units": hyperparameters.hidden_units,
            "layer_norm": hyperparameters.layer_norm,
            "gradient_clip_norm": hyperparameters.gradient_clip_norm,
            "consistency": hyperparameters.consistency,
            "batch_size": hyperparameters.batch_size,
            "learning_rate": hyperparameters.learning_rate,
            "dropout": hyperparameters.dropout,
            "max_epochs": max_epochs,
            "schedule": None if schedule is ScheduleType.AUTO else schedule,
        }
        changes: dict[str, object] = {name: value for name, value in given.items() if value is not None}
        if hyperparameters.batch_size is not None:
            changes["consistency"] = hyperparameters.consistency
        return self.model_copy(update=changes)

    def __str__(self) -> str:
        norm = " with layer norm" if self.layer_norm else ""
        consistency = f"consistency {self.consistency:g}, " if self.consistency else ""
        return (
            f"{self.hidden_units} units{norm}, batches of {self.batch_size}, learning rate {self.learning_rate:g} "
            f"({self.schedule}), dropout {self.dropout:g}, {consistency}{self.max_epochs} epochs"
        )


@dataclass(frozen=True)
class _Size:
    """The settings for datasets of one size."""

    below_hours: float
    hidden_units: int
    batch_size: int
    normed_rate: float
    """Learning rate with layer norm."""
    plain_rate: float
    """Learning rate without."""
    dropout: float


_SIZES = (
    _Size(0.5, 192, 16, 0.005, 0.0015, 0.05),
    _Size(2, 256, 16, 0.004, 0.001, 0.1),
    _Size(10, 512, 32, 0.003, 0.001, 0.15),
    _Size(100, 1024, 32, 0.002, 0.0007, 0.2),
    _Size(math.inf, 2048, 64, 0.001, 0.0005, 0.25),
)
_CLIP_NORM = 10.0
"""Largest norm of the gradients with layer norm."""


def choose_settings(
    facts: TrainingFacts, *, layer_norm: bool = False, two_versions: bool = False, hidden_units: int | None = None
) -> LearningSettings:
    """Return the settings for a dataset and a network with or without layer norm, of a width that is given or chosen.

    A given width has at most the learning rate of the last row that is not wider. With `two_versions`, a network without layer
    norm gets half of the clips in each step, each in two versions, and half of the epochs, so that training takes the same time.
    docs/training.md has the rule as a table, and which of its figures were measured.
    """
    versions = 2 if two_versions and not layer_norm else 1
    place = next(place for place, size in enumerate(_SIZES) if facts.hours < size.below_hours)
    size = _SIZES[place]
    wider = _SIZES[min(place + 1, len(_SIZES) - 1)] if facts.labels > MANY_LABELS else size
    few_voices = facts.speakers is not None and facts.speakers < FEW_SPEAKERS
    no_wider = (each for each in _SIZES if each.hidden_units <= (hidden_units or 0))
    rates = max((wider, *no_wider), key=lambda each: each.hidden_units)
    batch_size = size.batch_size // versions
    steps = math.ceil(facts.clips / batch_size)
    fewest_steps = FEWEST_NORMED_STEPS if layer_norm else FEWEST_STEPS
    return LearningSettings(
        hidden_units=hidden_units or wider.hidden_units,
        layer_norm=layer_norm,
        batch_size=batch_size,
        gradient_clip_norm=_CLIP_NORM if layer_norm else None,
        consistency=CONSISTENCY if versions > 1 else None,
        learning_rate=rates.normed_rate if layer_norm else rates.plain_rate,
        dropout=round(size.dropout + 0.05, 2) if few_voices else size.dropout,
        max_epochs=min(max(math.ceil(fewest_steps / steps), FEWEST_EPOCHS // versions), MOST_EPOCHS // versions),
        schedule=ScheduleType.COSINE,
    )
