"""A lineage opened for one attempt: training set, facts, ownership and checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.stages import TrainInput
from speechmodel_api.workspace import Workspace

from speechmodel_training.checkpoints import CheckpointStore
from speechmodel_training.dataset import TrainingSet, read_training_set
from speechmodel_training.ownership import Owner, Ownership, owning
from speechmodel_training.state import LineageFacts


@dataclass(frozen=True)
class Lineage:
    """A lineage that this process owns."""

    training_set: TrainingSet
    language: str
    facts: LineageFacts
    ownership: Ownership
    store: CheckpointStore

    @property
    def folder(self) -> Path:
        """`checkpoints/<lineage>/`"""
        return self.ownership.folder


@contextmanager
def open_lineage(document: TrainInput) -> Iterator[Lineage]:
    """Read and check the training set, then own the lineage.

    Raises what read_training_set and owning raise.
    """
    workspace, hyperparameters = Workspace(document.workspace), document.hyperparameters
    training_set = read_training_set(workspace.data(document.data_key), document.dataset_digest)
    facts = LineageFacts(
        hidden_units=hyperparameters.hidden_units,
        alphabet=training_set.alphabet,
        seed=hyperparameters.seed,
        dataset_digest=training_set.digest,
    )
    owner = Owner(owner=document.owner, attempt=document.attempt)
    with owning(workspace.checkpoints(document.lineage), owner) as ownership:
        store = CheckpointStore(ownership, facts, document.checkpoints.keep)
        yield Lineage(training_set, document.language, facts, ownership, store)
