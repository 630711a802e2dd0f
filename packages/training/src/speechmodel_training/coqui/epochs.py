"""Coqui's epochs: its lines become finished epochs, the best checkpoint and progress records."""

import logging
import math
import re
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime

from speechmodel_api.learning import LearningSettings
from speechmodel_api.progress import TrainProgress
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.train import TrainInput
from speechmodel_stagekit.errors import ArtefactMissing, Stopped, TryAgain
from speechmodel_stagekit.program import report, stop_requested

from speechmodel_training.clocks import CpuUse, Pace, family_seconds
from speechmodel_training.coqui.flags import train_flags
from speechmodel_training.coqui.program import CheckpointUnreadable, run
from speechmodel_training.coqui.state import (
    BEST_NAME,
    checkpoints,
    keep_best,
    point_to,
    prune,
    put_aside,
    read_state,
    remove,
    step_of,
    write_state,
)
from speechmodel_training.dataset import TrainingSet
from speechmodel_training.epochs import EpochRecord
from speechmodel_training.errors import CheckpointsDamaged, LossDiverged
from speechmodel_training.ownership import Ownership
from speechmodel_training.unused_settings import unused_settings

log = logging.getLogger(__name__)

_TRAINED = re.compile(r"I Finished training epoch \d+ - loss: (\S+)")
_VALIDATED = re.compile(r"I Finished validating epoch \d+ on .* - loss: (\S+)")
_REDUCED = re.compile(r"I Encountered a plateau, reducing learning rate to (\S+)")
_BEGINS = "I Training epoch "
_STOPS_EARLY = "I Early stop triggered"
_EPOCH_ENDS = "-" * 80
_NEARLY_ZERO = 0.1
"""Loss of an epoch after which 0.000000 may be that of a network that has learned every clip."""
_CHECK_SECONDS = 1.0
_ALMOST = 0.99
"""Largest share of the running epoch that is reported, since its time is only guessed."""


class Epochs:
    """Trains a lineage up to its number of epochs."""

    def __init__(
        self, document: TrainInput, training_set: TrainingSet, settings: LearningSettings, ownership: Ownership
    ) -> None:
        self._document = document
        self._clips = len(training_set.train)
        self._dev = len(training_set.dev)
        self._settings = settings
        self._ownership = ownership
        self._folder = ownership.folder
        self._batch_size = min(settings.batch_size, self._clips)
        self._steps = self._clips // self._batch_size
        self.state = read_state(self._folder).towards(document.key)
        self._rate = settings.learning_rate
        self._reduced_to: float | None = None
        self._step = self.state.history[-1].step if self.state.history else 0
        self._best_of_run = (math.inf, 0)
        self._began = self._checked = time.monotonic()
        self._in_epoch = False
        self._cpu_use = CpuUse(family_seconds)
        self._seconds = self._loss = 0.0
        self._dev_loss: float | None = None
        self._pace = Pace(self.state.epoch)
        self._unused = list(self._unused_settings())

    def run(self) -> None:
        """Train until the number of epochs is reached, or until Coqui stops early.

        Raises Stopped after SIGTERM, LossDiverged, CheckpointsDamaged when none of its checkpoints can be read,
        and what program.run raises.
        """
        for sentence in self._unused:
            log.warning("%s", sentence)
        self._report()
        unreadable: list[str] = []
        while self.state.epoch < self._settings.max_epochs and not self.state.stopped_early:
            self._forget_unrecorded_epochs()
            found = checkpoints(self._folder)
            if not found and (unreadable or self.state.history):
                raise CheckpointsDamaged(self._folder, unreadable or ["it has none that is complete"])
            self.state = self.state.at(found)
            try:
                self._train(found[-1] if found else None)
            except LossDiverged:
                self._forget_running_epoch()
                raise
            except CheckpointUnreadable as error:
                if not found:
                    raise
                log.warning("%s cannot be read: %s; falling back to the checkpoint before", found[-1], error)
                unreadable.append(f"{found[-1]}: {error}")
                put_aside(self._folder, found[-1])

    def check(self) -> None:
        """Raise Stopped after SIGTERM, and Superseded when a newer attempt has taken over."""
        if stop_requested.is_set():
            raise Stopped(
                f"stopped: {self.state.epoch} epochs finished. Coqui saves nothing when it is stopped, so the running epoch "
                f"begins again, from the checkpoint of the last {self._document.checkpoints.every_seconds} s if there is one"
            )
        if time.monotonic() - self._checked > _CHECK_SECONDS:
            self._ownership.check()
            prune(self._folder, self._document.checkpoints.keep, self.state.ends, self._step + self._steps)
            self._checked = time.monotonic()
            if self._in_epoch:
                self._report()

    def _train(self, checkpoint: str | None) -> None:
        """Let Coqui train the epochs that are left, from a checkpoint or from random weights."""
        left = self._settings.max_epochs - self.state.epoch
        # with reduceOnPlateau, the rate of the checkpoint may be a reduced one
        new_rate = self.state.learning_rate != self._settings.learning_rate
        set_rate = new_rate or self._document.reduce_on_plateau is None
        self._step, self._best_of_run, ends = 0, (math.inf, 0), self.state.ends
        if checkpoint:
            log.info("continuing from %s after %d epochs", checkpoint, self.state.epoch)
            point_to(self._folder, checkpoint)
            self._step = self.state.best_step if checkpoint == BEST_NAME else step_of(checkpoint)
            ends = ends | {checkpoint: self.state.epoch}
        self._rate = self._settings.learning_rate
        if checkpoint and not set_rate:
            self._rate = self.state.rates.get(checkpoint, self.state.rate or self._rate)
        self._write(learning_rate=self._settings.learning_rate, ends=ends)
        self._in_epoch = False
        flags = train_flags(
            self._document,
            self._settings,
            self._folder,
            epochs=left,
            batch_size=self._batch_size,
            dev=bool(self._dev),
            load="last" if checkpoint else "init",
            set_rate=set_rate,
        )
        with closing(run("train", flags, self.check)) as lines:
            for line in lines:
                self._hear(line)
        if self.state.epoch < self._settings.max_epochs and not self.state.stopped_early:
            raise TryAgain(
                Reason.INTERNAL_ERROR,
                f"Coqui ended without an error after {self.state.epoch} of {self._settings.max_epochs} epochs; its log may say why",
            )

    def _hear(self, line: str) -> None:
        """Take in a line of Coqui's log."""
        if line.startswith(_BEGINS):
            self._began, self._dev_loss, self._in_epoch = time.monotonic(), None, True
        elif match := _TRAINED.fullmatch(line):
            self._seconds = time.monotonic() - self._began
            self._loss = self._finite(float(match[1]), "the training loss")
            last = self.state.history[-1].loss if self.state.history else math.inf
            if self._loss == 0 and last > _NEARLY_ZERO:  # Coqui's loss of no clips
                raise ArtefactMissing(
                    Reason.ARTEFACT_DAMAGED,
                    f"Coqui found no clip in the dataset {self._document.data_key}; the dataset is prepared again",
                )
        elif match := _VALIDATED.fullmatch(line):
            self._dev_loss = self._finite(float(match[1]), "the dev loss")
        elif match := _REDUCED.fullmatch(line):
            self._reduced_to = float(match[1])
        elif line == _EPOCH_ENDS or line.startswith(_STOPS_EARLY):
            self._finish_epoch(stopped_early=line != _EPOCH_ENDS)

    def _finish_epoch(self, *, stopped_early: bool) -> None:
        """Record the epoch whose lines were taken in.

        Coqui may be ahead of the lines by some epochs, if they are short. So the checkpoint is known by its step, and the
        best one is a copy of it, since Coqui removes its own best ones.
        """
        self._step += self._steps
        self._in_epoch = False
        epoch, name, dev_loss = self.state.epoch + 1, f"train-{self._step}", self._dev_loss
        self._ownership.check()
        best: dict[str, object] = {}
        if dev_loss is not None:
            if self.state.best_dev_loss is None or dev_loss < self.state.best_dev_loss:
                keep_best(self._folder, name)
                best = {"best_epoch": epoch, "best_step": self._step, "best_dev_loss": dev_loss}
            self._best_of_run = min(self._best_of_run, (dev_loss, self._step))
        record = EpochRecord(
            epoch=epoch,
            step=self._step,
            loss=self._loss,
            dev_loss=dev_loss,
            seconds=round(self._seconds, 3),
            clips_per_second=round(self._steps * self._batch_size / max(self._seconds, 1e-3), 1),
            learning_rate=self._rate,
        )
        saved = {name: epoch} | ({BEST_NAME: epoch} if best else {})
        self._write(
            history=(*self.state.history, record),
            ends=self.state.ends | saved,
            rates=self.state.rates | dict.fromkeys(saved, self._rate),
            rate=self._reduced_to or self._rate,
            stopped_early=stopped_early,
            **best,
        )
        if self._reduced_to is not None:
            log.info("the dev loss is on a plateau: Coqui went back to step %d, its best one", self._best_of_run[1])
            self._rate, self._reduced_to, self._step = self._reduced_to, None, self._best_of_run[1]
        self._report()

    def _finite(self, loss: float, name: str) -> float:
        if not math.isfinite(loss):
            raise LossDiverged(self.state.epoch, name, self._settings.learning_rate)
        return loss

    def _forget_unrecorded_epochs(self) -> None:
        """Remove the checkpoints of epochs that Coqui finished and that were not recorded: they are trained again."""
        if self.state.history:
            next_end = self.state.history[-1].step + self._steps
            for name in checkpoints(self._folder):
                if name not in self.state.ends and step_of(name) >= next_end:
                    remove(self._folder, name)

    def _forget_running_epoch(self) -> None:
        """Remove the checkpoints after the last finished epoch."""
        for name in reversed(checkpoints(self._folder)):
            if name in self.state.ends:
                break
            remove(self._folder, name)

    def _write(self, **changes: object) -> None:
        self.state = self.state.changed(**changes)
        write_state(self._folder, self.state)

    def _unused_settings(self) -> Iterator[str]:
        yield from unused_settings(
            self._settings,
            self._document.schedule,
            clips=self._clips,
            dev_clips=self._dev,
            early_stop=self._document.early_stop,
            reduce_on_plateau=self._document.reduce_on_plateau,
        )
        if left_out := self._clips % self._batch_size:
            yield (
                f"Coqui leaves the {left_out} longest clips out of every epoch: they do not fill a batch; choose a batchSize "
                f"that divides the {self._clips} training clips"
            )

    def _fraction(self) -> float:
        """Return the share of the running epoch that is probably trained, if it takes as long as the last one."""
        if not (self._in_epoch and self.state.history):
            return 0.0
        return min((time.monotonic() - self._began) / max(self.state.history[-1].seconds, 1e-3), _ALMOST)

    def _report(self) -> None:
        fraction = self._fraction()
        last = self.state.history[-1] if self.state.history else None
        report(
            TrainProgress(
                epoch=self.state.epoch,
                max_epochs=self._settings.max_epochs,
                settings=self._settings,
                step=last.step if last else 0,
                fraction=fraction,
                loss=last.loss if last else None,
                dev_loss=last.dev_loss if last else None,
                clips_per_second=last.clips_per_second if last else None,
                cpu_utilization=self._cpu_use.since_last(),
                seconds_left=self._pace.seconds_left(self.state.epoch + fraction, self._settings.max_epochs),
                warning="; ".join(self._unused) or None,
                time=datetime.now(UTC),
            )
        )
