"""The status, computed whole by one function; nothing edits it afterwards."""

from datetime import datetime, timedelta

from speechmodel_api.progress import TrainProgress
from speechmodel_api.reasons import Reason
from speechmodel_api.stages import StageName
from speechmodel_api.status import (
    HISTORY_LENGTH,
    ConditionType,
    ModelStatus,
    Phase,
    ServingStatus,
    SpeechModelStatus,
    StageState,
    TrainingStatus,
)

from speechmodel_plan.conditions import Verdict, stamp, verdicts
from speechmodel_plan.decision import Decision, Idle
from speechmodel_plan.observed import Observed, Trouble
from speechmodel_plan.records import Records, StageRecord
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.publish import PUBLISH
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.stages.train import TRAIN

PROGRESS_INTERVAL = timedelta(seconds=15)
"""Least time between two progress writes within an epoch."""


def compute_status(
    seen: Observed, records: Records, decision: Decision, failure: Trouble | None = None
) -> SpeechModelStatus:
    """Return the whole status. A `failure` of the engine to apply the plan becomes the reason of Ready."""
    before, model = seen.status, published_model(seen, decision)
    found = verdicts(decision, records, seen.spec.serving, seen.server, model)
    if failure is not None:
        found[ConditionType.READY] = Verdict(False, failure.reason, failure.message)
    training = _training(seen, records.get(StageName.TRAIN), decision.done)
    history = before.history
    if model is not None and all(_place(model) != _place(old) for old in history):
        history = (model, *history)[:HISTORY_LENGTH]
    return SpeechModelStatus(
        observed_generation=seen.generation,
        phase=_phase(decision, records, suspend=seen.spec.suspend, ready=found[ConditionType.READY].holds),
        progress=_epochs(training, seen.spec.training.max_epochs),
        conditions=stamp(found, before.conditions, seen.generation, seen.now),
        training=training,
        stages=tuple(record.to_status() for record in records),
        latest_version=model.version if model else None,
        model=model,
        serving=_serving(seen),
        url=_url(seen),
        history=history,
    )


def published_model(seen: Observed, decision: Decision) -> ModelStatus | None:
    """Return the version to serve: that of the current spec once it is published, and the one before until then."""
    if not isinstance(decision, Idle):
        return seen.status.model
    done = decision.done
    published, converted, evaluated = done.of(PUBLISH), done.of(CONVERT), done.of(EVALUATE)
    s3 = seen.spec.publish.s3
    place = (published.version_uri, s3.endpoint)
    known = [model for model in (seen.status.model, *seen.status.history) if model and _place(model) == place]
    return ModelStatus(
        version=published.version,
        wer=_rounded(evaluated.wer),
        cer=_rounded(evaluated.cer),
        wer_unseen_speakers=evaluated.wer_unseen_speakers,
        wer_seen_speakers=evaluated.wer_seen_speakers,
        free_text_wer=_rounded(evaluated.free_text_wer),
        rejected=_share(evaluated.figures.rejected, evaluated.figures.phrases) if evaluated.figures else None,
        false_accepts=_share(evaluated.figures.accepted, evaluated.figures.foreign) if evaluated.figures else None,
        calibration_error=_rounded(evaluated.figures.calibration_error) if evaluated.figures else None,
        uri=published.uri,
        sha256=converted.model_sha256,
        size_bytes=converted.size_bytes,
        version_uri=published.version_uri,
        version_sha256=published.version_sha256,
        endpoint=s3.endpoint,
        region=s3.region,
        secret_name=s3.secret_ref.name if s3.secret_ref else None,
        published_at=known[0].published_at if known else seen.now,
    )


def failed_status(before: SpeechModelStatus, generation: int, failure: Trouble, now: datetime) -> SpeechModelStatus:
    """Return the status after a step that failed unexpectedly: as it was, with the failure as the reason of Ready."""
    ready = {ConditionType.READY: Verdict(False, failure.reason, failure.message)}
    others = tuple(condition for condition in before.conditions if condition.type != ConditionType.READY)
    return before.model_copy(update={"conditions": (*others, *stamp(ready, before.conditions, generation, now))})


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
            loss=_rounded(trained.loss),
            dev_loss=_rounded(trained.dev_loss),
            settings=trained.settings,
            progress_time=record.finished_at,
        )
    run = seen.run(record.run)
    if run is None or not isinstance(run.progress, TrainProgress):
        return before
    newest = _from_progress(run.progress, before)
    recent = before and before.progress_time and seen.now - before.progress_time < PROGRESS_INTERVAL
    return before if before and newest.epoch == before.epoch and recent else newest


def _epochs(training: TrainingStatus | None, given: int | None) -> str | None:
    """Return the finished epochs and all of them, such as 12/75."""
    if training is None:
        return None
    chosen = training.settings.max_epochs if training.settings else None
    total = chosen if given is None else given
    return str(training.epoch) if total is None else f"{training.epoch}/{total}"


def _from_progress(progress: TrainProgress, before: TrainingStatus | None) -> TrainingStatus:
    epochs_left = progress.max_epochs - progress.epoch - progress.fraction
    completion = before.estimated_completion_time if before else None
    if before and before.progress_time and progress.epoch > before.epoch:
        per_epoch = (progress.time - before.progress_time) / (progress.epoch - before.epoch)
        completion = progress.time + per_epoch * epochs_left
    return TrainingStatus(
        epoch=progress.epoch,
        loss=_rounded(progress.loss),
        dev_loss=_rounded(progress.dev_loss),
        settings=progress.settings,
        progress_time=progress.time,
        estimated_completion_time=completion,
    )


def _serving(seen: Observed) -> ServingStatus | None:
    server = seen.server
    if server is None:
        return None
    before = seen.status.serving.version if seen.status.serving else None
    return ServingStatus(version=server.version if server.settled else before, ready_replicas=server.ready_replicas)


def _url(seen: Observed) -> str | None:
    if seen.spec.serving is None or seen.server is None:
        return None
    return f"http://{seen.spec.serving.service.name or seen.owner.name}.{seen.owner.namespace}.svc"


def _phase(decision: Decision, records: Records, *, suspend: bool, ready: bool) -> Phase:
    if ready:
        return Phase.READY
    if isinstance(decision, Idle):
        return Phase.DEPLOYING
    if suspend:
        return Phase.SUSPENDED
    record = records.get(decision.stage.name)
    if record is None:
        return Phase.PENDING
    return Phase.FAILED if record.state is StageState.FAILED else Phase(decision.stage.running.value)


def _place(model: ModelStatus) -> tuple[str, str | None]:
    """Return the location that identifies a publication. One version may be published in several places."""
    return model.version_uri, model.endpoint


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _share(part: int, whole: int) -> float | None:
    return _rounded(part / whole) if whole else None
