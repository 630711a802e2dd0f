"""Events: the changes of the conditions, as `kubectl describe` shows them."""

from dataclasses import dataclass
from typing import Literal

from speechmodel_api.reasons import Severity, severity_of
from speechmodel_api.status import ConditionType, SpeechModelStatus

REPEATING = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: SpeechModelStatus, after: SpeechModelStatus) -> tuple[Event, ...]:
    """Return one Event for each condition whose reason or status changed, except Ready,
    Reconciling and Stalled, which repeat the others. Conditions that say the same give one Event."""
    old = {condition.type: (condition.reason, condition.status) for condition in before.conditions}
    found = []
    for condition in after.conditions:
        severity = severity_of(condition.reason)
        changed = old.get(condition.type) != (condition.reason, condition.status)
        if changed and condition.type not in REPEATING and severity is not Severity.ROUTINE:
            normal = severity is Severity.NORMAL
            found.append(Event("Normal" if normal else "Warning", condition.reason, condition.message))
    return tuple(dict.fromkeys(found))
