"""train: trains a lineage up to its target, then exports the graph."""

import gc
from functools import partial
from pathlib import Path

from speechmodel_api.base import Document
from speechmodel_api.learning import LearningSettings
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.workspace import Workspace
from speechmodel_stagekit.artefacts import once, recorded_output
from speechmodel_stagekit.program import run_stage

from speechmodel_training.augmentation.automatic import chosen
from speechmodel_training.dataset import read_training_set
from speechmodel_training.device import prepare_device
from speechmodel_training.export import export_graph
from speechmodel_training.lineage import open_lineage
from speechmodel_training.state import LineageFacts
from speechmodel_training.tensorflow_errors import tensorflow_errors
from speechmodel_training.trainer import Target, Trainer
from speechmodel_training.workers import Workers, configured_workers


class Beginning(Document):
    """The part of a lineage that the first worker tells the others before training."""

    settings: LearningSettings
    facts: LineageFacts


class Followed(Document):
    """Output of a worker other than the first: none."""


def train(document: TrainInput) -> TrainOutput | Followed:
    """Fill `exports/<key>/`, continuing from the newest checkpoint of the lineage.

    Raises Stopped after SIGTERM, with everything saved. A worker other than the first trains along and writes nothing.
    """
    prepare_device()
    workers, folder = configured_workers(document.workers), Workspace(document.workspace).export(document.key)
    if workers.leads:
        return once(folder, TrainOutput, partial(_lead, document, workers))
    if recorded_output(folder, TrainOutput) is None:
        _follow(document, workers)
    return Followed()


def _lead(document: TrainInput, workers: Workers, folder: Path) -> TrainOutput:
    """Own the lineage, train it and export the graph to `folder`."""
    with tensorflow_errors():
        workers.join()
        with open_lineage(document) as lineage:
            workers.shared(Beginning, Beginning(settings=lineage.settings, facts=lineage.facts))
            target = _target(document, lineage.settings)
            training_set, store = lineage.training_set, lineage.store
            Trainer(training_set, lineage.facts, target, workers, store, lineage.initial, lineage.warnings).run()
            gc.collect()  # the network refers to itself, and the export needs its memory
            return export_graph(lineage, document, folder)


def _follow(document: TrainInput, workers: Workers) -> None:
    """Train along with the first worker."""
    with tensorflow_errors():
        workers.join()
        training_set = read_training_set(Workspace(document.workspace).data(document.data_key), document.dataset_digest)
        beginning = workers.shared(Beginning)
        Trainer(training_set, beginning.facts, _target(document, beginning.settings), workers).run()


def _target(document: TrainInput, settings: LearningSettings) -> Target:
    return Target(
        key=document.key,
        attempt=document.attempt,
        settings=settings,
        schedule=document.schedule,
        early_stop=document.early_stop,
        reduce_on_plateau=document.reduce_on_plateau,
        augmentation=chosen(document.augmentation),
        every_seconds=document.checkpoints.every_seconds,
        precision=document.precision,
    )


if __name__ == "__main__":
    run_stage(TrainInput, train, handles_stop=True)
