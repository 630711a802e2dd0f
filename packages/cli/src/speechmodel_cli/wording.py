"""Stages, sizes and ages in words."""

from datetime import datetime, timedelta

from rich import filesize
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.status import StageStatus
from speechmodel_plan.stages import stage_named


def outcome(entry: StageStatus) -> str:
    """Return the summary of a stage that succeeded."""
    stage = stage_named(entry.name)
    output = stage.parse(entry.output)
    return stage.summary(output) if output is not None else ""


def progress(record: TrainProgress | StepProgress) -> str:
    """Return the progress of a running stage."""
    if isinstance(record, TrainProgress):
        return f"epoch {record.epoch}/{record.max_epochs}  {_losses(record)}"
    if record.unit == "bytes":
        return f"{filesize.decimal(record.done)} of {filesize.decimal(record.total)}"
    return f"{record.done}/{record.total} {record.unit}"


def age(since: datetime, now: datetime) -> str:
    """Return an age as kubectl shows it: in at most two units, and in one when it is long."""
    seconds = max(0, int((now - since) / timedelta(seconds=1)))
    minutes, hours, days = seconds // 60, seconds // 3600, seconds // 86400
    if seconds < 120:
        return f"{seconds}s"
    if minutes < 10:
        return f"{minutes}m{seconds % 60}s" if seconds % 60 else f"{minutes}m"
    if hours < 3:
        return f"{minutes}m"
    if hours < 8:
        return f"{hours}h{minutes % 60}m" if minutes % 60 else f"{hours}h"
    if hours < 48:
        return f"{hours}h"
    if days < 8:
        return f"{days}d{hours % 24}h" if hours % 24 else f"{days}d"
    return f"{days}d" if days < 730 else f"{days // 365}y{days % 365}d"


def _losses(record: TrainProgress) -> str:
    known = (("loss", record.loss), ("dev", record.dev_loss))
    return "  ".join(f"{name} {value:.4g}" for name, value in known if value is not None)
