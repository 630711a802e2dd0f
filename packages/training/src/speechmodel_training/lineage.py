"""All that belongs to a lineage, opened for one attempt: dataset, facts, the right to write, checkpoints."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.stages import TrainInput

from speechmodel_training.checkpoints import CheckpointStore
from speechmodel_training.dataset import Dataset, read_dataset
from speechmodel_training.ownership import Owner, Ownership, owning
from speechmodel_training.state import LineageFacts


@dataclass(frozen=True)
class Lineage:
    """A lineage that this process owns."""

    dataset: Dataset
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
    """Read and check the dataset, then take the lineage over. Errors are those of read_dataset and owning."""
    workspace, hyperparameters = Path(document.workspace), document.hyperparameters
    dataset = read_dataset(workspace / "data" / document.data_key, document.dataset_digest)
    facts = LineageFacts(
        hidden_units=hyperparameters.hidden_units,
        alphabet=dataset.alphabet,
        seed=hyperparameters.seed,
        dataset_digest=dataset.digest,
    )
    owner = Owner(owner=document.owner, attempt=document.attempt)
    with owning(workspace / "checkpoints" / document.lineage, owner) as ownership:
        store = CheckpointStore(ownership, facts, document.checkpoints.keep)
        yield Lineage(dataset, document.language, facts, ownership, store)
