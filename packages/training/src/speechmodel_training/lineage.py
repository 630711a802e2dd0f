"""A lineage opened for one attempt: training set, facts, ownership and checkpoints."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.learning import LearningSettings
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.train import TrainInput
from speechmodel_api.training_spec import EarlyStop
from speechmodel_api.workspace import Workspace
from speechmodel_stagekit.durable import replace_file
from speechmodel_stagekit.errors import ArtefactMissing

from speechmodel_training.checkpoints import Checkpoint, CheckpointStore, has_checkpoint
from speechmodel_training.chosen import CHOSEN, chosen_settings
from speechmodel_training.dataset import TrainingSet, read_training_set
from speechmodel_training.initial import InitialCheckpoint, read_initial_checkpoint
from speechmodel_training.network import fresh_weights
from speechmodel_training.ownership import Owner, Ownership, owning
from speechmodel_training.state import LineageFacts, TrainingState

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Lineage:
    """A lineage that this process owns."""

    training_set: TrainingSet
    language: str
    settings: LearningSettings
    early_stop: EarlyStop | None
    facts: LineageFacts
    initial: Checkpoint | None
    """Checkpoint of `initFrom` that a lineage without one of its own begins with. None for random weights, and
    when there is one of its own."""
    warnings: tuple[str, ...]
    """Warnings about the checkpoint of initFrom, for the status."""
    ownership: Ownership
    store: CheckpointStore

    @property
    def folder(self) -> Path:
        """`checkpoints/<lineage>/`"""
        return self.ownership.folder


@contextmanager
def open_lineage(document: TrainInput) -> Iterator[Lineage]:
    """Read and check the training set, then own the lineage.

    A checkpoint of `initFrom` is read only for the first one of the lineage, so that training
    continues when it is gone. Raises ArtefactMissing when a downloaded one is gone, and what
    read_training_set, owning and read_initial_checkpoint raise.
    """
    workspace = Workspace(document.workspace)
    training_set = read_training_set(workspace.data(document.data_key), document.dataset_digest)
    owner = Owner(owner=document.owner, attempt=document.attempt)
    with owning(workspace.checkpoints(document.lineage), owner) as ownership:
        yield _opened(document, training_set, ownership)


def _opened(document: TrainInput, training_set: TrainingSet, ownership: Ownership) -> Lineage:
    workspace, hyperparameters = Workspace(document.workspace), document.hyperparameters
    path = ownership.folder / CHOSEN
    begun = path.exists() and has_checkpoint(ownership.folder)
    initial = _initial_checkpoint(workspace, document) if document.init_from and not begun else None
    layer_norm = hyperparameters.layer_norm
    if layer_norm is None:
        layer_norm = initial is not None and initial.layer_norm
    hidden_units = hyperparameters.hidden_units or (initial.hidden_units if initial else None)
    chosen = chosen_settings(
        path,
        training_set,
        layer_norm=layer_norm,
        hidden_units=hidden_units,
        # a key that has one of them as a number means the training that it has always meant
        two_versions=hyperparameters.batch_size is None
        and document.max_epochs is None
        and hyperparameters.consistency != 0,
    )
    settings = chosen.with_given(hyperparameters, document.max_epochs, document.schedule.type)
    log.info("training with %s", settings)
    facts = LineageFacts(
        hidden_units=settings.hidden_units,
        layer_norm=settings.layer_norm,
        alphabet=training_set.alphabet,
        seed=hyperparameters.seed,
        dataset_digest=training_set.digest,
    )
    store = CheckpointStore(ownership, facts, document.checkpoints.keep)
    beginning = _beginning(initial, facts, document) if initial else None
    if not path.exists():
        replace_file(path, chosen.model_dump_json(by_alias=True, indent=1))
    return Lineage(
        training_set,
        document.language,
        settings,
        document.early_stop,
        facts,
        beginning,
        tuple(initial.warnings(training_set.alphabet, document.drop_layers)) if initial else (),
        ownership,
        store,
    )


def _initial_checkpoint(workspace: Workspace, document: TrainInput) -> InitialCheckpoint:
    """Return the checkpoint of initFrom. Raises ArtefactMissing when it was downloaded and is gone."""
    path = Path(str(document.init_from))
    if path == workspace.source(path.name) and not path.is_dir():
        raise ArtefactMissing(Reason.ARTEFACT_MISSING, f"{path} is missing; it is downloaded again")
    return read_initial_checkpoint(path, resume=document.resume)


def _beginning(initial: InitialCheckpoint, facts: LineageFacts, document: TrainInput) -> Checkpoint:
    """Return the checkpoint of initFrom as the first one of this lineage, with no finished epoch."""
    fresh = fresh_weights(facts.geometry, facts.seed)
    tensors = initial.tensors_for(fresh, facts.alphabet, document.drop_layers)
    state = TrainingState(facts=facts, attempt=document.attempt, target="", step=int(tensors["global_step"]))
    return Checkpoint(state, tensors)
