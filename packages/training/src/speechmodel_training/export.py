"""The exported graph of a lineage: `python -m speechmodel_training.export` exports it without
training.

It takes the input document of train.
"""

import logging
from pathlib import Path

import numpy as np
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.workspace import GRAPH, HISTORY, Workspace
from speechmodel_stagekit.artefacts import file_digest, once
from speechmodel_stagekit.program import run_stage

from speechmodel_training.checkpoints import CheckpointStore
from speechmodel_training.device import prepare_device
from speechmodel_training.epochs import as_csv
from speechmodel_training.errors import NothingToExport
from speechmodel_training.graph import frozen_graph
from speechmodel_training.lineage import Lineage, open_lineage
from speechmodel_training.state import TrainingState

log = logging.getLogger(__name__)


def export(document: TrainInput) -> TrainOutput:
    """Fill `exports/<key>/` from the checkpoints of the lineage.

    Raises NothingToExport when there are none.
    """
    prepare_device()

    def make(folder: Path) -> TrainOutput:
        with open_lineage(document) as lineage:
            return export_graph(lineage, document.key, folder)

    return once(Workspace(document.workspace).export(document.key), TrainOutput, make)


def export_graph(lineage: Lineage, key: str, folder: Path) -> TrainOutput:
    """Write the graph and the history to `folder`.

    The graph has the averaged weights of the epoch with the lowest dev loss, or of the last epoch
    without dev clips.
    """
    newest, chosen = _newest_state(lineage.store), lineage.store.best()
    if newest is None or chosen is None or not newest.history:
        raise NothingToExport(lineage.folder)
    log.info("exporting epoch %d, step %d", chosen.state.epoch, chosen.state.step)
    graph = folder / GRAPH
    weights = {name: np.asarray(tensor) for name, tensor in chosen.tensors.items()}
    with graph.open("wb") as file:
        file.writelines(frozen_graph(weights, lineage.training_set.alphabet, lineage.language))
    (folder / HISTORY).write_text(as_csv(newest.history), encoding="utf-8")
    lineage.ownership.check()
    last = newest.history[-1]
    return TrainOutput(
        epoch=newest.epoch,
        step=newest.step,
        loss=last.loss,
        dev_loss=last.dev_loss,
        dev_wer=last.dev_wer,
        exported_epoch=chosen.state.epoch,
        trained_epochs=newest.trained_for(key),
        stopped_early=newest.epoch < lineage.settings.max_epochs and newest.stops_early(lineage.early_stop),
        settings=lineage.settings,
        graph_sha256=file_digest(graph),
        graph_bytes=graph.stat().st_size,
    )


def _newest_state(store: CheckpointStore) -> TrainingState | None:
    """Return the state of the newest checkpoint that can be read, without its weights."""
    newest = store.newest_averages()
    return None if newest is None else newest.state


if __name__ == "__main__":
    run_stage(TrainInput, export)
