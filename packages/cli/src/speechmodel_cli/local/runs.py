"""Runs of stage programs on disk: `runs/<run>/`, the local counterpart of a Job.

run.json        stage, key, attempt and settings of the run
input.json      the input document
process.json    the process that executes it
log             stdout and stderr
result.json     the StageResult; other workers than the first have log-1, result-1.json and so on
exit_code       written last; its time is the end of the run
"""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError
from speechmodel_api.base import Document
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.progress import StepProgress, TrainProgress, last_progress
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageName
from speechmodel_api.times import Time
from speechmodel_plan.observed import Run, RunState, Trouble
from speechmodel_plan.plan import StageRun
from speechmodel_stagekit.durable import replace_file

from speechmodel_cli.local.processes import ProcessIdentity

LOG_TAIL = 64 * 1024
"""Bytes at the end of a log that are searched for the newest progress record."""
Read = TypeVar("Read", bound=BaseModel)


class RunRecord(Document):
    """The stage, key, attempt and settings of a run."""

    stage: StageName
    key: str
    attempt: int
    settings: str
    created_at: Time
    workers: int = 1


class RunFolder:
    """The folder of one run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.result = folder / "result.json"
        self._record = folder / "run.json"
        self._process = folder / "process.json"
        self._exit_code = folder / "exit_code"

    @classmethod
    def make(cls, runs: Path, start: StageRun, now: datetime) -> "RunFolder":
        """Make the folder of a run that is about to start."""
        made = cls(runs / start.name)
        made.folder.mkdir(parents=True, exist_ok=True)
        document = start.document
        replace_file(made.folder / "input.json", document.model_dump_json(by_alias=True, exclude_none=True, indent=1))
        record = RunRecord(
            stage=start.stage,
            key=document.key,
            attempt=document.attempt,
            settings=start.settings,
            created_at=now,
            workers=start.workers,
        )
        replace_file(made._record, record.model_dump_json(by_alias=True, indent=1))
        return made

    @property
    def name(self) -> str:
        """The name of the run."""
        return self.folder.name

    def note_process(self, process: ProcessIdentity) -> None:
        """Record the process that executes it."""
        replace_file(self._process, process.model_dump_json(by_alias=True))

    def process(self) -> ProcessIdentity | None:
        """Return the process that executes or executed it; None when it ended before that was recorded."""
        return _read(self._process, ProcessIdentity)

    def note_exit(self, code: int) -> None:
        """Record the exit code."""
        replace_file(self._exit_code, f"{code}\n")

    def ended(self) -> bool:
        """Return True when the exit code was recorded."""
        return self._exit_code.exists()

    def observe(self, *, alive: bool, stopping: bool, progress: TrainProgress | StepProgress | None) -> Run | None:
        """Return the run as a plan sees it; None when its folder is incomplete.

        `progress` is the newest record of a run that this process follows. For others the log is searched.
        """
        record = _read(self._record, RunRecord)
        if record is None:
            return None
        run = Run(
            name=self.name,
            stage=record.stage,
            key=record.key,
            attempt=record.attempt,
            settings=record.settings,
            state=RunState.ENDING if stopping else RunState.RUNNING,
            created_at=record.created_at,
            progress=progress or self._logged_progress(),
            workers=record.workers,
            workers_ready=record.workers,
        )
        return run if alive else self._ended(run)

    def _ended(self, run: Run) -> Run:
        code = _exit_code(self._exit_code)
        last_sign = self._exit_code if code is not None else self.log if self.log.exists() else self._record
        lost = f"{run.name} ended without an exit code: it, or this machine, was killed; see {self.log}"
        return replace(
            run,
            state=RunState.SUCCEEDED if code == ExitCode.DONE else RunState.FAILED,
            finished_at=datetime.fromtimestamp(last_sign.stat().st_mtime, UTC),
            exit_code=code,
            result=None if code is None else _text(self.result),
            trouble=Trouble(Reason.PROCESS_LOST, lost) if code is None else self._crash(code),
        )

    def _crash(self, code: int) -> Trouble | None:
        """Return the trouble of a program that ended without a result."""
        if code == ExitCode.DONE or _text(self.result):
            return None
        return Trouble(Reason.STAGE_CRASHED, f"{self.name} exited with code {code} and no result; see {self.log}")

    def _logged_progress(self) -> TrainProgress | StepProgress | None:
        try:
            with self.log.open("rb") as file:
                size = file.seek(0, 2)
                file.seek(max(0, size - LOG_TAIL))
                return last_progress(file.read().decode(errors="replace"))
        except FileNotFoundError:
            return None


def _exit_code(path: Path) -> int | None:
    text = (_text(path) or "").strip()
    return int(text) if text.isdecimal() else None


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace") or None
    except FileNotFoundError:
        return None


def _read(path: Path, document: type[Read]) -> Read | None:
    try:
        return document.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
