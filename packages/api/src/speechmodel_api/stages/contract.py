"""Input and output documents of the stage programs.

A stage program reads one input document (JSON) from the environment variable `STAGE_INPUT`. It
writes progress records (`speechmodel_api.progress`) to stdout and its log to stderr. It writes one `StageResult`
(JSON, at most `RESULT_LIMIT` bytes) to the file that `STAGE_RESULT` names, which is the termination
log of the container in Kubernetes. It exits with one of the codes in exit_codes.py.

Every stage owns folders of the workspace that are named after keys (workspace.py). A finished
folder holds a `manifest.json` (Manifest), which is written last. A stage that finds a complete
folder of its own key reports the recorded output and exits 0.
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Generic, TypeVar

from pydantic import Field

from speechmodel_api.base import Document

INPUT_VARIABLE = "STAGE_INPUT"
RESULT_VARIABLE = "STAGE_RESULT"
TERMINATION_LOG = "/dev/termination-log"
"""The file whose content Kubernetes shows in the status of a container that ended."""
RESULT_LIMIT = 2000
"""Largest size of a StageResult in bytes of UTF-8. The kubelet cuts a termination log at 4096
bytes, and those of a pod's containers at 12 kB together."""
Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 digest in hexadecimal."""
Key = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""A key as keys.py computes it."""


class StageName(StrEnum):
    """The stages in the order in which they run."""

    PREPARE = "prepare"
    DOWNLOAD = "download"
    TRAIN = "train"
    CONVERT = "convert"
    EVALUATE = "evaluate"
    PUBLISH = "publish"
    COMPARE = "compare"


class Kept(Document):
    """The parts of a workspace that stay when it is put in order."""

    folders: tuple[str, ...]
    """Folders that the spec refers to, relative to the workspace."""
    models: tuple[Digest, ...] = ()
    """Digests of models that are served."""
    seconds: Annotated[int, Field(ge=0)]
    """Time for which other folders stay after they were first found unused."""


class VolumeUse(Document):
    """The use of the volume that holds the workspace."""

    used_bytes: int
    free_bytes: int


class StageInput(Document):
    """Input of a stage that works on the workspace."""

    key: Key
    """Key of the stage, which names its folder."""
    attempt: Annotated[int, Field(ge=1)]
    """Fencing number: of two writers with the same owner, the one with the higher attempt wins."""
    owner: str = ""
    """UID of the SpeechModel. A new owner always takes over, because its predecessor was
    deleted."""
    workspace: PurePosixPath
    """Absolute path of the folder of this model on the claim."""
    kept: Kept | None = None
    """The parts of the workspace that stay when it is put in order before the stage. None leaves it as it is."""


class StageError(Document):
    """Reason and explanation of a failure."""

    reason: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")]
    """One CamelCase word for a condition, such as InvalidDataset (reasons.py)."""
    message: str
    """One sentence that says what happened, to which file or field, and what to do."""


Output = TypeVar("Output", bound=Document)


class StageResult(Document, Generic[Output]):
    """Content of the termination log: either an output or an error."""

    output: Output | None = None
    error: StageError | None = None
    storage: VolumeUse | None = None
    """Use of the workspace's volume at the end. None without a workspace, and when it cannot be read."""


class ManifestFile(Document):
    """One file of a finished folder."""

    size_bytes: int
    sha256: Digest


class Manifest(Document, Generic[Output]):
    """`manifest.json`: the files that a finished folder holds, and the output of its stage."""

    files: dict[str, ManifestFile]
    """Files by path relative to the folder."""
    output: Output
