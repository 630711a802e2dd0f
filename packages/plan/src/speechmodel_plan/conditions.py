"""The conditions. Each has a reason and a message that says what to do.

Six have positive polarity: True is the desired state. Reconciling and Stalled are those of kstatus: one of them is
present while the spec is not in effect, and none otherwise.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from itertools import takewhile
from typing import Literal

from speechmodel_api.reasons import Reason, Severity, severity_of
from speechmodel_api.spec import Serving
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import Condition, ConditionType, ModelStatus, StageState

from speechmodel_plan.decision import Decision, Follow, Hold, Idle, Start, Stop
from speechmodel_plan.messages import in_status
from speechmodel_plan.observed import Claim, Server, Trouble
from speechmodel_plan.promotion import Choice
from speechmodel_plan.records import Records
from speechmodel_plan.stages import STAGES
from speechmodel_plan.stages.compare import COMPARE
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE

WITH_FILES = frozenset(name for stage in STAGES for name in stage.reads)
"""Stages whose files in the workspace other stages read."""


@dataclass(frozen=True)
class Failures:
    """The parts of a plan that an engine could not do."""

    stages: Trouble | None = None
    """The claim, or the run of the stage that is due."""
    serving: Trouble | None = None
    """The Deployment. The servers that it has go on."""
    service: Trouble | None = None
    """The Service, if it does not exist yet. Nothing answers under the name that the spec asks for."""
    beside: Trouble | None = None
    """An object beside them, such as an Ingress. What is served is served without it."""

    @property
    def first(self) -> Trouble | None:
        """The first problem."""
        return self.stages or self.serving or self.service or self.beside


NO_FAILURES = Failures()


@dataclass(frozen=True)
class Verdict:
    """A condition without its bookkeeping."""

    holds: bool
    reason: str
    message: str


@dataclass(frozen=True)
class Pending:
    """The reason why the spec is not in effect."""

    reason: str
    message: str
    stalled: bool
    """True when a person must act. Otherwise it is expected to pass."""
    goes_on: bool = False
    """True when a stage runs meanwhile."""

    @property
    def verdict(self) -> tuple[ConditionType, Verdict]:
        """The condition of kstatus."""
        kind = ConditionType.STALLED if self.stalled else ConditionType.RECONCILING
        return kind, Verdict(True, self.reason, self.message)


Verdicts = dict[ConditionType, Verdict]


@dataclass(frozen=True)
class Judged:
    """The verdicts, and the reason why the spec is not in effect, None once it is."""

    verdicts: Verdicts
    pending: Pending | None


def judge(
    decision: Decision,
    records: Records,
    claim: Claim | None,
    serving: Serving | None,
    server: Server | None,
    choice: Choice,
    before: str | None,
    failures: Failures,
    *,
    in_effect: bool,
) -> Judged:
    """Return the verdict on every condition. `before` is the version that every replica served last. `in_effect` says that the
    last status was about this spec, and the spec was in effect.
    """
    of_stages = dict.fromkeys(stage.condition for stage in STAGES if stage is not COMPARE)
    found = {condition: _stages(condition, decision, records, claim) for condition in of_stages}
    rolled_out, served = _rolled_out(serving, server, choice.model, before), _served(serving, server, choice.model)
    if (refused := failures.serving or failures.service) is not None:
        rolled_out = Verdict(False, refused.reason, refused.message)
    found[ConditionType.PROMOTED] = _promoted(decision, records, choice, rolled_out)
    found[ConditionType.SERVING] = served
    pending = _pending(decision, records, serving, choice, rolled_out, served, _incomplete(server, in_effect=in_effect))
    if (failure := failures.first) is not None:
        verdict = Verdict(False, failure.reason, failure.message)
        pending = _because(verdict)
        if failures.stages is not None and not isinstance(decision, Idle):
            found[decision.stage.condition] = verdict
    current = choice.model.version if choice.model and rolled_out.holds else before
    usable = None if failures.service else current
    found[ConditionType.READY] = _ready(serving, server, choice, pending, usable)
    return Judged(found | dict([pending.verdict] if pending else []), pending)


def stamp(verdicts: Verdicts, before: Iterable[Condition], generation: int, now: datetime) -> tuple[Condition, ...]:
    """Return verdicts as conditions. lastTransitionTime changes only where the status changed."""
    old = {condition.type: condition for condition in before}
    stamped = []
    for name, verdict in verdicts.items():
        status: Literal["True", "False"] = "True" if verdict.holds else "False"
        previous = old.get(name.value)
        unchanged = previous is not None and previous.status == status
        condition = Condition(
            type=name.value,
            status=status,
            observed_generation=generation,
            last_transition_time=previous.last_transition_time if previous and unchanged else now,
            reason=verdict.reason,
            message=in_status(verdict.message),
        )
        stamped.append(previous if previous is not None and condition == previous else condition)
    return tuple(stamped)


def _stages(condition: ConditionType, decision: Decision, records: Records, claim: Claim | None) -> Verdict:
    """A stage condition holds once every stage that belongs to it has succeeded for the current spec."""
    group = [stage for stage in STAGES if stage.condition is condition]
    if not isinstance(decision, Idle):
        finished = list(takewhile(lambda stage: stage is not decision.stage, STAGES))
        if decision.stage in group:
            return _unfinished(decision, records)
        if group[-1] not in finished:
            return Verdict(False, decision.stage.awaited, f"waiting for {decision.stage.name.value}")
    outputs = {stage: decision.done.of(stage) for stage in group if stage in decision.done}
    summaries = [stage.summary(output) for stage, output in reversed(outputs.items())]
    if (lost := _lost_files(group[-1].name, records, claim)) is not None:
        summaries.append(f"{lost}: an edit that needs them runs the stage again")
    return Verdict(True, group[-1].succeeded(outputs[group[-1]]), "; ".join(summaries))


def _lost_files(stage: StageName, records: Records, claim: Claim | None) -> str | None:
    """Return what happened to the files of a stage, None if they are there. A later stage that misses them clears the claim."""
    record = records.get(stage)
    if stage not in WITH_FILES or record is None or record.claim_uid == (claim.uid if claim else None):
        return None
    return (
        "its files were on a workspace claim that is gone"
        if record.claim_uid
        else "its files in the workspace are lost"
    )


def _unfinished(decision: Start | Follow | Stop | Hold, records: Records) -> Verdict:
    """Return why the stage that is due has not succeeded."""
    if isinstance(decision, Hold | Stop):
        return Verdict(False, decision.finding.reason, decision.finding.message)
    stage = decision.stage
    record = records.get(stage.name)
    if record is not None and record.state is StageState.RUNNING and record.trouble is not None:
        return Verdict(False, record.trouble.reason, record.trouble.message)
    job = f" in Job {record.run}" if record and record.run else ""
    return Verdict(False, stage.running, f"{stage.name.value} is running{job}")


def _promoted(decision: Decision, records: Records, choice: Choice, rolled_out: Verdict) -> Verdict:
    """Promoted holds once every replica serves the newest version."""
    if not isinstance(decision, Idle) and decision.stage is COMPARE:
        return _unfinished(decision, records)
    if choice.withheld is not None:
        return Verdict(False, choice.withheld.reason, choice.withheld.message)
    return rolled_out


def _rolled_out(
    serving: Serving | None, server: Server | None, model: ModelStatus | None, before: str | None
) -> Verdict:
    """Return whether the version is promoted. Once it is, a pod that is replaced or added takes nothing from that."""
    if serving is None:
        return Verdict(False, Reason.NOT_REQUESTED, "spec.serving is not set, so nothing is served")
    if model is None:
        return Verdict(False, Reason.NOTHING_PUBLISHED, "no version is published yet")
    promoted_before = server is not None and server.complete and before == model.version
    if server and server.version == model.version and (server.settled or promoted_before):
        return Verdict(True, Reason.PROMOTED, f"every replica serves version {model.version}")
    if server and server.trouble and server.version == model.version:
        return Verdict(False, server.trouble.reason, server.trouble.message)
    return Verdict(False, Reason.ROLLING_OUT, f"version {model.version} is being rolled out")


def _served(serving: Serving | None, server: Server | None, model: ModelStatus | None) -> Verdict:
    if serving is None:
        return Verdict(False, Reason.NOT_REQUESTED, "spec.serving is not set, so nothing is served")
    if server is None:
        reason = Reason.NOTHING_PUBLISHED if model is None else Reason.DEPLOYING
        return Verdict(False, reason, "no server is running yet")
    if server.ready_replicas > 0:
        ready = f"{server.ready_replicas} of {server.replicas} replicas are ready"
        if server.waits:
            message = f"{ready}; an upgrade of the operator will replace them when it is their turn"
            return Verdict(True, Reason.WAITING_FOR_UPGRADE, message)
        return Verdict(True, Reason.SERVING, ready)
    if server.replicas == 0:
        return Verdict(False, Reason.SCALED_TO_ZERO, "the Deployment has 0 replicas")
    if server.trouble:
        return Verdict(False, server.trouble.reason, server.trouble.message)
    return Verdict(False, Reason.DEPLOYING, f"0 of {server.replicas} replicas are ready")


def _incomplete(server: Server | None, *, in_effect: bool) -> Verdict | None:
    """Return why replicas are missing or not ready. While the spec is in effect, one that is merely being replaced is no reason."""
    if server is None or server.settled:
        return None
    if server.trouble:
        return Verdict(False, server.trouble.reason, server.trouble.message)
    if in_effect:
        return None
    return Verdict(False, Reason.DEPLOYING, f"{server.ready_replicas} of {server.replicas} replicas are ready")


def _pending(
    decision: Decision,
    records: Records,
    serving: Serving | None,
    choice: Choice,
    rolled_out: Verdict,
    served: Verdict,
    incomplete: Verdict | None,
) -> Pending | None:
    """Return why the spec is not in effect yet, or None once it is."""
    if not isinstance(decision, Idle):
        if (unusable := _unusable_words(decision)) is not None:
            return Pending(unusable.reason, unusable.message, stalled=True, goes_on=True)
        final = isinstance(decision, Hold) and decision.finding.final
        return _because(_unfinished(decision, records), final=final)
    if choice.withheld is not None and choice.withheld.reason != Reason.PROMOTION_HELD:
        return _because(Verdict(False, choice.withheld.reason, choice.withheld.message))
    if serving is None:
        return None
    if not rolled_out.holds:
        return _because(rolled_out)
    if serving.least_replicas > 0 and not served.holds:
        return _because(served)
    return _because(incomplete) if incomplete else None


def _unusable_words(decision: Start | Follow | Stop | Hold) -> Verdict | None:
    """Return the problem with the words of the decoder while a stage before evaluate goes on, which they do not change."""
    if isinstance(decision, Hold | Stop) or decision.stage is EVALUATE or PREPARE not in decision.done:
        return None
    if (found := decision.done.of(PREPARE).unusable_words) is None:
        return None
    message = f"{found.message}; the stage {decision.stage.name.value} continues, and a correction trains nothing again"
    return Verdict(False, found.reason, message)


def _because(verdict: Verdict, *, final: bool = False) -> Pending:
    return Pending(verdict.reason, verdict.message, stalled=final or severity_of(verdict.reason) is Severity.ERROR)


def _ready(
    serving: Serving | None, server: Server | None, choice: Choice, pending: Pending | None, before: str | None
) -> Verdict:
    """Ready holds while a version is served, or is published if serving is not requested.

    `before` is the version that every replica served last. It keeps Ready true while a new one is made and rolled out.
    """
    named = choice.model or choice.latest
    version = named.version if named else ""
    if pending is None:
        if serving is None:
            return Verdict(True, Reason.PUBLISHED, f"version {version} is published; serving is not requested")
        return Verdict(True, Reason.READY, f"version {version} is trained, published and served")
    if serving is not None and server is not None and server.ready_replicas > 0 and before is not None:
        return still_served(before, pending)
    return Verdict(False, pending.reason, pending.message)


def still_served(version: str, pending: Pending) -> Verdict:
    """Return Ready while a version is served and the spec is not in effect."""
    return Verdict(True, Reason.READY, f"version {version} is served; the spec is not in effect ({pending.reason})")
