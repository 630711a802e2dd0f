"""Events: what changed in the conditions, as `kubectl describe` shows it."""

from dataclasses import dataclass
from typing import Literal

from speechmodel_api.status import ConditionType, SpeechModelStatus

QUIET = {"NotRequested", "NothingPublished", "RollingOut", "Deploying"}
WARNINGS = {
    "InvalidDataset",
    "UploadFailed",
    "OOMKilled",
    "Unschedulable",
    "DeadlineExceeded",
    "PodLost",
    "RunVanished",
}
"""Reasons that people should look at although the stage may be tried again."""


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: SpeechModelStatus, after: SpeechModelStatus) -> tuple[Event, ...]:
    """One for each condition but Ready whose reason changed; Ready repeats the others."""
    old = {condition.type: condition for condition in before.conditions}
    found = []
    failed = {stage.reason for stage in after.stages if stage.retry_at or stage.state == "Failed"}
    for condition in after.conditions:
        previous = old.get(condition.type)
        if (
            condition.type == ConditionType.READY
            or condition.reason in QUIET
            or condition.reason.startswith("WaitingFor")
        ):
            continue
        if previous is None or (previous.reason, previous.status) != (condition.reason, condition.status):
            warning = condition.reason in WARNINGS or condition.reason in failed
            found.append(Event("Warning" if warning else "Normal", condition.reason, condition.message))
    return tuple(found)
