"""The stage program train in one attempt after another, which are killed: `killed_trainings.py ATTEMPTS`.

The processes are forks of this one, which has imported TensorFlow and has not started its threads. So they need not
import it again, which takes seconds. ATTEMPTS is a JSON list of attempts, and an attempt a list with a Moment for each worker.
"""

import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil
from speechmodel_api.exit_codes import ExitCode

WRITING = os.O_WRONLY | os.O_RDWR
CHANGES = {"os.mkdir", "os.remove", "os.rename", "os.rmdir"}


@dataclass(frozen=True)
class Moment:
    """The end of a process, by whatever comes first."""

    steps: int | None = None
    """Optimizer steps of this process."""
    changes: int | None = None
    """Changes of files that it begins, of which the last one is not made. TensorFlow's own writes do not count."""
    counted_from: str = ""
    """Part of the path of the first change that counts."""

    @property
    def comes(self) -> bool:
        """False for a worker that is not killed."""
        return bool(self.steps or self.changes)


def main(attempts: list[list[Moment]]) -> None:
    import speechmodel_training.train  # noqa: F401 # before the forks

    assert psutil.Process().num_threads() == 1, "only a process of one thread can be forked safely"
    for attempt, moments in enumerate(attempts, start=1):
        children = []
        for worker, moment in enumerate(moments):
            child = os.fork()
            if not child:
                run(attempt, moment, worker)
            children.append(child)
        ends = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
        if not any(moment.comes for moment in moments):
            assert not any(ends), f"attempt {attempt} failed: {ends}"
            continue
        killed = [end == -signal.SIGKILL for end in ends]
        # a worker may lose another one before its own moment
        assert any(killed), f"attempt {attempt} was not killed at {moments}: {ends}"
        assert all(end in (-signal.SIGKILL, ExitCode.TRY_AGAIN) for end in ends), f"attempt {attempt} ended by {ends}"
        assert all(moment.comes for moment, end in zip(moments, killed, strict=True) if end)


def run(attempt: int, moment: Moment, worker: int) -> NoReturn:
    from speechmodel_api.stages.train import TrainInput
    from speechmodel_stagekit.program import run_stage
    from speechmodel_training import workers
    from speechmodel_training.learner import Batch, Learner
    from speechmodel_training.saving import CHEAP_BEST, SaveTimer
    from speechmodel_training.train import train

    train_undisturbed, steps = Learner.train, itertools.count(1)

    def train_and_count(self: Learner, batch: Batch, *run: Any) -> None:
        train_undisturbed(self, batch, *run)
        if next(steps) == moment.steps:
            die()

    Learner.train = train_and_count  # type: ignore[method-assign, assignment]
    # saves follow each other without a pause; in each second process, those of the best averages alone
    SaveTimer.due = lambda self: attempt % 2 == 1 or self._cheap == CHEAP_BEST  # type: ignore[method-assign]
    workers._POLL, workers._LOST_AFTER = 0.1, 1.0  # they are on one machine
    if os.environ.get(workers.VARIABLE):
        config = json.loads(os.environ[workers.VARIABLE])
        os.environ[workers.VARIABLE] = json.dumps(config | {"task": {"type": "worker", "index": worker}})
    if worker:
        os.environ["STAGE_RESULT"] += f"-{worker}"
    if moment.changes:
        die_at_change(moment.changes, moment.counted_from)
    os.environ["STAGE_INPUT"] = json.dumps(json.loads(os.environ["STAGE_INPUT"]) | {"attempt": attempt})
    run_stage(TrainInput, train, handles_stop=True)


def die_at_change(number: int, counted_from: str) -> None:
    changes = itertools.count(1)
    begun = False

    def watch(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal begun
        if event in CHANGES or (event == "open" and isinstance(arguments[2], int) and arguments[2] & WRITING):
            begun = begun or counted_from in str(arguments[0])
            if begun and next(changes) == number:
                die()

    sys.addaudithook(watch)


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main([[Moment(**moment) for moment in moments] for moments in json.loads(sys.argv[1])])
