"""What an engine saw: the only input of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePosixPath

from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages import StageName
from speechmodel_api.status import SpeechModelStatus

STUCK = "PodStuck"
"""Reason of a pod that does not end although its grace period is over: its node is lost."""
RETRY_ANNOTATION = "speechops.dev/retry"


class RunState(Enum):
    """Where one run of a stage program stands."""

    PENDING = "pending"
    """Made, and not executing yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDING = "ending"
    """Deleted, and something of it may still execute: neither usable nor absent."""


ALIVE = frozenset({RunState.PENDING, RunState.RUNNING, RunState.ENDING})


@dataclass(frozen=True)
class Trouble:
    """Why something stands still: what the scheduler, the kubelet or the kernel said."""

    reason: str
    message: str
    final: bool = False
    """Whether it stays so until somebody edits something."""


@dataclass(frozen=True)
class Run:
    """One run of a stage: a Job with its pods, or a subprocess."""

    name: str
    stage: StageName
    key: str
    attempt: int
    settings: str
    """Hash of the pod settings that it was made with."""
    state: RunState
    created_at: datetime
    started_at: datetime | None = None
    """When its program began; None before, and where nobody can tell."""
    finished_at: datetime | None = None
    exit_code: int | None = None
    """None while it runs, and when the pod vanished before anybody could read it."""
    result: str | None = None
    """The termination log."""
    trouble: Trouble | None = None
    progress: TrainProgress | StepProgress | None = None


@dataclass(frozen=True)
class Claim:
    """The workspace claim."""

    name: str
    uid: str
    owned: bool
    """Whether it goes when the SpeechModel goes."""


@dataclass(frozen=True)
class Server:
    """The Deployment."""

    version: str
    """Of its pod template."""
    replicas: int
    ready_replicas: int
    settled: bool
    """Every replica is of the newest template and ready."""
    trouble: Trouble | None = None


@dataclass(frozen=True)
class Purge:
    """The Job that removes what was published."""

    finished: bool
    failure: Trouble | None = None
    created_at: datetime | None = None
    """None when it could not even be made."""


@dataclass(frozen=True)
class Identity:
    """Which SpeechModel."""

    namespace: str
    name: str
    uid: str


@dataclass(frozen=True)
class Observed:
    """Everything that a plan is made from."""

    identity: Identity
    generation: int
    spec: SpeechModelSpec
    status: SpeechModelStatus
    now: datetime
    workspace: PurePosixPath
    """Where stages find the model's folder."""
    dataset: PurePosixPath
    """Where prepare finds the dataset."""
    settings: Mapping[StageName, str] = field(default_factory=dict)
    """Hash of the pod settings that each stage would be run with now."""
    runs: tuple[Run, ...] = ()
    claim: Claim | None = None
    server: Server | None = None
    purge: Purge | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleted_at: datetime | None = None
    training_clock: timedelta = timedelta(seconds=10)
    """How often the trainer's progress is looked at."""
    finalizer: bool = False
    """Whether ours is set."""
    interrupted: bool = False
    """Whether somebody is ending the engine, so that nothing more may be started."""

    def run(self, name: str | None) -> Run | None:
        """The run of that name."""
        return next((run for run in self.runs if run.name == name), None)

    @property
    def retry_token(self) -> str | None:
        """The value of the annotation that asks for another try."""
        return self.annotations.get(RETRY_ANNOTATION)
