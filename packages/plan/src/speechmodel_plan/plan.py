"""The plan: a value that describes the changes an engine has to make, and the report that follows."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from datetime import timedelta

from speechmodel_api.schema import S3Target
from speechmodel_api.spec import DeletionPolicy
from speechmodel_api.stages.contract import StageInput, StageName
from speechmodel_api.stages.publish import PurgeInput
from speechmodel_api.status import CanaryState, ModelStatus, SpeechModelStatus, StageState, StageStatus
from speechmodel_api.training_spec import RetentionPolicy

from speechmodel_plan import names
from speechmodel_plan.canary import number_of_servers
from speechmodel_plan.conditions import NO_FAILURES, Failures
from speechmodel_plan.decision import Decision, Follow, Hold, Idle, Start, Stop, decide, settle
from speechmodel_plan.events import Event, ends, events
from speechmodel_plan.observed import ALIVE, Claim, Observed, Run, RunState, Trouble
from speechmodel_plan.promotion import Choice, choose
from speechmodel_plan.records import Records
from speechmodel_plan.runs import look_at_runs
from speechmodel_plan.stages.compare import published_at
from speechmodel_plan.status import compute_status
from speechmodel_plan.upgrades import upgrade_of_canary_only, upgrade_only

LOOK_AGAIN = timedelta(seconds=60)
"""Longest time between two steps while a stage is due, because a watch may lose an event."""
FRESH = timedelta(seconds=30)
"""Age up to which a run that has not begun is looked at more often, because no event tells that its pod was rejected."""
RESYNC = timedelta(minutes=10)
"""Longest time between two steps while a model is served, because a watch may lose an edit."""


@dataclass(frozen=True)
class StageRun:
    """A run to create."""

    name: str
    stage: StageName
    settings: str
    document: StageInput
    bucket: S3Target | None
    """Bucket whose credentials the program receives."""
    negatives: S3Target | None = None
    """Bucket of other speech, whose credentials it receives too."""
    workers: int = 1
    """Number of programs that run together. The result is that of the first."""
    restores: str | None = None
    """The published version whose model it takes from `bucket`, because its files in the workspace were lost."""


@dataclass(frozen=True)
class ServingIntent:
    """The server that the Deployment and its Service have to provide."""

    model: ModelStatus
    replicas: int
    upgrade_only: bool = False
    """True when another Deployment is wanted because of the operator alone. The engine may put that off."""


@dataclass(frozen=True)
class CanaryIntent:
    """The servers of a version that is tried, behind the same Service."""

    model: ModelStatus
    replicas: int
    upgrade_only: bool = False
    """True when whatever their Deployment lacks comes from the operator alone. The engine may put that off."""


@dataclass(frozen=True)
class ClaimIntent:
    """The workspace claim that the operator creates."""

    name: str
    owned: bool
    """True when it is deleted together with the SpeechModel."""


@dataclass(frozen=True)
class Done:
    """The part of a plan that an engine could not do."""

    failures: Failures = NO_FAILURES
    """Problems; the other parts of the plan were applied nevertheless."""
    claim: Claim | None = None
    """The workspace claim if it was created. A stage can start now, so the rest is left to another plan."""
    not_started: bool = False
    """True when the run in `Plan.start` could not be created, or a run in `Plan.stop` could not be ended."""
    held: Trouble | None = None
    """The reason why the run that was created does not run at once, such as a queue of Kueue."""
    put_off: bool = False
    """True when the server keeps its Deployment for now, because an upgrade of the operator replaces a limited number at a time."""
    purge_refused: Trouble | None = None
    """The reason why the purge Job cannot be created at all."""


@dataclass(frozen=True)
class Report:
    """The status and the Events to write once a plan was applied."""

    status: SpeechModelStatus
    events: tuple[Event, ...]
    finalizer: bool
    """False when our finalizer must be removed, after everything else is written."""
    failure: Trouble | None = None
    started: StageName | None = None
    """Stage whose run was created."""
    recorded: tuple[StageStatus, ...] = ()
    """The stages after a look at their runs. One that ended may be followed by another attempt in `status` already."""


@dataclass(frozen=True, kw_only=True)
class Plan(ABC):
    """The changes that an engine has to make in one step."""

    seen: Observed
    finalizer: bool
    """True when our finalizer must be set first."""
    stop: tuple[Run, ...] = ()
    """Runs to end; they save their work."""
    discard: tuple[Run, ...] = ()
    """Finished runs that are recorded and older than their stage's newest."""
    start: StageRun | None = None
    claim: ClaimIntent | None = None
    """None leaves the claim as it is."""
    serving: ServingIntent | None = None
    """None removes the Deployment and the Service, unless `keep_servers` is set."""
    keep_servers: bool = False
    """True leaves the servers as they are: no version is known that could replace the one that they may serve."""
    canary: CanaryIntent | None = None
    """None removes the Deployment of a canary."""
    purge: PurgeInput | None = None
    abandon_purge: bool = False
    """True ends the purge Job, which would otherwise run when nobody expects it any more."""
    deleting: bool = False
    look_again: timedelta | None = None
    """Longest time until the next step. With None, only an event or an edit causes one."""

    @abstractmethod
    def after(self, done: Done) -> Report:
        """Return what to report once the plan was applied."""


@dataclass(frozen=True, kw_only=True)
class StepPlan(Plan):
    """One step towards the spec."""

    records: Records
    """The records once the plan is applied."""
    recorded: Records
    """The records if the run cannot be created."""
    decision: Decision
    choice: Choice

    def after(self, done: Done) -> Report:
        """Return the status and the Events. A run that could not be created keeps its attempt."""
        records = self.recorded if done.not_started else self._held(done)
        status, failure = (
            compute_status(_as_served(self.seen, done), records, self.decision, self.choice, done.failures),
            done.failures.first,
        )
        posted = events(self.seen.status, status)
        reasons = {event.reason for event in posted}
        posted += tuple(event for event in ends(self.seen.status, self.recorded) if event.reason not in reasons)
        known = {condition.reason for condition in self.seen.status.conditions} | {event.reason for event in posted}
        if failure is not None and failure.reason not in known:
            posted = (*posted, Event("Warning", failure.reason, failure.message))
        started = self.start.stage if self.start and not done.not_started else None
        looked_at = tuple(record.to_status() for record in self.recorded)
        return Report(status, posted, self.finalizer, failure, started, looked_at)

    def _held(self, done: Done) -> Records:
        """Return the records once the plan is applied, with the reason why the new run does not run at once."""
        record = self.records.get(self.start.stage) if self.start else None
        return self.records.plus(replace(record, trouble=done.held)) if record and done.held else self.records


def plan_step(seen: Observed) -> Plan:
    """Return one step towards the spec."""
    recorded = look_at_runs(seen)
    decision = decide(seen, recorded)
    records = settle(seen, recorded, decision)
    stop = tuple(run for run in seen.runs if run.stoppable and not _goes_on(run, decision))
    discard = tuple(run for run in seen.runs if run.state not in ALIVE and not _kept(run, seen, records))
    choice, serving = choose(seen, decision), seen.spec.serving
    model, upgrade = choice.model, upgrade_only(seen, decision, choice)
    look_again = _look_again(seen, decision, choice, stopping=bool(stop), discarding=bool(discard), upgrade=upgrade)
    return StepPlan(
        seen=seen,
        finalizer=_finalizer(seen, records),
        stop=stop,
        discard=discard,
        start=_stage_run(seen, decision) if isinstance(decision, Start) else None,
        claim=_claim(seen, decision),
        serving=ServingIntent(model, serving.replicas, upgrade) if serving and model else None,
        keep_servers=serving is not None and model is None,
        canary=_canary(seen, choice),
        # the engine wakes one that waits, but a wait that only an event ends could last for ever
        look_again=look_again or (RESYNC if upgrade else None),
        records=records,
        recorded=recorded,
        decision=decision,
        choice=choice,
    )


def _finalizer(seen: Observed, records: Records) -> bool:
    """Return whether our finalizer is needed: with the policy Delete, from the time that evaluate is started.

    Nothing is published before, so a deletion need not remove anything. Later, the finalizer alone says that something may be
    published, because the status can be lost.
    """
    if seen.spec.publish.deletion_policy is not DeletionPolicy.DELETE:
        return False
    return seen.finalizer or bool(seen.status.history) or records.get(StageName.EVALUATE) is not None


def _kept(run: Run, seen: Observed, records: Records) -> bool:
    """Return whether an ended run stays: the newest of its stage does, while its claim does.

    The pods of an ended Job hold back the deletion of the claim that they mount. What is not in the status yet stays.
    """
    if all(record.run != run.name for record in records):
        return False
    recorded = seen.status.stage(run.stage)
    return (
        seen.claim is not None or recorded is None or recorded.job != run.name or recorded.state is StageState.RUNNING
    )


def _goes_on(run: Run, decision: Decision) -> bool:
    return isinstance(decision, Follow | Start) and run.stage is decision.stage.name


def _stage_run(seen: Observed, decision: Start) -> StageRun:
    record, stage, restores = decision.record, decision.stage, decision.restores
    bucket = published_at(seen.spec, restores) if restores else stage.bucket(seen.spec, seen.status.served)
    return StageRun(
        name=record.run or "",
        stage=record.stage,
        settings=record.settings,
        document=decision.document,
        bucket=bucket,
        negatives=stage.negatives_bucket(seen.spec),
        workers=stage.workers(seen.spec),
        restores=restores.version if restores else None,
    )


def _canary(seen: Observed, choice: Choice) -> CanaryIntent | None:
    """Return the servers of the canary, in proportion to those of the served version that there are now."""
    if choice.canary is None or choice.latest is None:
        return None
    served = seen.server.replicas if seen.server else 1
    replicas = number_of_servers(choice.canary.settings.percent, served)
    return CanaryIntent(choice.latest, replicas, upgrade_of_canary_only(seen, choice, replicas))


def _as_served(seen: Observed, done: Done) -> Observed:
    """Return what was seen. A server whose change is put off counts as settled if it is ready: the spec is in effect as before."""
    server = seen.server
    if server is None or not done.put_off:
        return seen
    ready = server.steady
    return replace(seen, server=replace(server, waits=True, settled=ready, complete=ready))


def _claim(seen: Observed, decision: Decision) -> ClaimIntent | None:
    storage = seen.spec.training.storage
    if storage.claim_name is not None or (seen.claim is None and isinstance(decision, Idle)):
        return None
    return ClaimIntent(names.claim_name(seen.owner.name), storage.retention_policy is RetentionPolicy.DELETE)


def _look_again(
    seen: Observed, decision: Decision, choice: Choice, *, stopping: bool, discarding: bool, upgrade: bool
) -> timedelta | None:
    match decision:
        case Hold(finding=finding) | Stop(finding=finding) if finding.until:
            return max(finding.until - seen.now, timedelta(seconds=1))
        case Hold(finding=finding) | Stop(finding=finding) if finding.final and not stopping:
            return None
        case Start(stage=stage) if stage.name is StageName.TRAIN:
            return seen.progress_interval
        case Follow(stage=stage) if stage.name is StageName.TRAIN and _executes(seen, stage.name):
            return seen.progress_interval
        case Follow(stage=stage) if _just_created(seen, stage.name):
            return seen.progress_interval
        case Idle() if choice.canary:  # a decision is carried out at once
            return seen.progress_interval if choice.canary.state is CanaryState.RUNNING else timedelta(seconds=1)
        case Idle():
            model = choice.model
            version = model.version if model else None
            settled = seen.server is not None and seen.server.settled and seen.server.version == version
            settled = settled or upgrade  # the engine wakes one that waits, and the Deployment one that begins
            if discarding or not (settled or seen.spec.serving is None or model is None):
                return LOOK_AGAIN
            return RESYNC if settled else None
    return LOOK_AGAIN if not seen.spec.suspend or stopping or seen.runs else None


def _executes(seen: Observed, stage: StageName) -> bool:
    """Return True while a run of a stage executes, so that it has progress to read. One that waits for a node or a queue does not."""
    return any(run.stage is stage and run.state is RunState.RUNNING for run in seen.runs)


def _just_created(seen: Observed, stage: StageName) -> bool:
    """Return True while a run of a stage may turn out to get no pod."""
    return any(
        run.stage is stage
        and run.state is RunState.PENDING
        and run.trouble is None
        and seen.now - run.created_at < FRESH
        for run in seen.runs
    )
