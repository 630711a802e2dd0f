"""The exported graph of a lineage: `python -m speechmodel_training.export` exports it without
training.

It takes the input document of train.
"""

import logging
from pathlib import Path

import numpy as np
from speechmodel_api.augmentation import parse
from speechmodel_api.stages.train import TrainInput, TrainOutput
from speechmodel_api.workspace import GRAPH, HISTORY, PHRASE_HEAD, Workspace
from speechmodel_embedding import Head
from speechmodel_stagekit.artefacts import file_digest, once
from speechmodel_stagekit.program import run_stage

from speechmodel_training.augmentation import Augmenter
from speechmodel_training.augmentation.automatic import chosen_for_head
from speechmodel_training.checkpoints import CheckpointStore
from speechmodel_training.device import prepare_device
from speechmodel_training.epochs import as_csv
from speechmodel_training.errors import NothingToExport
from speechmodel_training.graph import frozen_graph
from speechmodel_training.lineage import Lineage, open_lineage
from speechmodel_training.phrase_head import MOST_STEPS, train_head
from speechmodel_training.state import TrainingState

log = logging.getLogger(__name__)


def export(document: TrainInput) -> TrainOutput:
    """Fill `exports/<key>/` from the checkpoints of the lineage.

    Raises NothingToExport when there are none.
    """
    prepare_device()

    def make(folder: Path) -> TrainOutput:
        with open_lineage(document) as lineage:
            return export_graph(lineage, document, folder)

    return once(Workspace(document.workspace).export(document.key), TrainOutput, make)


def export_graph(lineage: Lineage, document: TrainInput, folder: Path) -> TrainOutput:
    """Write the graph, the history and the head of the phrase network to `folder`.

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
    head = folder / PHRASE_HEAD
    _train_head(lineage, document, newest.step).save(head)
    lineage.ownership.check()
    last = newest.history[-1]
    return TrainOutput(
        epoch=newest.epoch,
        step=newest.step,
        loss=last.loss,
        dev_loss=last.dev_loss,
        dev_wer=last.dev_wer,
        exported_epoch=chosen.state.epoch,
        trained_epochs=newest.trained_for(document.key),
        stopped_early=newest.epoch < lineage.settings.max_epochs and newest.stops_early(lineage.early_stop),
        settings=lineage.settings,
        graph_sha256=file_digest(graph),
        graph_bytes=graph.stat().st_size,
        phrase_head_sha256=file_digest(head),
    )


def _train_head(lineage: Lineage, document: TrainInput, steps: int) -> Head:
    training_set, seed = lineage.training_set, lineage.facts.seed
    entries = tuple(map(parse, chosen_for_head(document.augmentation)))
    augmenter = Augmenter(entries, seed=seed, voices=[clip.path for clip in training_set.train])
    return train_head(training_set, augmenter, seed=seed, steps=max(min(steps, MOST_STEPS), 1))


def _newest_state(store: CheckpointStore) -> TrainingState | None:
    """Return the state of the newest checkpoint that can be read, without its weights."""
    newest = store.newest_averages()
    return None if newest is None else newest.state


if __name__ == "__main__":
    run_stage(TrainInput, export)
