"""Progress records: single lines of JSON on a stage's stdout, read from the pod's log by the operator and from the pipe by
the local engine."""

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter, ValidationError

from speechmodel_api.base import Document
from speechmodel_api.times import Time


class TrainProgress(Document):
    """Where training stands."""

    record: Literal["train"] = "train"
    epoch: Annotated[int, Field(ge=0)]
    """Finished epochs of the lineage."""
    max_epochs: Annotated[int, Field(ge=1)]
    step: Annotated[int, Field(ge=0)]
    """Optimizer steps of the lineage."""
    fraction: Annotated[float, Field(ge=0, le=1)]
    """Of the running epoch, by clips."""
    loss: float | None = None
    """Mean CTC loss per clip: of the last finished epoch; before the first one is finished, of the steps so far."""
    dev_loss: float | None = None
    clips_per_second: float | None = None
    time: Time
    """When the record was written."""


class StepProgress(Document):
    """Where any other stage stands."""

    record: Literal["step"] = "step"
    done: Annotated[int, Field(ge=0)]
    total: Annotated[int, Field(ge=0)]
    unit: str
    """clips, bytes, ..."""
    time: Time
    """When the record was written."""


Progress = Annotated[TrainProgress | StepProgress, Field(discriminator="record")]

_ADAPTER: TypeAdapter[TrainProgress | StepProgress] = TypeAdapter(Progress)


def parse_progress(line: str) -> TrainProgress | StepProgress | None:
    """The record in a line of log, or None for a line that is something else."""
    if not line.startswith("{"):
        return None
    try:
        return _ADAPTER.validate_json(line)
    except ValidationError:
        return None


def last_progress(log: str) -> TrainProgress | StepProgress | None:
    """The newest record in a piece of log whose first line may be cut."""
    for line in reversed(log.splitlines()):
        if record := parse_progress(line.strip()):
            return record
    return None
