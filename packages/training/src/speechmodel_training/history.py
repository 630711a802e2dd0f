"""training.csv: the loss of every epoch, for people and plots."""

import csv
from collections.abc import Iterable
from pathlib import Path

from speechmodel_training.state import EpochRecord


def write_history(path: Path, history: Iterable[EpochRecord]) -> None:
    """Write one row per epoch of the lineage, earlier runs included. `dev_loss` is empty without
    dev clips.
    """
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(EpochRecord.model_fields), lineterminator="\n")
        writer.writeheader()
        writer.writerows(record.model_dump() for record in history)
