"""Which stage runs next, which run must end, and what the record of every stage says.

A stage runs if and only if no success for its key is recorded in status; only then are its inputs looked for, as make does: a
stage whose files lie on a claim that is gone runs first. So a Ready model whose claim was lost retrains nothing until an edit
needs it, an edit of `serving` runs nothing, and the same spec after a restart of the operator does nothing.
"""

from dataclasses import dataclass

from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.stages import StageInput, StageName
from speechmodel_api.status import StageState, StageStatus
from speechmodel_api.times import whole_seconds

from speechmodel_plan import names
from speechmodel_plan.chain import PRODUCERS, Outputs, parse_output, stage_input, stage_key
from speechmodel_plan.observed import ALIVE, Observed, Run, RunState, Trouble
from speechmodel_plan.outcome import fold, given_up, stopped
from speechmodel_plan.policies import WHY_NOT_START, WHY_STOP, Finding, Situation, first


@dataclass(frozen=True)
class StageRun:
    """A run that is to be made."""

    name: str
    stage: StageName
    settings: str
    document: StageInput
    before: StageStatus | None = None
    """The stage's record without this run: what is said when it cannot be made."""


@dataclass(frozen=True)
class Pipeline:
    """What is to be done about the stages."""

    stages: tuple[StageStatus, ...]
    done: Outputs
    target: StageName | None
    """The first stage without a recorded success; None when there is nothing to do."""
    finding: Finding | None
    """Why the target does not run."""
    start: StageRun | None
    stop: tuple[Run, ...]
    discard: tuple[Run, ...]
    """Finished runs that are recorded and older than their stage's newest."""


def plan_pipeline(seen: Observed) -> Pipeline:
    """What is to be done about the stages."""
    entries = _fold_all(seen)
    target, done = _target(seen, entries)
    if target is None:
        others = _stop_others(seen, entries, None)
        return Pipeline(_ordered(entries), done, None, None, None, others, _discard(seen, entries))

    situation = Situation(seen, target, stage_key(target, seen, done), entries.get(target))
    stop = list(_stop_others(seen, entries, target))
    finding: Finding | None = None
    start: StageRun | None = None
    entry = entries.get(target)
    if entry is not None and entry.state is StageState.RUNNING:
        finding = first(WHY_STOP, situation)
        if finding:
            entries[target] = _end(entry, situation, finding)
            stop += _killable(seen, target)
    elif finding := first(WHY_NOT_START, situation):
        stop += _killable(seen, target)
        if (
            entry is not None
            and entry.state is not StageState.SUCCEEDED
            and entry.key == situation.key
            and finding.final
        ):
            entries[target] = given_up(entry, None, seen.now, Trouble(finding.reason, finding.message)).model_copy(
                update={"finished_at": entry.finished_at}
            )
    else:
        entries[target] = _started(situation)
        start = StageRun(
            name=entries[target].job or "",
            stage=target,
            settings=entries[target].settings or "",
            document=stage_input(target, entries[target].attempt, seen, done),
            before=entry,
        )
    return Pipeline(_ordered(entries), done, target, finding, start, tuple(stop), _discard(seen, entries))


def _fold_all(seen: Observed) -> dict[StageName, StageStatus]:
    """Records after a look at their runs. A run whose making was not recorded any more, since the operator ended in between, is
    found by its name: names are deterministic."""
    claim_uid = seen.claim.uid if seen.claim else None
    entries = {entry.name: _adopt(entry, seen) for entry in seen.status.stages}
    for stage in StageName:
        if stage not in entries and (run := _newest(seen, stage)):
            entries[stage] = _adopted(run)
    for stage, entry in entries.items():
        if entry.state is StageState.RUNNING:
            run = seen.run(entry.job)
            if run is None and _stopped_on_purpose(entry, seen):
                entries[stage] = stopped(entry, None, seen.now, "Stopped", f"{entry.job} was stopped")
                continue
            entries[stage] = fold(entry, run, seen.now, claim_uid, seen.spec.training.max_attempts)
            if run and run.state is RunState.FAILED and run.exit_code == ExitCode.ARTEFACT_MISSING:
                _forget_producers(entries, stage)
    return entries


def _stopped_on_purpose(entry: StageStatus, seen: Observed) -> bool:
    """A run that is gone was stopped by us, if there is a reason to: the operator may have ended before it could say so."""
    return seen.spec.suspend or entry.settings != seen.settings.get(entry.name)


def _adopt(entry: StageStatus, seen: Observed) -> StageStatus:
    run = _newest(seen, entry.name)
    if run is None or run.attempt <= entry.attempt:
        return entry
    return _adopted(run, entry)


def _adopted(run: Run, entry: StageStatus | None = None) -> StageStatus:
    return StageStatus(
        name=run.stage,
        key=run.key,
        state=StageState.RUNNING,
        attempt=run.attempt,
        failures=entry.failures if entry and entry.key == run.key else 0,
        job=run.name,
        started_at=whole_seconds(run.created_at),
        settings=run.settings,
        epoch=entry.epoch if entry and entry.key == run.key else None,
        active_seconds=entry.active_seconds if entry and entry.key == run.key else None,
        retry_token=entry.retry_token if entry else None,
    )


def _newest(seen: Observed, stage: StageName) -> Run | None:
    runs = [run for run in seen.runs if run.stage == stage and run.state is not RunState.ENDING]
    return max(runs, key=lambda run: run.attempt, default=None)


def _forget_producers(entries: dict[StageName, StageStatus], stage: StageName) -> None:
    """Exit code 66: whoever makes what this stage reads runs again; that is cheap where nothing is missing."""
    for producer in PRODUCERS[stage]:
        if producer in entries:
            entries[producer] = entries[producer].model_copy(update={"claim_uid": None})


def _target(seen: Observed, entries: dict[StageName, StageStatus]) -> tuple[StageName | None, Outputs]:
    """The stage to run, and the outputs of those before it."""
    done = Outputs()
    before: dict[StageName, Outputs] = {}
    for stage in StageName:
        before[stage] = done
        entry = entries.get(stage)
        output = parse_output(entry) if entry else None
        if entry is None or output is None or entry.key != stage_key(stage, seen, done):
            needed = _first_needed(stage, seen, entries)
            return needed, before[needed]
        done = done.plus(stage, output)
    return None, done


def _first_needed(stage: StageName, seen: Observed, entries: dict[StageName, StageStatus]) -> StageName:
    """The stage itself, or the first of those whose lost files it needs."""
    for producer in PRODUCERS[stage]:
        if _files_lost(seen, entries[producer]):
            return _first_needed(producer, seen, entries)
    return stage


def _files_lost(seen: Observed, entry: StageStatus) -> bool:
    return seen.claim is None or entry.claim_uid != seen.claim.uid


def _started(at: Situation) -> StageStatus:
    previous = at.entry
    same_key = previous is not None and previous.key == at.key
    attempt = (previous.attempt if previous else 0) + 1
    fresh = StageStatus(
        name=at.stage,
        key=at.key,
        state=StageState.RUNNING,
        attempt=attempt,
        failures=0,
        job=names.run_name(at.seen.identity.name, at.stage, at.key, attempt),
        started_at=whole_seconds(at.seen.now),
        settings=at.seen.settings.get(at.stage, ""),
        retry_token=at.seen.retry_token,
    )
    if previous is None or not same_key or previous.state is StageState.SUCCEEDED:
        return fresh
    asked = previous.retry_token != at.seen.retry_token or previous.state is StageState.FAILED
    return fresh.model_copy(
        update={
            "failures": 0 if asked else previous.failures,
            "epoch": previous.epoch,
            "active_seconds": previous.active_seconds,
        }
    )


def _end(entry: StageStatus, at: Situation, finding: Finding) -> StageStatus:
    if finding.final:
        return given_up(entry, at.run, at.seen.now, Trouble(finding.reason, finding.message))
    return stopped(entry, at.run, at.seen.now, finding.reason, finding.message)


def _stop_others(seen: Observed, entries: dict[StageName, StageStatus], target: StageName | None) -> tuple[Run, ...]:
    """Runs of every stage but the target: the spec does not ask for them now."""
    for stage, entry in entries.items():
        if stage != target and entry.state is StageState.RUNNING:
            message = "the spec was edited: this attempt is stopped"
            entries[stage] = stopped(entry, seen.run(entry.job), seen.now, "Superseded", message)
    return tuple(run for stage in StageName if stage != target for run in _killable(seen, stage))


def _killable(seen: Observed, stage: StageName) -> tuple[Run, ...]:
    return tuple(
        run for run in seen.runs if run.stage == stage and run.state in ALIVE and run.state is not RunState.ENDING
    )


def _discard(seen: Observed, entries: dict[StageName, StageStatus]) -> tuple[Run, ...]:
    kept = {entry.job for entry in entries.values()}
    return tuple(run for run in seen.runs if run.state not in ALIVE and run.name not in kept)


def _ordered(entries: dict[StageName, StageStatus]) -> tuple[StageStatus, ...]:
    return tuple(entries[stage] for stage in StageName if stage in entries)
