"""train: trains a lineage up to its target, then exports the graph."""

from pathlib import Path

from speechmodel_api.stages import TrainInput, TrainOutput
from speechmodel_api.workspace import Workspace
from speechmodel_stagekit.artefacts import once
from speechmodel_stagekit.program import run_stage

from speechmodel_training.augmentation.automatic import chosen
from speechmodel_training.device import prepare_device
from speechmodel_training.export import export_graph
from speechmodel_training.lineage import open_lineage
from speechmodel_training.tensorflow_errors import tensorflow_errors
from speechmodel_training.trainer import Target, Trainer


def train(document: TrainInput) -> TrainOutput:
    """Fill `exports/<key>/`, continuing from the newest checkpoint of the lineage.

    Raises Stopped after SIGTERM, with everything saved.
    """
    prepare_device()

    def make(folder: Path) -> TrainOutput:
        with tensorflow_errors(), open_lineage(document) as lineage:
            target = Target(
                key=document.key,
                attempt=document.attempt,
                settings=lineage.settings,
                schedule=document.schedule,
                early_stop=document.early_stop,
                reduce_on_plateau=document.reduce_on_plateau,
                augmentation=chosen(document.augmentation),
                every_seconds=document.checkpoints.every_seconds,
            )
            Trainer(lineage.training_set, lineage.facts, target, lineage.store, lineage.initial_weights).run()
            return export_graph(lineage, document.key, folder)

    return once(Workspace(document.workspace).export(document.key), TrainOutput, make)


if __name__ == "__main__":
    run_stage(TrainInput, train, handles_stop=True)
