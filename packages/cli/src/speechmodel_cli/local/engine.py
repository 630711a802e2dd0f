"""The engine that makes a plan true with subprocesses: one model, one state folder, one process at a time."""

import asyncio
import shutil
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from speechmodel_api.progress import StepProgress, TrainProgress, parse_progress
from speechmodel_api.spec import S3Location
from speechmodel_api.stages import PublishInput, StageName
from speechmodel_api.status import ConditionType, SpeechModelStatus
from speechmodel_plan.observed import RETRY_ANNOTATION, Claim, Identity, Observed, Run
from speechmodel_plan.pipeline import StageRun
from speechmodel_plan.plan import Plan
from speechmodel_plan.programs import PROGRAMS

from speechmodel_cli.local import programs
from speechmodel_cli.local.child import Child
from speechmodel_cli.local.model import LocalModel
from speechmodel_cli.local.object_store import ObjectStore
from speechmodel_cli.local.processes import identify, kill_group
from speechmodel_cli.local.runs import RunFolder
from speechmodel_cli.local.server import LocalServer
from speechmodel_cli.local.state import ModelState

SETTINGS = "local"
"""Stands for the hash of the pod settings, which are the same for every run here."""
LOOK_SECONDS = 1.0
"""Within an epoch, progress makes the plan anew no more often than this."""


class Watcher(Protocol):
    """Who is told what happens."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """A stage wrote a progress record."""

    def reported(self, before: SpeechModelStatus, plan: Plan) -> None:
        """A plan was made and done; `before` is the status that it began from."""


class LocalEngine:
    """Observes, applies and reports for one model. The caller holds the state's lock.

    Each engine asks once more for what had failed, as the annotation speechops.dev/retry does on a cluster: calling the
    command again *is* the wish to try again.
    """

    def __init__(
        self,
        model: LocalModel,
        state: ModelState,
        store: ObjectStore,
        watcher: Watcher,
        server: LocalServer | None = None,
    ) -> None:
        self._model, self._state, self._store, self._watcher, self.server = model, state, store, watcher, server
        self._record = state.record(model.spec)
        self._spec = model.local_spec(store, serve=server is not None)
        self._annotations = {RETRY_ANNOTATION: uuid.uuid4().hex[:8]}
        self._children: dict[str, Child] = {}
        self._progress: dict[str, TrainProgress | StepProgress] = {}
        self._looked = 0.0
        self.status = state.read_status()
        self.interrupted = False
        self.changed = asyncio.Event()
        """Set when it is worth making a plan."""

    async def __aenter__(self) -> Self:
        """Processes of a predecessor that was killed are ended, should the kernel not have done so."""
        for folder in self._run_folders():
            if not folder.ended() and (process := folder.process()):
                kill_group(process)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """Nothing that was started is left."""
        self.kill()
        await asyncio.gather(*(child.wait() for child in self._children.values()))
        if self.server is not None:
            await self.server.close()
        await self._store.close()

    @property
    def busy(self) -> bool:
        """Whether a program runs that was started for the plan."""
        serving = self.server is not None and self.server.running
        return serving or any(child.running for child in self._children.values())

    @property
    def suspended(self) -> bool:
        """Whether nothing may be started, by the manifest or by interrupt()."""
        return self.interrupted or self._spec.suspend

    def settled(self, look_again: timedelta | None) -> bool:
        """Whether nothing more will happen, when a plan asks to look again after `look_again`."""
        ended = self.server is not None and self.server.failed
        return not self.busy and (look_again is None or self.suspended or ended)

    def interrupt(self) -> None:
        """The first time, what runs is to save its work and end; the second time it is killed."""
        if self.interrupted:
            self.kill()
        self.interrupted = True
        if self.server is not None:
            self.server.stop()
        self.changed.set()

    def kill(self) -> None:
        """End everything at once."""
        for child in self._children.values():
            child.kill()
        if self.server is not None:
            self.server.kill()

    async def observe(self) -> Observed:
        """Everything that a plan is made from, read from the state folder."""
        claim_uid = self._state.claim_uid()
        serving = None if self.interrupted else self._spec.serving
        return Observed(
            identity=Identity(self._model.namespace, self._model.name, self._record.uid),
            generation=self._record.generation,
            spec=self._spec.model_copy(update={"suspend": self.suspended, "serving": serving}),
            status=self.status,
            now=datetime.now(UTC),
            workspace=PurePosixPath(self._state.workspace),
            dataset=PurePosixPath(self._model.dataset),
            settings=dict.fromkeys(StageName, SETTINGS),
            runs=tuple(run for folder in self._run_folders() if (run := self._observe(folder))),
            claim=Claim("workspace", claim_uid, owned=True) if claim_uid else None,
            server=self.server.observe() if self.server and serving else None,
            annotations=self._annotations,
            interrupted=self.interrupted,
        )

    async def apply(self, plan: Plan) -> None:
        """Make it true."""
        if plan.claim is not None and self._state.claim_uid() is None:
            self._state.make_claim()
            self.changed.set()
        for run in plan.stop:
            if child := self._children.get(run.name):
                child.stop(self._spec.training.termination_grace_period_seconds)
        for run in plan.discard:
            shutil.rmtree(self._state.runs / run.name)
            self.changed.set()
        if plan.start is not None:
            await self._start(plan.start)
        if self.server is not None and not self.interrupted:
            await self.server.serve(plan.serving, self.changed.set)

    async def report(self, plan: Plan) -> None:
        """Write the status if it changed, and tell the watcher."""
        before, self.status = self.status, plan.status
        if self.status != before:
            self._state.write_status(self.status)
        published = any(c.type == ConditionType.PUBLISHED and c.status == "True" for c in self.status.conditions)
        if published and self.status.model is not None:
            target = S3Location.model_validate(self._spec.publish.s3.model_dump(exclude={"secret_ref"}))
            self._state.note_target(self.status.model.version, target)
        self._watcher.reported(before, plan)

    async def _start(self, start: StageRun) -> None:
        if start.name in self._children:
            return
        self._store.require(self._model.spec.publish.s3)
        if start.stage is StageName.PREPARE:
            self._model.require_dataset()
        program = programs.command(PROGRAMS[start.stage])
        access = await self._store.open() if isinstance(start.document, PublishInput) else None
        folder = RunFolder.make(self._state.runs, start, datetime.now(UTC))
        child = await Child.start(
            program,
            environment=programs.environment(start.document, folder.result, access),
            folder=folder.folder,
            log=folder.log,
            on_line=lambda line: self._on_line(start, line),
            on_end=lambda code: self._on_end(folder, code),
        )
        self._children[start.name] = child
        if process := identify(child.pid):
            folder.note_process(process)

    def _on_line(self, start: StageRun, line: str) -> None:
        record = parse_progress(line)
        if record is None:
            return
        before = self._progress.get(start.name)
        self._progress[start.name] = record
        self._watcher.progressed(start.stage, record)
        new_epoch = isinstance(record, TrainProgress) and record.epoch != getattr(before, "epoch", None)
        if new_epoch or time.monotonic() - self._looked > LOOK_SECONDS:
            self._looked = time.monotonic()
            self.changed.set()

    def _on_end(self, folder: RunFolder, code: int) -> None:
        folder.note_exit(code)
        self.changed.set()

    def _run_folders(self) -> tuple[RunFolder, ...]:
        return tuple(RunFolder(path) for path in sorted(self._state.runs.glob("*/")))

    def _observe(self, folder: RunFolder) -> Run | None:
        child = self._children.get(folder.name)
        alive = child is not None and not folder.ended()
        return folder.observe(
            alive=alive, stopping=child is not None and child.stopping, progress=self._progress.get(folder.name)
        )
