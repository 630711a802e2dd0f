"""The parts of the workspace that a stage leaves when it puts the workspace in order."""

from pathlib import PurePosixPath

from speechmodel_api import keys
from speechmodel_api.stages.contract import Kept, StageName
from speechmodel_api.status import StageState
from speechmodel_api.workspace import Workspace

from speechmodel_plan.records import Records
from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Task, checkpoint_bucket, negatives_bucket


def kept(task: Task, done: Outputs, records: Records) -> Kept:
    """Return what the spec refers to, as far as its keys are known yet, what the last run of each stage that
    succeeded has made, and the model that is served.

    An edit that fails or is taken back finds the results of before it.
    """
    here, spec = Workspace(PurePosixPath()), task.spec
    folders = [here.data(PREPARE.key(task, done))]
    buckets = (spec.dataset.source.s3, negatives_bucket(spec), checkpoint_bucket(spec))
    folders += [here.source(keys.source_key(bucket)) for bucket in buckets if bucket is not None]
    if PREPARE in done:
        folders += [here.checkpoints(keys.lineage_key(spec, done.of(PREPARE))), here.export(TRAIN.key(task, done))]
    if TRAIN in done:
        folders.append(here.export(CONVERT.key(task, done)))
    if CONVERT in done:
        folders.append(here.report(EVALUATE.key(task, done)))
    made = {
        StageName.PREPARE: here.data,
        StageName.TRAIN: here.export,
        StageName.CONVERT: here.export,
        StageName.EVALUATE: here.report,
        StageName.COMPARE: here.report,
    }
    for stage, folder_of in made.items():
        record = records.get(stage)
        if record is not None and record.state is StageState.SUCCEEDED:
            folders.append(folder_of(record.key))
    return Kept(
        folders=tuple(dict.fromkeys(str(folder) for folder in folders)),
        models=(task.served.sha256,) if task.served else (),
        seconds=spec.training.storage.keep_seconds,
    )
