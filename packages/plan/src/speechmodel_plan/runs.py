"""A look at the runs: the records of the last status, brought up to date with what the runs came to."""

from dataclasses import replace

from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import StageState

from speechmodel_plan.observed import Observed, Run, RunState, Trouble
from speechmodel_plan.outcome import fold, stopped
from speechmodel_plan.records import Records, StageRecord
from speechmodel_plan.stages import STAGES


def look_at_runs(seen: Observed) -> Records:
    """Return the records after a look at the runs.

    A run that was created but not recorded, because the operator ended in between, is found by its deterministic name.
    """
    recorded = Records.from_status(seen.status)
    records, forgotten = [], set[StageName]()
    for stage in STAGES:
        record = _adopted(recorded.get(stage.name), _newest_run(seen.runs, stage.name))
        if record is not None and record.state is StageState.RUNNING:
            run = seen.run(record.run)
            if run is not None and run.state is RunState.FAILED and run.exit_code == ExitCode.ARTEFACT_MISSING:
                forgotten.update(stage.reads)
            if run is None and (seen.spec.suspend or not _as_created_now(record, seen)):
                # the operator stopped it and ended before it could record that
                record = stopped(record, None, seen.now, Trouble(Reason.STOPPED, f"{record.run} was stopped"))
            else:
                claim_uid = seen.claim.uid if seen.claim else None
                record = fold(record, run, seen.now, claim_uid, seen.spec.training.max_attempts)
        if record is not None:
            records.append(record)
    return Records.of(replace(r, claim_uid=None) if r.stage in forgotten else r for r in records)


def _newest_run(runs: tuple[Run, ...], stage: StageName) -> Run | None:
    usable = [run for run in runs if run.stage is stage and run.state is not RunState.ENDING]
    return max(usable, key=lambda run: run.attempt, default=None)


def _as_created_now(record: StageRecord, seen: Observed) -> bool:
    """Return True if the run of a record has the settings that it would be created with now."""
    restoring = record.stage is StageName.CONVERT and record.settings == seen.settings_of(record.stage, restores=True)
    return restoring or record.settings == seen.settings_of(record.stage)


def _adopted(record: StageRecord | None, run: Run | None) -> StageRecord | None:
    """Return the record of `run` when it is newer than `record`."""
    if run is None or (record is not None and run.attempt <= record.attempt):
        return record
    same = record if record is not None and record.key == run.key else None
    return StageRecord(
        stage=run.stage,
        key=run.key,
        state=StageState.RUNNING,
        attempt=run.attempt,
        run=run.name,
        settings=run.settings,
        failures=same.failures if same else 0,
        image_failures=same.image_failures if same else 0,
        started_at=run.created_at,
        retry_token=record.retry_token if record else None,
        active_seconds=same.active_seconds if same else None,
        pod_seconds=same.pod_seconds if same else None,
        epoch=same.epoch if same else None,
        output=same.output if same else None,
    )
