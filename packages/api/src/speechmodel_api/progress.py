"""Progress records: single lines of JSON that a stage program writes to stdout.

The operator reads them from the pod's log, and the local engine from a pipe.
"""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from speechmodel_api.base import Document
from speechmodel_api.learning import LearningSettings
from speechmodel_api.times import Time


class TrainProgress(Document):
    """Progress of the stage train."""

    record: Literal["train"] = "train"
    epoch: Annotated[int, Field(ge=0)]
    """Finished epochs of the lineage."""
    max_epochs: Annotated[int, Field(ge=1)]
    """Epochs to train in all."""
    settings: LearningSettings | None = None
    """Values that training uses. None from a trainer from before they were reported."""
    step: Annotated[int, Field(ge=0)]
    """Finished optimizer steps of the lineage."""
    fraction: Annotated[float, Field(ge=0, le=1)]
    """Finished fraction of the current epoch, by number of clips. With CoquiSTT, by the time of the last epoch."""
    loss: float | None = None
    """Mean CTC loss per training clip in the last finished epoch, or over the steps so far in the
    first."""
    dev_loss: float | None = None
    """Mean CTC loss per dev clip after the last finished epoch."""
    dev_wer: float | None = None
    """Word error rate on the dev clips after the last finished epoch, by greedy decoding."""
    clips_per_second: float | None = None
    """Training speed in the current epoch, or in the last one at the start of an epoch."""
    cpu_utilization: float | None = None
    """Share of the CPUs' time, from 0 to 1, that was used since the record before. None in the first."""
    gpu_utilization: float | None = None
    """Share of time, from 0 to 1, in which the GPU was busy when the record was written. None if it is unknown."""
    seconds_left: Annotated[float, Field(ge=0)] | None = None
    """Estimated time until the last epoch is finished, at the mean speed of this run, in seconds. None before its first step,
    and with CoquiSTT before its first epoch is finished."""
    warning: str | None = None
    """How this attempt differs from the spec, such as a GPU that is not used, or a batchSize above the number of clips."""
    time: Time
    """Time at which the record was written."""


class StepProgress(Document):
    """Progress of any other stage."""

    record: Literal["step"] = "step"
    done: Annotated[int, Field(ge=0)]
    """Number of finished units."""
    total: Annotated[int, Field(ge=0)]
    """Number of units in all."""
    unit: str
    """Name of the unit in the plural, such as clips or bytes."""
    time: Time
    """Time at which the record was written."""


Progress = Annotated[TrainProgress | StepProgress, Field(discriminator="record")]

_ADAPTER: TypeAdapter[TrainProgress | StepProgress] = TypeAdapter(Progress)


def parse_progress(line: str) -> TrainProgress | StepProgress | None:
    """Return the record in a line of a log, or None for any other line."""
    if not line.startswith("{"):
        return None
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


def last_progress(log: str) -> TrainProgress | StepProgress | None:
    """Return the newest record in the end of a log, whose first line may be incomplete."""
    for line in reversed(log.splitlines()):
        if record := parse_progress(line.strip()):
            return record
    return None
