"""Events: the changes of the conditions, as `kubectl describe` shows them."""

from dataclasses import dataclass
from typing import Literal

from speechmodel_api.reasons import Severity, severity_of
from speechmodel_api.status import ConditionType, SpeechModelStatus, StageState

from speechmodel_plan.records import Records

REPEATING = {ConditionType.READY, ConditionType.RECONCILING, ConditionType.STALLED}


@dataclass(frozen=True)
class Event:
    """One line of `kubectl describe`."""

    type: Literal["Normal", "Warning"]
    reason: str
    message: str


def events(before: SpeechModelStatus, after: SpeechModelStatus) -> tuple[Event, ...]:
    """Return one Event for each condition whose reason or status changed, except Ready,
    Reconciling and Stalled, which repeat the others. Conditions that say the same give one Event.

    A condition that stays True while a wait (severity routine) ends gives no Event. Otherwise, an upgrade would post one for every
    model.
    """
    old = {condition.type: (condition.reason, condition.status) for condition in before.conditions}
    waiting = {
        kind for kind, (reason, status) in old.items() if status == "True" and severity_of(reason) is Severity.ROUTINE
    }
    found = []
    for condition in after.conditions:
        changed = old.get(condition.type) != (condition.reason, condition.status)
        wait_ended = condition.type in waiting and condition.status == "True"
        if changed and not wait_ended and condition.type not in REPEATING:
            found += _events(condition.reason, condition.message)
    return tuple(dict.fromkeys(found))


def failure_events(before: SpeechModelStatus, after: SpeechModelStatus) -> tuple[Event, ...]:
    """Return an Event after a step that failed, if a person must act and did not have to for this reason before.

    No other condition says so then.
    """
    old, new = (status.condition(ConditionType.STALLED) for status in (before, after))
    if new is None or (old is not None and old.reason == new.reason):
        return ()
    return tuple(_events(new.reason, new.message))


def ends(before: SpeechModelStatus, recorded: Records) -> tuple[Event, ...]:
    """Return an Event for each run that has ended without success since a status. Where another attempt follows at once, no
    condition ever has the reason.
    """
    found = []
    for record in recorded:
        old, trouble = before.stage(record.stage), record.trouble
        if trouble is None or record.state not in (StageState.WAITING, StageState.FAILED):
            continue
        same = old is not None and (old.key, old.attempt) == (record.key, record.attempt)
        if not same or (old is not None and old.state is StageState.RUNNING and old.reason != trouble.reason):
            found += _events(trouble.reason, trouble.message)
    return tuple(found)


def _events(reason: str, message: str) -> list[Event]:
    severity = severity_of(reason)
    kind: Literal["Normal", "Warning"] = "Normal" if severity is Severity.NORMAL else "Warning"
    return [] if severity is Severity.ROUTINE else [Event(kind, reason, message)]
