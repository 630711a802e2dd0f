"""The status, computed whole by one function: nothing edits it in place."""

from datetime import datetime, timedelta

from speechmodel_api.progress import TrainProgress
from speechmodel_api.stages import StageName
from speechmodel_api.status import (
    HISTORY_LENGTH,
    ConditionType,
    ModelStatus,
    Phase,
    ServingStatus,
    SpeechModelStatus,
    StageState,
    StageStatus,
    TrainingStatus,
)
from speechmodel_api.times import whole_seconds

from speechmodel_plan.conditions import DOING, LONGEST_MESSAGE, Verdict, conditions, stamp
from speechmodel_plan.observed import Observed
from speechmodel_plan.pipeline import Pipeline, StageRun

PROGRESS_EVERY = timedelta(seconds=15)
"""Within an epoch, progress is written no more often than this."""


def compute_status(seen: Observed, pipeline: Pipeline, url: str | None) -> SpeechModelStatus:
    """Everything that the operator has to say."""
    model = published_model(seen, pipeline)
    found = conditions(seen, pipeline, model)
    training = _training(seen, pipeline)
    history = seen.status.history
    if model is not None and all(_place(model) != _place(old) for old in history):
        history = (model, *history)[:HISTORY_LENGTH]
    ready = next(c for c in found if c.type == ConditionType.READY)
    return SpeechModelStatus(
        observed_generation=seen.generation,
        phase=_phase(seen, pipeline, ready=ready.status == "True"),
        progress=f"{training.epoch}/{seen.spec.training.max_epochs}" if training else None,
        conditions=found,
        training=training,
        stages=tuple(_bounded(entry) for entry in pipeline.stages),
        latest_version=model.version if model else None,
        model=model,
        serving=_serving(seen),
        url=url if seen.spec.serving and seen.server else None,
        history=history,
    )


def published_model(seen: Observed, pipeline: Pipeline) -> ModelStatus | None:
    """The version that is to be served: that of the present spec once it is published, the one before until then."""
    if pipeline.target is not None:
        return seen.status.model
    published, converted, evaluated = pipeline.done.publish, pipeline.done.convert, pipeline.done.evaluate
    s3 = seen.spec.publish.s3
    place = (published.version_uri, s3.endpoint)
    known = [m for m in (seen.status.model, *seen.status.history) if m and _place(m) == place]
    return ModelStatus(
        version=published.version,
        wer=_rounded(evaluated.wer),
        cer=_rounded(evaluated.cer),
        uri=published.uri,
        sha256=converted.model_sha256,
        size_bytes=converted.size_bytes,
        version_uri=published.version_uri,
        version_sha256=published.version_sha256,
        endpoint=s3.endpoint,
        region=s3.region,
        secret_name=s3.secret_ref.name if s3.secret_ref else None,
        published_at=known[0].published_at if known else whole_seconds(seen.now),
    )


def failure_status(
    before: SpeechModelStatus, generation: int, reason: str, message: str, now: datetime
) -> SpeechModelStatus:
    """The status after a reconciliation that raised: everything as it was, and Ready says why."""
    verdicts = [
        (c.type, Verdict(c.status == "True", c.reason, c.message))
        for c in before.conditions
        if c.type != ConditionType.READY
    ]
    verdicts.append((ConditionType.READY, Verdict(False, reason, message)))
    stamped = stamp(verdicts, before.conditions, generation, now)
    return before.model_copy(update={"conditions": stamped})


def without_run(status: SpeechModelStatus, run: StageRun) -> SpeechModelStatus:
    """The status when that run could not be made: its attempt is still to come."""
    entries = (run.before if entry.name is run.stage else entry for entry in status.stages)
    return status.model_copy(update={"stages": tuple(entry for entry in entries if entry is not None)})


def deleting_status(seen: Observed, message: str) -> SpeechModelStatus:
    """The status of a SpeechModel that is on its way out."""
    verdict = [(ConditionType.READY, Verdict(False, "Deleting", message))]
    return seen.status.model_copy(
        update={
            "phase": Phase.DELETING,
            "conditions": stamp(verdict, seen.status.conditions, seen.generation, seen.now),
        }
    )


def _training(seen: Observed, pipeline: Pipeline) -> TrainingStatus | None:
    """The newest progress; the old one again when the new one says little more."""
    entry = next((e for e in pipeline.stages if e.name is StageName.TRAIN), None)
    recorded = seen.status.stage(StageName.TRAIN)
    before = seen.status.training if entry and recorded and entry.key == recorded.key else None
    if entry and entry.state is StageState.SUCCEEDED and pipeline.target not in (StageName.PREPARE, StageName.TRAIN):
        trained = pipeline.done.train
        return TrainingStatus(
            epoch=trained.epoch,
            loss=_rounded(trained.loss),
            dev_loss=_rounded(trained.dev_loss),
            progress_time=entry.finished_at,
        )
    run = seen.run(entry.job) if entry else None
    if run is None or not isinstance(run.progress, TrainProgress):
        return before
    now = _from_record(run.progress, before)
    if before is None or now.epoch != before.epoch:
        return now
    if before.progress_time and seen.now - before.progress_time < PROGRESS_EVERY:
        return before
    return now


def _from_record(record: TrainProgress, before: TrainingStatus | None) -> TrainingStatus:
    left = record.max_epochs - record.epoch - record.fraction
    completion = None
    if before and before.progress_time and record.epoch > before.epoch:
        took = (record.time - before.progress_time) / (record.epoch - before.epoch)
        completion = whole_seconds(record.time + took * left)
    elif before:
        completion = before.estimated_completion_time
    return TrainingStatus(
        epoch=record.epoch,
        loss=_rounded(record.loss),
        dev_loss=_rounded(record.dev_loss),
        progress_time=whole_seconds(record.time),
        estimated_completion_time=completion,
    )


def _serving(seen: Observed) -> ServingStatus | None:
    server = seen.server
    if server is None:
        return None
    before = seen.status.serving.version if seen.status.serving else None
    return ServingStatus(version=server.version if server.settled else before, ready_replicas=server.ready_replicas)


def _phase(seen: Observed, pipeline: Pipeline, *, ready: bool) -> Phase:
    if ready:
        return Phase.READY
    if pipeline.target is None:
        return Phase.DEPLOYING
    if seen.spec.suspend:
        return Phase.SUSPENDED
    entry = next((e for e in pipeline.stages if e.name is pipeline.target), None)
    if entry is None:
        return Phase.PENDING
    return Phase.FAILED if entry.state is StageState.FAILED else Phase(DOING[pipeline.target])


def _place(model: ModelStatus) -> tuple[str, str | None]:
    """The same version may be published at several places."""
    return model.version_uri, model.endpoint


def _bounded(entry: StageStatus) -> StageStatus:
    """Schedulers and kubelets say as much as they like."""
    if entry.message is None or len(entry.message) <= LONGEST_MESSAGE:
        return entry
    return entry.model_copy(update={"message": entry.message[:LONGEST_MESSAGE]})


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")
