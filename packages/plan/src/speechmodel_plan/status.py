"""The status, computed whole by one function; nothing edits it afterwards."""

from datetime import datetime, timedelta

from speechmodel_api.progress import TrainProgress
from speechmodel_api.reasons import Reason, Severity, severity_of
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import (
    CanaryState,
    CanaryStatus,
    ConditionType,
    Phase,
    ServingStatus,
    SpeechModelStatus,
    StageState,
    StorageStatus,
    TrainingStatus,
)

from speechmodel_plan.conditions import Failures, Pending, Verdict, judge, stamp, still_served
from speechmodel_plan.decision import Decision, Idle
from speechmodel_plan.messages import in_status
from speechmodel_plan.observed import ALIVE, Observed, Run, Trouble
from speechmodel_plan.outcome import volume_use
from speechmodel_plan.promotion import Choice, extended, rounded
from speechmodel_plan.records import Records, StageRecord
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.stages.train import TRAIN

PROGRESS_INTERVAL = timedelta(seconds=15)
"""Least time between two progress writes within an epoch."""
LONGEST_ESTIMATE = timedelta(days=3650)
"""Longest time until the end of training that the status shows. The first step may be many times slower than the others."""


def compute_status(
    seen: Observed, records: Records, decision: Decision, choice: Choice, failures: Failures
) -> SpeechModelStatus:
    """Return the whole status. `failures` of the engine to apply the plan are reasons too."""
    before, serving = seen.status, _serving(seen)
    served = serving.version if serving else None
    in_effect = before.in_effect and before.observed_generation == seen.generation
    judged = judge(
        decision, records, seen.claim, seen.spec.serving, seen.server, choice, served, failures, in_effect=in_effect
    )
    training = _training(seen, records.get(StageName.TRAIN), decision.done)
    return SpeechModelStatus(
        observed_generation=seen.generation,
        phase=_phase(decision, records, judged.pending, suspend=seen.spec.suspend),
        progress=_epochs(training, seen.spec.training.max_epochs),
        conditions=stamp(judged.verdicts, before.conditions, seen.generation, seen.now),
        workers_ready=_workers_ready(seen, records.get(StageName.TRAIN)),
        training=training,
        storage=_storage(seen),
        stages=tuple(record.to_status() for record in records),
        latest_version=choice.latest.version if choice.latest else None,
        model=choice.model,
        serving=serving,
        canary=choice.canary or _ended_canary(seen),
        url=_url(seen),
        history=extended(before.history, choice),
    )


def failed_status(before: SpeechModelStatus, generation: int, failure: Trouble, now: datetime) -> SpeechModelStatus:
    """Return the status after a step that failed unexpectedly: as it was, with the failure as Reconciling or Stalled.

    Ready stays true while a version is served: the failure does not affect it. A failure that waits for a person is the answer to this
    generation, so the status has observed it. One that may pass is not.
    """
    pending = Pending(failure.reason, failure.message, stalled=severity_of(failure.reason) is Severity.ERROR)
    found = dict([pending.verdict])
    ready, served = before.condition(ConditionType.READY), before.serving.version if before.serving else None
    if ready is None or ready.status != "True" or (pending.stalled and served is None):
        found[ConditionType.READY] = Verdict(False, failure.reason, failure.message)
    elif pending.stalled and served is not None:
        found[ConditionType.READY] = still_served(served, pending)
    replaced = {*found, ConditionType.RECONCILING, ConditionType.STALLED}
    others = tuple(condition for condition in before.conditions if condition.type not in replaced)
    changes: dict[str, object] = {"conditions": (*others, *stamp(found, before.conditions, generation, now))}
    if pending.stalled:
        phase = before.phase if before.phase is Phase.DELETING else Phase.FAILED
        changes |= {"observed_generation": generation, "phase": phase}
    return before.model_copy(update=changes)


def decides_the_same(before: SpeechModelStatus, after: SpeechModelStatus) -> bool:
    """Return True when two statuses of one spec record the same runs, versions and canary. Their reasons and messages may differ."""
    return _decided(before) == _decided(after)


def _decided(status: SpeechModelStatus) -> tuple[object, ...]:
    """Return the part of a status that later steps decide by."""
    stages = [stage.model_copy(update={"reason": None, "message": None}) for stage in status.stages]
    served = status.model, status.history, status.canary, status.serving is None
    return status.observed_generation, stages, status.latest_version, *served


def deleting_status(seen: Observed, message: str) -> SpeechModelStatus:
    """Return the status of a SpeechModel that is being deleted."""
    ready = {ConditionType.READY: Verdict(False, Reason.DELETING, message)}
    conditions = stamp(ready, seen.status.conditions, seen.generation, seen.now)
    return seen.status.model_copy(update={"phase": Phase.DELETING, "conditions": conditions})


def _training(seen: Observed, record: StageRecord | None, done: Outputs) -> TrainingStatus | None:
    """Return the newest progress, or the old one while the new one adds little."""
    recorded = seen.status.stage(StageName.TRAIN)
    before = seen.status.training if record and recorded and record.key == recorded.key else None
    if record is None:
        return before
    if TRAIN in done and record.state is StageState.SUCCEEDED:
        trained = done.of(TRAIN)
        return TrainingStatus(
            epoch=trained.epoch,
            loss=rounded(trained.loss),
            dev_loss=rounded(trained.dev_loss),
            dev_wer=rounded(trained.dev_wer),
            clips_per_second=before.clips_per_second if before else None,
            pod_seconds=record.pod_seconds if record.pod_seconds is not None else before and before.pod_seconds,
            settings=trained.settings,
            progress_time=record.finished_at,
            warning=before.warning if before else None,
        )
    run = seen.run(record.run)
    newest = _newest(run, before)
    goes_on = newest is not before or (recorded and recorded.job == record.run)
    if newest is None or (record.state is StageState.RUNNING and goes_on):
        return newest
    at_work = ("cpu_utilization", "gpu_utilization", "estimated_completion_time")
    return newest.model_copy(update=dict.fromkeys(at_work))


def _newest(run: Run | None, before: TrainingStatus | None) -> TrainingStatus | None:
    if run is None or not isinstance(run.progress, TrainProgress):
        return before
    at = before.progress_time if before and before.epoch == run.progress.epoch else None
    # both times are those of trainers, whose clocks differ from ours, and from each other's after a training has moved
    recent = at is not None and abs(run.progress.time - at) < PROGRESS_INTERVAL
    return before if recent else _from_progress(run.progress)


def _workers_ready(seen: Observed, record: StageRecord | None) -> str | None:
    """Return the workers that execute and all of them, such as 3/4, while several train."""
    run = seen.run(record.run) if record else None
    return f"{run.workers_ready}/{run.workers}" if run and run.workers > 1 and run.state in ALIVE else None


def _storage(seen: Observed) -> StorageStatus | None:
    """Return the use of the volume that the newest run reports, or the one that is known."""
    newest = sorted(seen.runs, key=lambda run: run.finished_at or run.created_at, reverse=True)
    use = next((use for run in newest if (use := volume_use(run))), None)
    return StorageStatus(**use.model_dump()) if use else seen.status.storage


def _epochs(training: TrainingStatus | None, given: int | None) -> str | None:
    """Return the finished epochs and all of them, such as 12/75."""
    if training is None:
        return None
    chosen = training.settings.max_epochs if training.settings else None
    total = chosen if given is None else given
    return str(training.epoch) if total is None else f"{training.epoch}/{total}"


def _from_progress(progress: TrainProgress) -> TrainingStatus:
    return TrainingStatus(
        epoch=progress.epoch,
        loss=rounded(progress.loss),
        dev_loss=rounded(progress.dev_loss),
        dev_wer=rounded(progress.dev_wer),
        clips_per_second=rounded(progress.clips_per_second),
        cpu_utilization=rounded(progress.cpu_utilization),
        gpu_utilization=rounded(progress.gpu_utilization),
        settings=progress.settings,
        progress_time=progress.time,
        estimated_completion_time=_completion(progress),
        warning=in_status(progress.warning) if progress.warning else None,
    )


def _completion(progress: TrainProgress) -> datetime | None:
    left = progress.seconds_left
    if left is None or left > LONGEST_ESTIMATE.total_seconds():
        return None
    return progress.time + timedelta(seconds=left)


def _serving(seen: Observed) -> ServingStatus | None:
    server = seen.server
    if server is None:
        return None
    before = seen.status.serving.version if seen.status.serving else None
    return ServingStatus(version=server.version if server.settled else before, ready_replicas=server.ready_replicas)


def _ended_canary(seen: Observed) -> CanaryStatus | None:
    """Return the canary that was decided last. One that an edit or a pin ended is forgotten."""
    canary = seen.status.canary
    wanted = seen.spec.serving is not None and seen.spec.serving.canary is not None
    return canary if canary and wanted and canary.state is not CanaryState.RUNNING else None


def _url(seen: Observed) -> str | None:
    if seen.spec.serving is None or seen.server is None:
        return None
    return f"http://{seen.spec.serving.service.name or seen.owner.name}.{seen.owner.namespace}.svc"


def _phase(decision: Decision, records: Records, pending: Pending | None, *, suspend: bool) -> Phase:
    if pending is None:
        return Phase.READY
    if suspend and not isinstance(decision, Idle):
        return Phase.SUSPENDED
    if pending.stalled and not pending.goes_on:
        return Phase.FAILED
    if isinstance(decision, Idle):
        return Phase.DEPLOYING
    record = records.get(decision.stage.name)
    if record is None:
        return Phase.PENDING
    return Phase.FAILED if record.state is StageState.FAILED else Phase(decision.stage.running.value)
