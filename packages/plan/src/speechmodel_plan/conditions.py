"""The six conditions, each computed from what was observed and planned; positive polarity, a reason, and what to do."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime

from speechmodel_api.stages import StageName
from speechmodel_api.status import Condition, ConditionType, ModelStatus, StageState, StageStatus
from speechmodel_api.times import whole_seconds

from speechmodel_plan.observed import Observed
from speechmodel_plan.pipeline import Pipeline

DOING = {
    StageName.PREPARE: "Preparing",
    StageName.TRAIN: "Training",
    StageName.CONVERT: "Converting",
    StageName.EVALUATE: "Evaluating",
    StageName.PUBLISH: "Publishing",
}

LONGEST_MESSAGE = 4000
"""Characters; the schema takes 4096."""


@dataclass(frozen=True)
class Verdict:
    """A condition without its bookkeeping."""

    holds: bool
    reason: str
    message: str


def conditions(seen: Observed, pipeline: Pipeline, model: ModelStatus | None) -> tuple[Condition, ...]:
    """All six, lastTransitionTime changed only where the status changed."""
    serving = _serving(seen, model)
    promoted = _promoted(seen, model)
    verdicts = {
        ConditionType.DATASET_READY: _stages(pipeline, (StageName.PREPARE,), _dataset_message),
        ConditionType.TRAINED: _stages(pipeline, (StageName.TRAIN,), _trained_message),
        ConditionType.PUBLISHED: _stages(
            pipeline, (StageName.CONVERT, StageName.EVALUATE, StageName.PUBLISH), _published_message
        ),
        ConditionType.PROMOTED: promoted,
        ConditionType.SERVING: serving,
        ConditionType.READY: _ready(seen, pipeline, promoted, serving),
    }
    return stamp(verdicts.items(), seen.status.conditions, seen.generation, seen.now)


def stamp(
    verdicts: Iterable[tuple[str, Verdict]], before: Iterable[Condition], generation: int, now: datetime
) -> tuple[Condition, ...]:
    """Verdicts as conditions that remember since when they hold."""
    old = {condition.type: condition for condition in before}
    stamped = []
    for name, verdict in verdicts:
        status = "True" if verdict.holds else "False"
        previous = old.get(str(name))
        unchanged = previous is not None and previous.status == status
        stamped.append(
            Condition(
                type=str(name),
                status="True" if verdict.holds else "False",
                observed_generation=generation,
                last_transition_time=previous.last_transition_time if previous and unchanged else whole_seconds(now),
                reason=verdict.reason,
                message=verdict.message[:LONGEST_MESSAGE],
            )
        )
    return tuple(stamped)


def waiting_reason(pipeline: Pipeline, stage: StageName) -> Verdict:
    """Why a stage that is wanted has not succeeded."""
    entry = next((e for e in pipeline.stages if e.name is stage), None)
    if stage is pipeline.target and pipeline.finding:
        return Verdict(False, pipeline.finding.reason, pipeline.finding.message)
    if entry and entry.state is StageState.RUNNING and entry.reason:
        return Verdict(False, entry.reason, entry.message or "")
    return Verdict(False, DOING[stage], _doing_message(entry, stage))


def _doing_message(entry: StageStatus | None, stage: StageName) -> str:
    job = f" (Job {entry.job})" if entry and entry.job else ""
    return f"{stage.value} runs{job}"


def _stages(pipeline: Pipeline, group: tuple[StageName, ...], success: Callable[[Pipeline], Verdict]) -> Verdict:
    """True once every stage of the group succeeded for the present spec."""
    order = list(StageName)
    target = pipeline.target
    if target is None or order.index(target) > order.index(group[-1]):
        return success(pipeline)
    if target in group:
        return waiting_reason(pipeline, target)
    return Verdict(False, f"WaitingFor{_title(target)}", f"waits for {target.value}")


def _title(stage: StageName) -> str:
    return stage.value.capitalize()


def _dataset_message(pipeline: Pipeline) -> Verdict:
    data = pipeline.done.prepare
    minutes = data.audio_seconds / 60
    text = f"{data.train_clips} train, {data.dev_clips} dev and {data.test_clips} test clips, {minutes:.1f} minutes"
    if data.normalised:
        text += f"; {data.normalised} transcripts normalised"
    if data.note:
        text += f"; {data.note}"
    return Verdict(True, "Prepared", text)


def _trained_message(pipeline: Pipeline) -> Verdict:
    trained = pipeline.done.train
    text = f"{trained.epoch} epochs, loss {trained.loss:.4g}"
    if trained.dev_loss is not None:
        text += f", dev loss {trained.dev_loss:.4g}; exported epoch {trained.exported_epoch}"
    if trained.trained_epochs == 0:
        return Verdict(True, "NothingToTrain", f"the checkpoints had reached maxEpochs already: {text}")
    return Verdict(True, "Trained", text)


def _published_message(pipeline: Pipeline) -> Verdict:
    published = pipeline.done.publish
    wer = pipeline.done.evaluate.wer
    figure = "not measured: no test clips" if wer is None else f"{wer:.4f}"
    return Verdict(True, "Published", f"version {published.version}, WER {figure}, {published.uri}")


def _promoted(seen: Observed, model: ModelStatus | None) -> Verdict:
    if seen.spec.serving is None:
        return Verdict(False, "NotRequested", "spec.serving is absent: nothing is served")
    if model is None:
        return Verdict(False, "NothingPublished", "no version is published yet")
    if seen.server and seen.server.version == model.version and seen.server.settled:
        return Verdict(True, "Promoted", f"every replica serves version {model.version}")
    if seen.server and seen.server.trouble and seen.server.version == model.version:
        return Verdict(False, seen.server.trouble.reason, seen.server.trouble.message)
    return Verdict(False, "RollingOut", f"version {model.version} is being rolled out")


def _serving(seen: Observed, model: ModelStatus | None) -> Verdict:
    if seen.spec.serving is None:
        return Verdict(False, "NotRequested", "spec.serving is absent: nothing is served")
    server = seen.server
    if server is None:
        return Verdict(False, "NothingPublished" if model is None else "Deploying", "there is no server yet")
    if server.ready_replicas > 0:
        return Verdict(True, "Serving", f"{server.ready_replicas} of {server.replicas} replicas answer")
    if server.replicas == 0:
        return Verdict(False, "ScaledToZero", "serving.replicas is 0")
    if server.trouble:
        return Verdict(False, server.trouble.reason, server.trouble.message)
    return Verdict(False, "Deploying", f"0 of {server.replicas} replicas answer")


def _ready(seen: Observed, pipeline: Pipeline, promoted: Verdict, serving: Verdict) -> Verdict:
    """The spec is what is there: the last stage succeeded for it and every replica serves it."""
    if pipeline.target is not None:
        return waiting_reason(pipeline, pipeline.target)
    version = pipeline.done.publish.version
    if seen.spec.serving is None:
        return Verdict(True, "Published", f"version {version} is published; serving is not asked for")
    if not promoted.holds:
        return promoted
    if seen.spec.serving.replicas > 0 and not serving.holds:
        return serving
    return Verdict(True, "Ready", f"version {version} is trained, published and served")
