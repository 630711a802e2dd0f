"""The plan: what an engine has to make true, computed from what it saw."""

from dataclasses import dataclass
from datetime import timedelta

from speechmodel_api.spec import DeletionPolicy, RetentionPolicy
from speechmodel_api.stages import PurgeInput, StageName
from speechmodel_api.status import ModelStatus, SpeechModelStatus, StageState

from speechmodel_plan import chain, names
from speechmodel_plan.events import Event, events
from speechmodel_plan.observed import ALIVE, STUCK, Observed, Run, RunState
from speechmodel_plan.pipeline import Pipeline, StageRun, plan_pipeline
from speechmodel_plan.status import compute_status, deleting_status

LOOK_AGAIN = timedelta(seconds=60)
"""While anything is on its way: watches may lose an event."""
RESYNC = timedelta(minutes=10)
"""While something is served: a watch that lost an event costs this long at most."""
PURGE_LIMIT = timedelta(seconds=120)
"""How long the Job that removes the published objects may take."""


@dataclass(frozen=True)
class ServingIntent:
    """What the Deployment and its Service are to be like."""

    model: ModelStatus
    replicas: int


@dataclass(frozen=True)
class ClaimIntent:
    """The workspace claim that the operator makes."""

    name: str
    owned: bool
    """Whether it goes when the SpeechModel goes."""


@dataclass(frozen=True)
class Plan:
    """What is to be made true, and said."""

    status: SpeechModelStatus
    finalizer: bool
    """Whether ours must be set."""
    start: StageRun | None = None
    stop: tuple[Run, ...] = ()
    discard: tuple[Run, ...] = ()
    claim: ClaimIntent | None = None
    """None: nothing is to be done about it."""
    serving: ServingIntent | None = None
    """None: no Deployment and no Service."""
    purge: PurgeInput | None = None
    events: tuple[Event, ...] = ()
    look_again: timedelta | None = None
    """None: nothing is on its way; an event or an edit wakes the loop."""


def make_plan(seen: Observed) -> Plan:
    """The one decision: a deletion, or one step towards the spec."""
    if seen.deleted_at is not None:
        return _deletion(seen)
    pipeline = plan_pipeline(seen)
    status = compute_status(seen, pipeline, _url(seen))
    return Plan(
        status=status,
        finalizer=seen.spec.publish.deletion_policy is DeletionPolicy.DELETE,
        start=pipeline.start,
        stop=pipeline.stop,
        discard=pipeline.discard,
        claim=_claim(seen, pipeline),
        serving=_serving(seen, status),
        events=events(seen.status, status),
        look_again=_look_again(seen, pipeline, status),
    )


def _deletion(seen: Observed) -> Plan:
    """Writers end first, then what they published is removed, then the finalizer goes; all of it bounded in time.

    Without our finalizer the garbage collector removes everything that is owned.
    """
    stop = tuple(run for run in seen.runs if run.state in ALIVE)
    if not seen.finalizer or seen.spec.publish.deletion_policy is DeletionPolicy.RETAIN or _never_published(seen):
        return Plan(status=seen.status, finalizer=False, stop=stop)
    address = f"s3://{seen.spec.publish.s3.bucket}/{chain.base(seen)}/"
    purge = seen.purge
    if purge and purge.finished and purge.failure is None:
        status = deleting_status(seen, "what was published is removed")
        return Plan(status=status, finalizer=False, stop=stop, events=_left_elsewhere(seen, address))
    late = purge is not None and purge.created_at is not None and seen.now - purge.created_at >= PURGE_LIMIT
    failure = purge.failure if purge else None
    if late or (failure and failure.final):
        why = f"{failure.reason}: {failure.message}" if failure else "it took longer than 120 s"
        left = Event("Warning", "PurgeFailed", f"{address} was not removed ({why}); remove it by hand")
        events = (left, *_left_elsewhere(seen, address))
        return Plan(status=deleting_status(seen, left.message), finalizer=False, stop=stop, events=events)
    writing = any(not _on_a_lost_node(run) for run in stop)
    message = "waits for running stages to end" if writing else f"removing {address}"
    return Plan(
        status=deleting_status(seen, message),
        finalizer=True,
        stop=stop,
        purge=None if writing else PurgeInput(target=chain.target(seen), base=chain.base(seen)),
        look_again=timedelta(seconds=2),
    )


def _on_a_lost_node(run: Run) -> bool:
    """Its pod is past its grace period: it is not waited for."""
    return run.state is RunState.ENDING and run.trouble is not None and run.trouble.reason == STUCK


def _never_published(seen: Observed) -> bool:
    """publish follows evaluate; a publish Job may have been made without being recorded."""
    return seen.status.stage(StageName.EVALUATE) is None and not seen.status.history


def _left_elsewhere(seen: Observed, address: str) -> tuple[Event, ...]:
    """Versions that were published before `publish.s3` was edited are not below the present address."""
    endpoint = seen.spec.publish.s3.endpoint
    elsewhere = [
        f"{model.uri} at {model.endpoint}" if model.endpoint else model.uri
        for model in seen.status.history
        if model.endpoint != endpoint or not model.uri.startswith(address)
    ]
    if not elsewhere:
        return ()
    message = f"published before publish.s3 was edited, and not removed: {', '.join(elsewhere)}"
    return (Event("Warning", "PurgeIncomplete", message),)


def _claim(seen: Observed, pipeline: Pipeline) -> ClaimIntent | None:
    storage = seen.spec.training.storage
    if storage.claim_name is not None or (seen.claim is None and pipeline.target is None):
        return None
    return ClaimIntent(names.claim_name(seen.identity.name), storage.retention_policy is RetentionPolicy.DELETE)


def _serving(seen: Observed, status: SpeechModelStatus) -> ServingIntent | None:
    if seen.spec.serving is None or status.model is None:
        return None
    return ServingIntent(status.model, seen.spec.serving.replicas)


def _url(seen: Observed) -> str | None:
    if seen.spec.serving is None:
        return None
    service = seen.spec.serving.service.name or seen.identity.name
    return f"http://{service}.{seen.identity.namespace}.svc"


def _look_again(seen: Observed, pipeline: Pipeline, status: SpeechModelStatus) -> timedelta | None:
    if pipeline.finding and pipeline.finding.until:
        return max(pipeline.finding.until - seen.now, timedelta(seconds=1))
    if pipeline.finding and pipeline.finding.final and not pipeline.stop:
        return None
    if pipeline.target is None:
        version = status.model.version if status.model else None
        settled = seen.server is not None and seen.server.settled and seen.server.version == version
        if pipeline.discard or not (settled or seen.spec.serving is None):
            return LOOK_AGAIN
        return RESYNC if settled else None
    entry = status.stage(pipeline.target)
    if pipeline.target is StageName.TRAIN and entry and entry.state is StageState.RUNNING:
        return seen.training_clock
    return LOOK_AGAIN if not seen.spec.suspend or pipeline.stop or seen.runs else None
