"""Task: the part of the observed state that keys and input documents are made from."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TypedDict

from speechmodel_api.spec import SpeechModelSpec


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

    def common(self, key: str, attempt: int) -> CommonInput:
        """Return the fields that every input document has."""
        return {"key": key, "attempt": attempt, "owner": self.owner.uid, "workspace": self.workspace}
