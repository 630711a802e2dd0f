"""The stage program train, which sends itself a signal after a given optimizer step:
`interrupted_training.py TERM|KILL|STOP step`. With STOP, a step waits 30 s for a worker that hangs, instead of minutes.
"""

import os
import signal
import sys
from typing import Any

from speechmodel_api.stages.train import TrainInput
from speechmodel_stagekit.program import run_stage
from speechmodel_training.learner import Batch, Learner
from speechmodel_training.train import train
from speechmodel_training.workers import Workers

SIGNAL, STEP = signal.Signals[f"SIG{sys.argv[1]}"], int(sys.argv[2])
train_undisturbed = Learner.train


def train_and_signal(self: Learner, batch: Batch, *run: Any) -> None:
    train_undisturbed(self, batch, *run)
    if self.step == STEP:
        os.kill(os.getpid(), SIGNAL)


if SIGNAL == signal.SIGSTOP:
    Workers.totals.__defaults__ = (30.0,)
Learner.train = train_and_signal  # type: ignore[method-assign, assignment] # a fault at a known place
run_stage(TrainInput, train, handles_stop=True)
