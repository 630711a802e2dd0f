"""The engine that applies plans with subprocesses: one model, one state folder, one run at a time."""

import asyncio
import shutil
import time
import uuid
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from types import TracebackType
from typing import Protocol, Self

from speechmodel_api.progress import StepProgress, TrainProgress, parse_progress
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import ConditionType, SpeechModelStatus
from speechmodel_plan.observed import RETRY_ANNOTATION, Claim, Observed, Run
from speechmodel_plan.plan import Done, Plan, Report, StageRun
from speechmodel_plan.stages import STAGES, stage_named
from speechmodel_plan.task import Owner

from speechmodel_cli.local import programs
from speechmodel_cli.local.model import LocalModel
from speechmodel_cli.local.object_store import Access, ObjectStore, reading_access, require_signing_key
from speechmodel_cli.local.processes import identify, kill_group
from speechmodel_cli.local.runs import RunFolder
from speechmodel_cli.local.server import LocalServer
from speechmodel_cli.local.state import ModelState
from speechmodel_cli.local.workers import Workers

READ_ONLY = (StageName.PREPARE, StageName.DOWNLOAD)
"""Stages whose buckets are the manifest's own, also when models are published elsewhere."""
SETTINGS = "local"
"""Stands for the hash of the pod settings, which are the same for every run here."""
LOOK_SECONDS = 1.0
"""Shortest time between two steps that are caused by progress within an epoch."""


class Watcher(Protocol):
    """Receives progress records and reports."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """Take a progress record of a stage."""

    def reported(self, before: SpeechModelStatus, report: Report) -> None:
        """Take the report of a step; `before` is the status that the step began with."""


class LocalEngine:
    """Observes, applies and reports for one model. The caller holds the state's lock.

    Running the command again is a request to retry what failed, as a new value of the annotation
    speechops.dev/retry is on a cluster.
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
        self._running: dict[str, Workers] = {}
        self._progress: dict[str, TrainProgress | StepProgress] = {}
        self._looked = 0.0
        self.status = state.read_status()
        self.interrupted = False
        self.changed = asyncio.Event()
        """Set when another step is due."""

    async def __aenter__(self) -> Self:
        """End processes that a killed predecessor left behind, in case the kernel did not."""
        for folder in self._run_folders():
            if not folder.ended() and (process := folder.process()):
                kill_group(process)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None
    ) -> None:
        """End everything that was started."""
        self.kill()
        await asyncio.gather(*(workers.wait() for workers in self._running.values()))
        if self.server is not None:
            await self.server.close()
        await self._store.close()

    @property
    def busy(self) -> bool:
        """True while a program runs that the engine started."""
        serving = self.server is not None and self.server.running
        return serving or any(workers.running for workers in self._running.values())

    @property
    def suspended(self) -> bool:
        """True while nothing may start, because of the manifest or of interrupt()."""
        return self.interrupted or self._spec.suspend

    def settled(self, look_again: timedelta | None) -> bool:
        """Return True when nothing more will happen, given the time until the next step that the plan asked for."""
        ended = self.server is not None and self.server.failed
        return not self.busy and (look_again is None or self.suspended or ended)

    def interrupt(self) -> None:
        """Let every program save its work and end. Kill them when called again."""
        if self.interrupted:
            self.kill()
        self.interrupted = True
        if self.server is not None:
            self.server.stop()
        self.changed.set()

    def kill(self) -> None:
        """End everything at once."""
        for workers in self._running.values():
            workers.kill()
        if self.server is not None:
            self.server.kill()

    async def observe(self) -> Observed:
        """Return everything that a plan is made from, read from the state folder."""
        claim_uid = self._state.claim_uid()
        serving = None if self.interrupted else self._spec.serving
        return Observed(
            owner=Owner(self._model.namespace, self._model.name, self._record.uid),
            generation=self._record.generation,
            spec=self._spec.model_copy(update={"suspend": self.suspended, "serving": serving}),
            status=self.status,
            now=datetime.now(UTC),
            workspace=PurePosixPath(self._state.workspace),
            dataset=PurePosixPath(self._model.dataset),
            init_from=PurePosixPath(initial) if (initial := self._model.init_from) else None,
            negatives=PurePosixPath(negatives) if (negatives := self._model.negatives) else None,
            settings={stage.name: SETTINGS for stage in STAGES},
            runs=tuple(run for folder in self._run_folders() if (run := self._observe(folder))),
            claim=Claim("workspace", claim_uid, owned=True) if claim_uid else None,
            server=self.server.observe() if self.server and serving else None,
            annotations=self._annotations,
            interrupted=self.interrupted,
        )

    async def apply(self, plan: Plan) -> Done:
        """Apply the plan. Raises a LocalError, which ends the command, if a part cannot be applied."""
        if plan.claim is not None and self._state.claim_uid() is None:
            self._state.make_claim()
            self.changed.set()
        for run in plan.stop:
            if workers := self._running.get(run.name):
                workers.stop()
        for run in plan.discard:
            shutil.rmtree(self._state.runs / run.name)
            self.changed.set()
        if plan.start is not None:
            await self._start(plan.start)
        if self.server is not None and not self.interrupted and not plan.keep_servers:
            await self.server.serve(plan.serving, self.changed.set)
        return Done()

    async def report(self, report: Report) -> None:
        """Write the status if it changed, and pass the report to the watcher."""
        before, self.status = self.status, report.status
        if self.status != before:
            self._state.write_status(self.status)
        published, latest = self.status.condition(ConditionType.PUBLISHED), self.status.latest_version
        if published and published.status == "True" and latest:
            self._state.note_target(latest, self._spec.publish.s3.location)
        self._watcher.reported(before, report)

    async def _start(self, start: StageRun) -> None:
        if start.name in self._running:
            return
        stage = stage_named(start.stage)
        self._store.require(self._model.spec.publish.s3)
        require_signing_key(self._model.spec.publish)
        if stage.reads_dataset(self._spec):
            self._model.require_dataset()
        if stage.needs.negatives:
            self._model.require_negatives()
        if start.stage is StageName.PREPARE:  # train would find it only after all recordings are prepared
            self._model.require_checkpoint()
            self._model.require_engine()
        if start.stage is StageName.DOWNLOAD:
            self._model.require_checkpoint_keys()
        module, _ = stage.program_for(self._spec)
        program = programs.command(module)
        access = await self._access(start)
        folder = RunFolder.make(self._state.runs, start, datetime.now(UTC))
        workers = await Workers.start(
            start.workers,
            program,
            environment=lambda result: programs.environment(start.document, result, access),
            folder=folder.folder,
            log=folder.log,
            result=folder.result,
            grace_seconds=self._spec.training.termination_grace_period_seconds,
            on_line=lambda line: self._on_line(start, line),
            on_end=lambda code: self._on_end(folder, code),
        )
        self._running[start.name] = workers
        if process := identify(workers.pid):
            folder.note_process(process)

    async def _access(self, start: StageRun) -> Access | None:
        """Return the access to the buckets that a stage needs: those that the manifest names for reading, or the store's."""
        if start.stage in READ_ONLY:
            return reading_access(start.bucket, start.negatives)
        return await self._store.open() if start.bucket else None

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
        workers = self._running.get(folder.name)
        alive = workers is not None and not folder.ended()
        return folder.observe(
            alive=alive, stopping=workers is not None and workers.stopping, progress=self._progress.get(folder.name)
        )
