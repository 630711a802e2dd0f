"""The settings that were chosen for a lineage: a file in its folder."""

import logging
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.learning import LearningSettings, TrainingFacts, choose_settings

from speechmodel_training.dataset import TrainingSet
from speechmodel_training.errors import CheckpointsDamaged

log = logging.getLogger(__name__)

CHOSEN = "chosen.json"
"""File in the folder of a lineage with the settings that were chosen for it. They stay when a later
version would choose others, so that its checkpoints continue."""


def chosen_settings(
    path: Path,
    training_set: TrainingSet,
    *,
    layer_norm: bool,
    hidden_units: int | None = None,
    two_versions: bool = False,
) -> LearningSettings:
    """Return the settings that were chosen when the lineage began, or choose them if there are none.

    `hidden_units` is the width that is given, or that of a checkpoint that training begins with. `two_versions` is true if each clip may be
    trained in two versions. Raises CheckpointsDamaged.
    """
    if path.exists():
        try:
            return LearningSettings.model_validate_json(path.read_bytes())
        except ValidationError as error:
            raise CheckpointsDamaged(path.parent, [f"{path} is damaged: {error}"]) from error
    facts = TrainingFacts(
        clips=len(training_set.train),
        hours=training_set.train_seconds / 3600,
        speakers=training_set.speakers,
        labels=len(training_set.alphabet),
    )
    chosen = choose_settings(facts, layer_norm=layer_norm, two_versions=two_versions, hidden_units=hidden_units)
    log.info("for %s, the rule of docs/training.md chooses %s", facts, chosen)
    return chosen
