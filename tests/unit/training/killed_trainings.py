"""The stage program train in one process after another, each of which kills itself: `killed_trainings.py MOMENTS`.

The processes are forks of this one, which has imported TensorFlow and has not started its threads. So they need not
import it again, which takes seconds. MOMENTS is a JSON list of Moment.
"""

import itertools
import json
import os
import signal
import sys
from dataclasses import dataclass
from typing import Any, NoReturn

import psutil

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


def main(moments: list[Moment]) -> None:
    import speechmodel_training.train  # noqa: F401 # before the forks

    assert psutil.Process().num_threads() == 1, "only a process of one thread can be forked safely"
    for attempt, moment in enumerate(moments, start=1):
        child = os.fork()
        if not child:
            run(attempt, moment)
        status = os.waitpid(child, 0)[1]
        assert os.WIFSIGNALED(status), f"attempt {attempt} was not killed at {moment}: status {status}"


def run(attempt: int, moment: Moment) -> NoReturn:
    from speechmodel_api.stages.train import TrainInput
    from speechmodel_stagekit.program import run_stage
    from speechmodel_training.learner import Batch, Learner
    from speechmodel_training.saving import SaveTimer
    from speechmodel_training.train import train

    train_undisturbed, steps = Learner.train, itertools.count(1)

    def train_and_count(self: Learner, batch: Batch, *run: Any) -> None:
        train_undisturbed(self, batch, *run)
        if next(steps) == moment.steps:
            die()

    Learner.train = train_and_count  # type: ignore[method-assign, assignment]
    SaveTimer.due = lambda self: True  # type: ignore[method-assign] # saves follow each other without a pause
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
    main([Moment(**moment) for moment in json.loads(sys.argv[1])])
