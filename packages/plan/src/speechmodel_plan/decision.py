"""The decision: the stage that runs next, or the reason why none does.

A stage runs if and only if no success for its key is recorded. Only then are its inputs checked, as make does: a stage whose
files were on a claim that no longer exists runs first, except train if a published version has its network. So a Ready model whose
claim was lost retrains nothing until an edit of the training itself, an edit of `serving` runs nothing, and the same spec after a restart
of the operator runs nothing.
"""

from collections.abc import Container
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from speechmodel_api import keys
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageInput, StageName
from speechmodel_api.stages.convert import PublishedModel
from speechmodel_api.status import ModelStatus, StageState

from speechmodel_plan import names
from speechmodel_plan.kept import kept
from speechmodel_plan.observed import Observed, Trouble
from speechmodel_plan.outcome import given_up, stopped
from speechmodel_plan.policies import WHY_NOT_START, WHY_STOP, Finding, Situation, first
from speechmodel_plan.records import Records, StageRecord
from speechmodel_plan.restored import lost, published_model
from speechmodel_plan.stages import STAGES, stage_named
from speechmodel_plan.stages.compare import published_at
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.stage import Outputs, Stage
from speechmodel_plan.stages.train import TRAIN


@dataclass(frozen=True)
class Idle:
    """Every stage has succeeded for this spec."""

    done: Outputs


@dataclass(frozen=True)
class Start:
    """Create a run."""

    stage: Stage[Any]
    done: Outputs
    record: StageRecord
    document: StageInput
    restores: ModelStatus | None = None
    """The version whose model the run takes from its bucket, because the files of train are gone."""


@dataclass(frozen=True)
class Follow:
    """Let the run continue."""

    stage: Stage[Any]
    done: Outputs


@dataclass(frozen=True)
class Stop:
    """End the run."""

    stage: Stage[Any]
    done: Outputs
    finding: Finding
    record: StageRecord


@dataclass(frozen=True)
class Hold:
    """Start nothing."""

    stage: Stage[Any]
    done: Outputs
    finding: Finding
    record: StageRecord | None


Decision: TypeAlias = Start | Follow | Stop | Hold | Idle


def decide(seen: Observed, records: Records) -> Decision:
    """Return the one thing to do about the stages."""
    published = published_model(seen, records)
    stage, done = _due(seen, records, published)
    if stage is None:
        return Idle(done)
    record, restores = records.get(stage.name), published if stage is CONVERT else None
    settings = seen.settings_of(stage.name, restores=restores is not None)
    situation = Situation(seen, stage.name, stage.key(seen.task, done), record, settings)
    if record is not None and record.state is StageState.RUNNING:
        if finding := first(WHY_STOP, situation):
            end = given_up if finding.final else stopped
            return Stop(stage, done, finding, end(record, situation.run, seen.now, finding.trouble))
        return Follow(stage, done)
    if finding := first(WHY_NOT_START, situation):
        return Hold(stage, done, finding, _held(situation, finding))
    started = _started(situation)
    if stage is CONVERT and record is not None and record.key in keys.convert_keys(done.of(TRAIN)):
        # it names the published version that has this network, if the graph turns out to be lost
        started = replace(started, output=record.output)
    changes: dict[str, object] = {"kept": kept(seen.task, done, records)}
    if restores is not None:
        target = published_at(seen.spec, restores).location
        for name, file in (("published", restores), ("published_phrases", restores.phrases)):
            if file is not None:
                changes[name] = PublishedModel(
                    target=target, uri=file.uri, sha256=file.sha256, size_bytes=file.size_bytes
                )
    document = stage.document(seen.task, started.attempt, done).model_copy(update=changes)
    return Start(stage, done, started, document, restores)


def settle(seen: Observed, records: Records, decision: Decision) -> Records:
    """Return the records after a decision: only its own stage may keep running.

    Once every stage that is wanted has succeeded, a record of another one says nothing any more, such as a compare that failed.
    """
    if isinstance(decision, Idle):
        return Records.of(record for record in records if record.state is StageState.SUCCEEDED)
    stage = decision.stage.name
    superseded = Trouble(Reason.SUPERSEDED, "the spec was edited, so this attempt is stopped")
    ended = [
        stopped(record, seen.run(record.run), seen.now, superseded)
        for record in records
        if record.stage is not stage and record.state is StageState.RUNNING
    ]
    match decision:
        case Start(record=record):
            return records.plus(*ended, *_forgiven(records, decision), record)
        case Stop(record=record) | Hold(record=StageRecord() as record):
            return records.plus(*ended, record)
    return records.plus(*ended)


def _forgiven(records: Records, start: Start) -> tuple[StageRecord, ...]:
    """Return the record of convert without its failures, if train starts because the published version is lost."""
    converted = records.get(CONVERT.name)
    if start.stage is not TRAIN or converted is None or not lost(converted):
        return ()
    return (replace(converted, state=StageState.WAITING, failures=0, trouble=None, retry_at=None),)


def _due(seen: Observed, records: Records, published: ModelStatus | None) -> tuple[Stage[Any] | None, Outputs]:
    """Return the stage that is due, None when all are finished, and the outputs of those before it. With a `published` version, convert
    does not need the files of train.
    """
    task, done = seen.task, Outputs()
    before: dict[StageName, Outputs] = {}
    for stage in STAGES:
        if not stage.wanted(task, done):
            continue
        before[stage.name] = done
        record = records.get(stage.name)
        succeeded = record is not None and record.state is StageState.SUCCEEDED
        output = stage.parse(record.output) if record and succeeded else None
        if record is None or output is None or record.key != stage.key(task, done):
            due = _first_with_lost_files(stage, seen, records, before, published)
            return due, before[due.name]
        done = done.plus(stage, stage.for_task(output, task))
    return None, done


def _first_with_lost_files(
    stage: Stage[Any],
    seen: Observed,
    records: Records,
    wanted: Container[StageName],
    published: ModelStatus | None,
) -> Stage[Any]:
    """Return the first stage whose files `stage` needs and that are lost; `stage` itself when none are."""
    for name in stage.reads:
        if stage is CONVERT and name is StageName.TRAIN and published is not None:
            continue
        record = records.get(name)
        if name in wanted and (seen.claim is None or record is None or record.claim_uid != seen.claim.uid):
            return _first_with_lost_files(stage_named(name), seen, records, wanted, published)
    return stage


def _held(at: Situation, finding: Finding) -> StageRecord | None:
    """Return the record of a stage that waits for a user to act; None when its record does not change."""
    if at.record is None or at.record.state is StageState.SUCCEEDED or not at.same_key or not finding.final:
        return None
    return replace(given_up(at.record, None, at.seen.now, finding.trouble), finished_at=at.record.finished_at)


def _started(at: Situation) -> StageRecord:
    previous = at.record
    attempt = (previous.attempt if previous else 0) + 1
    fresh = StageRecord(
        stage=at.stage,
        key=at.key,
        state=StageState.RUNNING,
        attempt=attempt,
        run=names.run_name(at.seen.owner.name, at.stage, at.key, attempt),
        settings=at.settings,
        started_at=at.seen.now,
        retry_token=at.seen.retry_token,
    )
    if previous is None or not at.same_key or previous.state is StageState.SUCCEEDED:
        return fresh
    asked = previous.retry_token != at.seen.retry_token or previous.state is StageState.FAILED
    unpulled = 0 if asked or not at.same else previous.image_failures
    return replace(
        fresh,
        image_failures=unpulled,
        trouble=previous.unpulled if unpulled else None,
        failures=0 if asked else previous.failures,
        epoch=previous.epoch,
        active_seconds=previous.active_seconds,
        pod_seconds=previous.pod_seconds,
    )
