"""The observed state: the only input of a plan."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import PurePosixPath

from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import CanaryServer, SpeechModelStatus

from speechmodel_plan.task import Owner, Task

RETRY_ANNOTATION = "speechops.dev/retry"
"""A new value of this annotation asks for another attempt of a stage that has failed."""


class RunState(Enum):
    """The state of one run of a stage program."""

    PENDING = "pending"
    """Created, and not executing yet."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    ENDING = "ending"
    """The run was deleted, but its processes may still execute. It can neither be used nor ignored."""


ALIVE = frozenset({RunState.PENDING, RunState.RUNNING, RunState.ENDING})


@dataclass(frozen=True)
class Trouble:
    """A problem that the scheduler, the kubelet, the kernel or a stage program reported."""

    reason: str
    """A Reason, or one that another release of a stage program or the kubelet reported."""
    message: str
    final: bool = False
    """True when it stays until a person edits something."""


@dataclass(frozen=True)
class Run:
    """One run of a stage: a Job with its pods, or a subprocess."""

    name: str
    stage: StageName
    key: str
    attempt: int
    settings: str
    """Hash of the settings that it was created with."""
    state: RunState
    created_at: datetime
    """Time at which it was created, or at which it was last released from a queue."""
    started_at: datetime | None = None
    """Time at which its program began; None before that, or if it is unknown."""
    finished_at: datetime | None = None
    exit_code: int | None = None
    """None while it runs, and when the pod vanished before the code was read."""
    result: str | None = None
    """The termination log."""
    trouble: Trouble | None = None
    progress: TrainProgress | StepProgress | None = None
    workers: int = 1
    """Number of its programs."""
    workers_ready: int = 0
    """Number of its programs that execute."""
    relabelled: bool = False
    """True while it is suspended and has labels of the SpeechModel that were edited since, such as the queue of Kueue."""

    @property
    def stoppable(self) -> bool:
        """True when the run executes or may begin to, and was not asked to stop."""
        return self.state in (RunState.PENDING, RunState.RUNNING)


@dataclass(frozen=True)
class Claim:
    """The workspace claim."""

    name: str
    uid: str
    owned: bool
    """True when it is deleted together with the SpeechModel."""


@dataclass(frozen=True)
class Server:
    """The Deployment, or the local server."""

    version: str
    """Published version that its newest pods serve."""
    replicas: int
    ready_replicas: int
    settled: bool
    """True when every replica has the newest pod template and is ready."""
    trouble: Trouble | None = None
    complete: bool = False
    """True when no pod has an earlier template any more. Some replicas may be missing or not ready."""
    steady: bool = False
    """True when all replicas, or enough of them while an autoscaler adds more, are ready with the pod template that was applied last."""
    waits: bool = False
    """True when the engine puts off the change that is wanted."""


@dataclass(frozen=True)
class Crash:
    """The unexpected end of a server program, after which it was started again."""

    at: datetime
    message: str


@dataclass(frozen=True)
class CanaryServers:
    """The servers of a canary."""

    server: Server
    """Their Deployment."""
    pods: frozenset[str]
    """Names of the pods that there are."""
    counts: tuple[CanaryServer, ...] = ()
    """The counts of each server that could be read."""
    unread: str | None = None
    """The reason why a server that is ready could not be read."""
    crashes: tuple[Crash, ...] = ()


@dataclass(frozen=True)
class Purge:
    """The Job that removes published objects."""

    finished: bool
    created_at: datetime
    failure: Trouble | None = None
    started_at: datetime | None = None
    """Time at which its pod could be created. Time in a queue is before it."""
    queued: bool = False
    """True until Kueue admits it."""
    relabelled: bool = False
    """As that of a run."""


@dataclass(frozen=True)
class Observed:
    """Everything that a plan is made from."""

    owner: Owner
    generation: int
    spec: SpeechModelSpec
    status: SpeechModelStatus
    now: datetime
    workspace: PurePosixPath
    """The model's workspace folder, as stage programs see it."""
    dataset: PurePosixPath
    """The dataset's folder, as prepare sees it, if it is on a claim."""
    init_from: PurePosixPath | None = None
    """The checkpoint of training.initFrom, as train sees it, if it is on a claim."""
    negatives: PurePosixPath | None = None
    """The folder of dataset.negatives.source, as prepare sees it, if it is on a claim."""
    settings: Mapping[StageName, str] = field(default_factory=dict)
    """Hash of the settings that a run of each stage would be created with now."""
    runs: tuple[Run, ...] = ()
    claim: Claim | None = None
    server: Server | None = None
    canary: CanaryServers | None = None
    purge: Purge | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    deleted_at: datetime | None = None
    progress_interval: timedelta = timedelta(seconds=10)
    """Time between two readings of the trainer's progress."""
    finalizer: bool = False
    """True while our finalizer is set."""
    interrupted: bool = False
    """True while the local command is being interrupted, so that nothing more may start."""

    def run(self, name: str | None) -> Run | None:
        """Return the run of that name."""
        return next((run for run in self.runs if run.name == name), None)

    def settings_of(self, stage: StageName, *, restores: bool = False) -> str:
        """Return the hash of the settings that a run of a stage would be created with now. With `restores`, convert takes a
        published model from its bucket: it has the pod and the access of compare then.
        """
        return self.settings.get(StageName.COMPARE if restores else stage, "")

    @property
    def task(self) -> Task:
        """The part that keys and input documents are made from."""
        return Task(
            self.owner, self.spec, self.workspace, self.dataset, self.init_from, self.negatives, self.status.served
        )

    @property
    def retry_token(self) -> str | None:
        """The value of the retry annotation."""
        return self.annotations.get(RETRY_ANNOTATION)
