"""The progress of `speechmodel run`: bars on a terminal, plain lines elsewhere."""

import asyncio
import os
import signal
import sys
import time
from types import TracebackType
from typing import Protocol, Self

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Column
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import ConditionType, SpeechModelStatus, StageState, StageStatus
from speechmodel_api.times import format_time
from speechmodel_plan.plan import Report

from speechmodel_cli import wording

LINE_SECONDS = 1.0
"""Shortest time between two lines about epochs."""


class Board(Protocol):
    """Shows the runs of stages."""

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """Show that a run started; `again` is true after one for the same key that did not succeed."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """Show the progress of the run."""

    def end(self, entry: StageStatus) -> None:
        """Show that the run succeeded, failed or was stopped."""

    def __enter__(self) -> Self:
        """Start the display."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """End the display and leave its text in place."""


class Display:
    """Watches an engine, and shows on a board the runs that begin and end."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.began = 0
        """Number of runs that were started."""
        self.ready = asyncio.Event()
        """Set once a version matches the manifest, or is served although the manifest cannot be carried out."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """Show a progress record."""
        self._board.progressed(stage, record)

    def reported(self, before: SpeechModelStatus, report: Report) -> None:
        """Show the runs that began or ended in this step."""
        for entry in report.status.stages:
            old = before.stage(entry.name)
            was_running = old is not None and old.state is StageState.RUNNING
            if was_running and entry.state is not StageState.RUNNING:
                self._board.end(entry)
            if report.started is entry.name:
                self.began += 1
                again = old is not None and old.key == entry.key and old.state is not StageState.SUCCEEDED
                self._board.begin(entry, again=again)
        ready = report.status.condition(ConditionType.READY)
        if ready is not None and ready.status == "True" and report.status.condition(ConditionType.RECONCILING) is None:
            self.ready.set()


class Bars:
    """Shows a line for each run, with a bar while it runs. Only the text wraps in a narrow terminal."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[StageName, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.fields[mark]} {task.description:<9}"),
            BarColumn(bar_width=24, table_column=Column(no_wrap=True)),
            TimeElapsedColumn(table_column=Column(no_wrap=True)),
            TextColumn("{task.fields[text]}", table_column=Column(overflow="fold")),
            console=console,
            refresh_per_second=5,
        )

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """Add a line."""
        text = "starting again" if again else "starting"
        self._tasks[entry.name] = self._progress.add_task(entry.name.value, total=None, mark=" ", text=text)

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """Move the bar."""
        if (task := self._tasks.get(stage)) is None:
            return
        if isinstance(record, TrainProgress):
            done, total = record.epoch + record.fraction, float(record.max_epochs)
        else:
            done, total = float(record.done), float(record.total)
        self._progress.update(task, completed=min(done, total), total=total or None, text=wording.progress(record))

    def end(self, entry: StageStatus) -> None:
        """Fill the bar, or show why the run did not succeed."""
        if (task := self._tasks.pop(entry.name, None)) is None:
            task = self._progress.add_task(entry.name.value, total=1, mark=" ", text="")
        self._progress.stop_task(task)
        if entry.state is StageState.SUCCEEDED:
            text = escape(wording.outcome(entry))
            self._progress.update(task, completed=1, total=1, mark="[green]✔[/]", text=text)
        else:
            self._progress.update(task, mark="[yellow]![/]", text=escape(_why(entry)))

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._progress.stop()


class Lines:
    """Writes a line when a run begins or ends, and at most once a second for an epoch."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epoch = 0
        self._written_at = 0.0

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """Write `train: started`."""
        self._epoch = 0
        self._write(f"{entry.name.value}: started{' again' if again else ''}")

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """Write `train: epoch 12/75  loss 34.2`."""
        now = time.monotonic()
        if isinstance(record, TrainProgress) and record.epoch > self._epoch and now - self._written_at >= LINE_SECONDS:
            self._write(f"{stage.value}: {wording.progress(record)}")
            self._epoch, self._written_at = record.epoch, now

    def end(self, entry: StageStatus) -> None:
        """Write `train: done, ...`."""
        done = entry.state is StageState.SUCCEEDED
        self._write(f"{entry.name.value}: " + (f"done, {wording.outcome(entry)}" if done else _why(entry)))

    def _write(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pass


class Terminal(Console):
    """A console that treats a closed pipe as a hang-up, so that the running stage saves its work."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        """Discard further output, and end as if a terminal had been closed."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        signal.raise_signal(signal.SIGHUP)


def board_for(console: Console) -> Board:
    """Return bars for a terminal and lines for everything else."""
    return Bars(console) if console.is_terminal else Lines(console)


def _why(entry: StageStatus) -> str:
    if entry.state is StageState.WAITING and entry.retry_at is None:
        return "stopped, with everything saved"
    again = f"; retrying at {format_time(entry.retry_at)}, press Ctrl-C to stop" if entry.retry_at else ""
    return f"{entry.reason}: {entry.message}{again}"
