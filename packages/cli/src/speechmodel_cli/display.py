"""What `speechmodel run` shows while it works: bars on a terminal, plain lines elsewhere."""

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
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.stages import StageName
from speechmodel_api.status import ConditionType, SpeechModelStatus, StageState, StageStatus
from speechmodel_plan.plan import Report

from speechmodel_cli import wording

LINE_SECONDS = 1.0
"""Least time between two lines about epochs."""


class Board(Protocol):
    """Where stages are shown."""

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """A run was started; `again`: after one for the same key that came to nothing."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """It got further."""

    def end(self, entry: StageStatus) -> None:
        """It succeeded, failed or was stopped."""

    def __enter__(self) -> Self:
        """From now on it shows."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        """What is shown stays, and nothing is added."""


class Display:
    """Watches an engine and tells a board which runs begin and end."""

    def __init__(self, board: Board) -> None:
        self._board = board
        self.began = 0
        """Runs that were started."""
        self.ready = asyncio.Event()
        """Set once the model is as the manifest wants it."""

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """As it comes."""
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
        if ready is not None and ready.status == "True":
            self.ready.set()


class Bars:
    """A line for each run, the running one with a bar."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tasks: dict[StageName, TaskID] = {}
        self._progress = Progress(
            TextColumn("{task.fields[mark]} {task.description:<9}"),
            BarColumn(bar_width=24),
            TimeElapsedColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            refresh_per_second=5,
        )

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """A new line."""
        text = "starting again" if again else "starting"
        self._tasks[entry.name] = self._progress.add_task(entry.name.value, total=None, mark=" ", text=text)

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """The bar moves."""
        if (task := self._tasks.get(stage)) is None:
            return
        if isinstance(record, TrainProgress):
            done, total = record.epoch + record.fraction, float(record.max_epochs)
        else:
            done, total = float(record.done), float(record.total)
        self._progress.update(task, completed=min(done, total), total=total or None, text=wording.progress(record))

    def end(self, entry: StageStatus) -> None:
        """The bar is full, or the line says why not."""
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
    """A line when something begins or ends, and for epochs, one each second at most."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._epoch = 0
        self._said = 0.0

    def begin(self, entry: StageStatus, *, again: bool) -> None:
        """`train: started`."""
        self._epoch = 0
        self._say(f"{entry.name.value}: started{' again' if again else ''}")

    def progressed(self, stage: StageName, record: TrainProgress | StepProgress) -> None:
        """`train: epoch 12/75  loss 34.2`."""
        now = time.monotonic()
        if isinstance(record, TrainProgress) and record.epoch > self._epoch and now - self._said >= LINE_SECONDS:
            self._say(f"{stage.value}: {wording.progress(record)}")
            self._epoch, self._said = record.epoch, now

    def end(self, entry: StageStatus) -> None:
        """`train: done, ...`."""
        done = entry.state is StageState.SUCCEEDED
        self._say(f"{entry.name.value}: " + (f"done, {wording.outcome(entry)}" if done else _why(entry)))

    def _say(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        pass


class Terminal(Console):
    """A console whose reader may go away: that counts as a hang-up, so that what runs saves its work."""

    def __init__(self) -> None:
        super().__init__(highlight=False)

    def on_broken_pipe(self) -> None:
        """Say nothing more and end as when a terminal is closed."""
        self.quiet = True
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
        signal.raise_signal(signal.SIGHUP)


def board_for(console: Console) -> Board:
    """Bars where somebody looks, lines where a file does."""
    return Bars(console) if console.is_terminal else Lines(console)


def _why(entry: StageStatus) -> str:
    if entry.state is StageState.WAITING and entry.retry_at is None:
        return "stopped, with everything saved"
    again = f"; tried again at {entry.retry_at}, Ctrl-C ends" if entry.retry_at else ""
    return f"{entry.reason}: {entry.message}{again}"
