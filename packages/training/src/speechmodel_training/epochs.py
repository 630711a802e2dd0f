"""The finished epochs of a lineage, and training.csv, which lists them."""

import csv
import io
from collections.abc import Sequence

from speechmodel_api.base import Document


class EpochRecord(Document):
    """A finished epoch of the lineage; a row of training.csv."""

    epoch: int
    """1 for the first."""
    step: int
    """Optimizer steps of the lineage at the end of the epoch."""
    loss: float
    """Mean CTC loss per clip over the epoch, with dropout."""
    dev_loss: float | None
    """Mean CTC loss per dev clip at the end of the epoch; None without dev clips."""
    seconds: float
    """Time spent on training, interruptions left out."""
    clips_per_second: float
    learning_rate: float | None = None
    """Learning rate of its last step. None in a record from before it was recorded, as for dev_wer."""
    dev_wer: float | None = None
    """Word error rate on the dev clips at the end of the epoch, by greedy decoding."""


def as_csv(records: Sequence[EpochRecord]) -> str:
    """Return training.csv: a row for each epoch of the lineage, earlier runs included.

    Figures that an epoch lacks are empty, such as `dev_loss` without dev clips.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(EpochRecord.model_fields), lineterminator="\n")
    writer.writeheader()
    writer.writerows(record.model_dump() for record in records)
    return text.getvalue()
