"""The parts of the workspace that a stage leaves when it puts the workspace in order."""

from pathlib import PurePosixPath

from speechmodel_api import keys
from speechmodel_api.stages import Kept
from speechmodel_api.workspace import Workspace

from speechmodel_plan.stages.convert import CONVERT
from speechmodel_plan.stages.evaluate import EVALUATE
from speechmodel_plan.stages.prepare import PREPARE
from speechmodel_plan.stages.stage import Outputs
from speechmodel_plan.stages.train import TRAIN
from speechmodel_plan.task import Task


def kept(task: Task, done: Outputs) -> Kept:
    """Return what the spec refers to, as far as its keys are known yet, and the model that is served."""
    here, spec = Workspace(PurePosixPath()), task.spec
    folders = [here.data(PREPARE.key(task, done))]
    if (bucket := spec.dataset.source.s3) is not None:
        folders.append(here.source(keys.source_key(bucket)))
    if PREPARE in done:
        folders += [here.checkpoints(keys.lineage_key(spec, done.of(PREPARE))), here.export(TRAIN.key(task, done))]
    if TRAIN in done:
        folders.append(here.export(CONVERT.key(task, done)))
    if CONVERT in done:
        folders.append(here.report(EVALUATE.key(task, done)))
    return Kept(
        folders=tuple(str(folder) for folder in folders),
        models=(task.served.sha256,) if task.served else (),
        seconds=spec.training.storage.keep_seconds,
    )
