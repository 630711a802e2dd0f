"""training.csv, the history that the trainer leaves beside its graph."""

import csv
import logging
from pathlib import Path

from speechmodel_api.published import EpochLoss
from speechmodel_api.workspace import HISTORY, Workspace

log = logging.getLogger(__name__)


def read_epochs(workspace: Workspace, train_key: str | None) -> tuple[EpochLoss, ...]:
    """Return the epochs in the training history, which is only for people and may be gone."""
    if train_key is None:
        return ()
    path: Path = workspace.export(train_key) / HISTORY
    try:
        with path.open(encoding="utf-8", newline="") as file:
            return tuple(
                EpochLoss.model_validate({name: value or None for name, value in row.items()})
                for row in csv.DictReader(file)
            )
    except (OSError, ValueError, csv.Error) as error:
        log.warning("the losses are not shown, because %s cannot be read: %s", path, error)
        return ()
