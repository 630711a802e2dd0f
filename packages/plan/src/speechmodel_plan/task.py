"""Task: the part of the observed state that keys and input documents are made from."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict

from speechmodel_api import keys
from speechmodel_api.schema import S3Location, S3Target
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
    """The checkpoint of training.initFrom, as train sees it, if it is on a claim."""
    negatives: PurePosixPath | None = None
    """The folder of dataset.negatives.source, as prepare sees it, if it is on a claim."""
    served: ModelStatus | None = None
    """Version that is served, or None before the first one."""

    @property
    def recordings(self) -> PurePosixPath:
        """Folder of the recordings and of what lies beside them: the claim's, or that of the downloads from
        the bucket.
        """
        s3 = self.spec.dataset.source.s3
        return self.downloads(s3) if s3 else self.dataset

    @property
    def other_speech(self) -> PurePosixPath | None:
        """Folder of dataset.negatives.source: on the claim, or that of the downloads from the bucket."""
        s3 = negatives_bucket(self.spec)
        return self.downloads(s3) if s3 else self.negatives

    @property
    def checkpoint(self) -> PurePosixPath | None:
        """The checkpoint that training begins with: on the claim, or as it was downloaded from the bucket."""
        if self.spec.training.init_from is None:
            return None
        s3 = checkpoint_bucket(self.spec)
        return self.downloads(s3) if s3 else self.init_from

    def downloads(self, s3: S3Location) -> PurePosixPath:
        """Return the folder of the downloads from a bucket."""
        return PurePosixPath(Workspace(self.workspace).source(keys.source_key(s3)))

    def common(self, key: str, attempt: int) -> CommonInput:
        """Return the fields that every input document has."""
        return {"key": key, "attempt": attempt, "owner": self.owner.uid, "workspace": self.workspace}


def checkpoint_bucket(spec: SpeechModelSpec) -> S3Target | None:
    """Return the bucket of the checkpoint that training begins with. None without one, and for one on a claim."""
    return spec.training.init_from.s3 if spec.training.init_from else None


def negatives_bucket(spec: SpeechModelSpec) -> S3Target | None:
    """Return the bucket of dataset.negatives.source. None without one, and for one on a claim."""
    source = spec.dataset.negatives.source
    return source.s3 if source else None
