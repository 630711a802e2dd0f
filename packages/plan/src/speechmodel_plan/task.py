"""Task: the part of the observed state that keys and input documents are made from."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict

from speechmodel_api import keys
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import ModelStatus
from speechmodel_api.workspace import Workspace


@dataclass(frozen=True)
class Owner:
    """Identifies a SpeechModel: namespace, name and uid."""

    namespace: str
    name: str
    uid: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class CommonInput(TypedDict):
    """The fields that every input document has."""

    key: str
    attempt: int
    owner: str
    workspace: PurePosixPath


@dataclass(frozen=True)
class Task:
    """The part of the observed state that keys and input documents are made from."""

    owner: Owner
    spec: SpeechModelSpec
    workspace: PurePosixPath
    dataset: PurePosixPath
    """Folder of the dataset claim."""
    init_from: PurePosixPath | None = None
    """The checkpoint of training.initFrom, as train sees it."""
    served: ModelStatus | None = None
    """Version that is served, or None before the first one."""

    @property
    def recordings(self) -> PurePosixPath:
        """Folder of the recordings and of what lies beside them: the claim's, or that of the downloads from
        the bucket.
        """
        s3 = self.spec.dataset.source.s3
        return PurePosixPath(Workspace(self.workspace).source(keys.source_key(s3))) if s3 else self.dataset

    def common(self, key: str, attempt: int) -> CommonInput:
        """Return the fields that every input document has."""
        return {"key": key, "attempt": attempt, "owner": self.owner.uid, "workspace": self.workspace}
