"""Epochs and steps, from the newest checkpoint of the lineage to the target.

Training can stop at any time: one worker abandons the running step, several finish it first.
"""

import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from hashlib import sha256
from typing import TypeVar

from speechmodel_api.augmentation import parse
from speechmodel_api.learning import LearningSettings
from speechmodel_api.progress import TrainProgress
from speechmodel_api.training_spec import EarlyStop, Precision, ReduceOnPlateau, Schedule
from speechmodel_stagekit.errors import Stopped
from speechmodel_stagekit.program import report
from tensorflow.python.eager.cancellation import CancellationManager, CancellationManagerContext

from speechmodel_training.augmentation import Augmenter
from speechmodel_training.batches import BatchMaker
from speechmodel_training.checkpoints import Checkpoint, CheckpointStore
from speechmodel_training.clocks import Clock, CpuUse, Pace
from speechmodel_training.dataset import TrainingSet
from speechmodel_training.device import missing_gpu
from speechmodel_training.errors import LossDiverged, WorkerLost
from speechmodel_training.gpus import GpuUse
from speechmodel_training.greedy import WordErrors, greedy_texts
from speechmodel_training.history import History
from speechmodel_training.kernels import chosen_kernels, slow_precision
from speechmodel_training.learner import Learner, Tensors, sum_of_tensors
from speechmodel_training.rates import share_of_rate
from speechmodel_training.saving import Saves
from speechmodel_training.schedule import Segment, batches_left, in_order_of_length
from speechmodel_training.standardisation import Standardisation
from speechmodel_training.state import LineageFacts, TrainingState
from speechmodel_training.unused_settings import unused_settings
from speechmodel_training.workers import Workers

log = logging.getLogger(__name__)

REPORT_SECONDS = 1.0
"""Shortest time between two progress records within an epoch."""
NOTICE_SECONDS = 0.1
"""Longest time in which a stop is not noticed while a step is computed."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Target:
    """The goal of this run, and its settings."""

    key: str
    """Key of the train stage."""
    attempt: int
    settings: LearningSettings
    schedule: Schedule
    early_stop: EarlyStop | None
    reduce_on_plateau: ReduceOnPlateau | None
    augmentation: tuple[str, ...]
    """Entries, those of Auto included."""
    every_seconds: float
    """Seconds between saves at most; see saving.py."""
    precision: Precision

    @property
    def dev_augmentation(self) -> str:
        """Digest of the augmentation, by which dev losses are compared only with those of the same one."""
        return sha256("\n".join(self.augmentation).encode()).hexdigest()[:8]


class Trainer:
    """Trains a lineage on a training set, alone or as one of several workers.

    All workers hold the same weights and state, and make the same decisions. The first one alone saves and reports.
    """

    def __init__(
        self,
        training_set: TrainingSet,
        facts: LineageFacts,
        target: Target,
        workers: Workers,
        store: CheckpointStore | None = None,
        initial: Checkpoint | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """The first worker has a store, and the checkpoint that training begins with if the store has none; the others receive
        what it read. `warnings` are shown in the status while this run lasts. Raises WorkerLost and Stopped.
        """
        self._training_set = training_set
        self._workers = workers
        self._target = target
        self._store = store
        chosen = self._settings = target.settings
        self._batch_size = min(chosen.batch_size, len(training_set.train))
        self._warnings: list[str] = []
        for sentence in (
            *warnings,
            *unused_settings(
                chosen,
                target.schedule,
                clips=len(training_set.train),
                dev_clips=len(training_set.dev),
                early_stop=target.early_stop,
                reduce_on_plateau=target.reduce_on_plateau,
                augmentation=target.augmentation,
                workers=workers.count,
            ),
            *slow_precision(target.precision),
        ):
            self._warn(sentence)
        self._segment = Segment(
            batch_size=self._batch_size,
            batches_done=0,
            augmentation=target.augmentation,
            max_epochs=chosen.max_epochs,
        )
        self._learner = Learner(
            facts.geometry,
            seed=facts.seed,
            learning_rate=chosen.learning_rate,
            dropout=chosen.dropout,
            clip_norm=chosen.gradient_clip_norm,
            consistency=chosen.consistency or None,
            workers=workers,
            kernels=chosen_kernels(target.precision),
        )
        voices = [clip.path for clip in training_set.train]
        train_augmenter, dev_augmenter = (
            Augmenter(tuple(map(parse, target.augmentation)), seed=facts.seed, max_epochs=epochs, voices=voices)
            for epochs in (chosen.max_epochs, 1)
        )
        self._train_batches = BatchMaker(
            training_set.train,
            training_set.alphabet,
            train_augmenter,
            workers,
            versions=self._learner.versions,
            repeats=not target.augmentation,
        )
        self._dev_batches = BatchMaker(training_set.dev, training_set.alphabet, dev_augmenter, workers, repeats=True)
        # never shut down: the program ends without waiting for a step that was abandoned
        self._computing = ThreadPoolExecutor(max_workers=1, thread_name_prefix="step")
        self._state = TrainingState(
            facts=facts, target=target.key, attempt=target.attempt, dev_augmentation=target.dev_augmentation
        )
        if store is not None:
            self._begin(store, initial)
        if workers.count > 1:
            self._state = workers.shared(TrainingState, self._state if store else None)
            self._learner.load(workers.shared_tensors(self._learner.tensors()))
        self._learner.loss_sum = self._state.running.loss_sum
        self._saves = Saves(store, target.every_seconds, self._position, self._checkpoint, self._require_finite_tensors)
        self._history = History(store.folder, self._state.history) if store else None
        self._clock = Clock(self._state.running.seconds)
        self._pace = Pace(self._epochs_trained)
        self._cpu_use, self._gpu_use = CpuUse(), GpuUse()
        self._reported = 0.0

    def run(self) -> None:
        """Train until the target is reached and everything is saved.

        Raises Stopped after SIGTERM and WorkerLost, both with everything saved, and LossDiverged. An error of a save
        is raised after the step during which it occurred.
        """
        self._report()
        with self._saves, self._saved_when_a_worker_is_lost():
            while self._state.epoch < self._settings.max_epochs:
                if self._state.stops_early(self._target.early_stop):
                    log.info("stopping early: no lower dev loss for %d epochs", self._state.early_stop.epochs)
                    break
                self._train_epoch()
                self._finish_epoch()
            self._workers.part()
            self._saves.to_the_end(self._position)

    def _begin(self, store: CheckpointStore, initial: Checkpoint | None) -> None:
        """Continue from the newest checkpoint, or from the initial one, or begin with random weights."""
        checkpoint = store.newest() or initial
        for sentence in store.warnings():
            self._warn(sentence)
        store.forget_later_bests()
        # on a full volume, nothing can be saved before a lowered checkpoints.keep has made room
        store.prune(damaged=False)
        if checkpoint:
            self._learner.load(checkpoint.tensors)
            checkpoint.tensors.clear()  # training needs their memory
            self._state = checkpoint.state.towards(
                self._target.key, self._target.attempt, self._target.dev_augmentation
            )
        else:
            self._learner.standardise_inputs(Standardisation.of(self._training_set.train))

    def _warn(self, sentence: str) -> None:
        """Show a sentence in the log, and in the status as long as this run lasts."""
        log.warning("%s", sentence)
        self._warnings.append(sentence)

    @contextmanager
    def _saved_when_a_worker_is_lost(self) -> Iterator[None]:
        """Save the last step that all workers made, when one of them is lost."""
        try:
            yield
        except WorkerLost:
            self._saves.to_the_end(self._position)
            raise

    def _train_epoch(self) -> None:
        """Train on the batches that the running epoch has left."""
        self._state = self._state.divided_as(self._segment)
        seed, epoch, segments = self._state.facts.seed, self._state.epoch, self._state.running.segments
        left = batches_left(len(self._training_set.train), self._lengths, segments, seed=seed, epoch=epoch)
        self._clock.start()
        for batch in self._train_batches.stream(left, epoch):
            self._leave_if_stopped()
            self._learner.learning_rate = self._rate_after(batch.clips)
            self._learner.train(batch, self._unless_stopped)
            self._state = self._state.after_batch(batch.clips)
            self._clock.step_made()
            self._report_at_times()
            self._saves.after_step(self._position)

    def _lengths(self, segment: Segment) -> list[int]:
        """Return the frames of every training clip in this epoch, as they were in the segment."""
        entries = self._target.augmentation if segment.augmentation is None else segment.augmentation
        augmenter = Augmenter(
            tuple(map(parse, entries)),
            seed=self._state.facts.seed,
            max_epochs=segment.max_epochs or self._settings.max_epochs,
        )
        return BatchMaker(self._training_set.train, self._training_set.alphabet, augmenter).lengths(self._state.epoch)

    def _rate_after(self, clips: int) -> float:
        """Return the learning rate of a step on the next `clips` clips."""
        progress = (self._epochs_trained + clips / len(self._training_set.train)) / self._settings.max_epochs
        share = share_of_rate(self._target.schedule, self._settings.schedule, progress)
        if plateau := self._target.reduce_on_plateau:
            share *= plateau.factor**self._state.reductions
        return self._settings.learning_rate * share

    @property
    def _epochs_trained(self) -> float:
        """Finished epochs, and the share of the running one that is trained."""
        return self._state.epoch + self._state.running.clips / len(self._training_set.train)

    def _finish_epoch(self) -> None:
        self._leave_if_stopped()
        # an epoch that was resumed after its last batch has made no step, which would have set it
        self._learner.learning_rate = self._rate_after(0)
        state, best = self._measured(), self._state.best_dev_loss
        self._require_finite(state.running.loss_sum, "the training loss")
        dev_loss, dev_wer = self._measure_dev()
        target = self._target
        self._state = state.after_epoch(
            dev_loss=dev_loss,
            dev_wer=dev_wer,
            learning_rate=self._learner.learning_rate,
            early_stop=target.early_stop,
            plateau=target.reduce_on_plateau,
        )
        if self._state.reductions > state.reductions:
            log.info("the dev loss is on a plateau: the learning rate is reduced")
        self._learner.loss_sum = 0.0
        self._clock = Clock(0.0)
        record = self._state.history[-1]
        log.info(
            "epoch %d of %d: loss %.4f, dev loss %s, dev WER %s, %.1f s, %.0f clips/s",
            record.epoch,
            self._settings.max_epochs,
            record.loss,
            "-" if dev_loss is None else f"{dev_loss:.4f}",
            "-" if dev_wer is None else f"{dev_wer:.1%}",
            record.seconds,
            record.clips_per_second,
        )
        if self._history:
            self._history.add(record)
        lowest = dev_loss is not None and (best is None or dev_loss < best)
        averages = Checkpoint(self._checked_state(), self._learner.averages()) if lowest and self._store else None
        self._saves.after_epoch(self._position, averages)
        self._report()

    def _measure_dev(self) -> tuple[float | None, float | None]:
        """Return the mean loss per dev clip and the word error rate, with the same augmentation after
        every epoch; None without dev clips.
        """
        clips, alphabet = self._training_set.dev, self._training_set.alphabet
        if not clips:
            return None, None
        total, errors = 0.0, WordErrors()
        for batch in self._dev_batches.stream(in_order_of_length(self._dev_batches.lengths(), self._batch_size)):
            self._leave_if_stopped()
            measured = self._unless_stopped(partial(self._learner.measure, batch))
            total += measured.loss_sum
            if batch.counted:
                errors.count(batch.transcripts, greedy_texts(measured.labels, batch.frames.numpy(), alphabet))
            self._report_at_times()
        self._require_finite(total, "the dev loss")
        errors = WordErrors(*self._workers.total_counts(errors.errors, errors.words))
        return total / len(clips), errors.rate

    def _unless_stopped(self, compute: Callable[[], Result]) -> Result:
        """Return the result of a computation that changes nothing.

        It runs in a thread, so a stop can save the state after the step before without waiting for it. A stop cancels it, since the
        save needs the processors. With several workers it runs here, because the others wait for it. Raises Stopped.
        """
        if self._workers.count > 1:
            return compute()
        cancellation = CancellationManager()

        def compute_unless_cancelled() -> Result:
            with CancellationManagerContext(cancellation):
                return compute()

        running = self._computing.submit(compute_unless_cancelled)
        while wait([running], NOTICE_SECONDS).not_done:
            if self._workers.stopping:
                cancellation.start_cancel()
            self._leave_if_stopped()
        return running.result()

    def _leave_if_stopped(self) -> None:
        if self._workers.stopping:
            self._workers.part()
            self._saves.to_the_end(self._position)
            raise Stopped(
                f"stopped with everything saved: {self._state.epoch} epochs finished, step {self._state.step}"
            )

    @property
    def _position(self) -> tuple[int, int]:
        """Finished epochs and steps."""
        return self._state.epoch, self._state.step

    def _checkpoint(self) -> Checkpoint:
        """Return the checkpoint of the current state. Raises LossDiverged."""
        return Checkpoint(self._checked_state(), self._learner.tensors())

    def _checked_state(self) -> TrainingState:
        """Return the current state. Raises LossDiverged."""
        state = self._measured()
        self._require_finite(state.running.loss_sum, "the training loss")
        return state

    def _require_finite_tensors(self, tensors: Tensors) -> None:
        self._require_finite(sum_of_tensors(tensors), "a weight")

    def _require_finite(self, value: float, name: str) -> None:
        if not math.isfinite(value):
            raise LossDiverged(self._state.epoch, name, self._settings.learning_rate)

    def _measured(self) -> TrainingState:
        return self._state.measured(loss_sum=self._learner.loss_sum, seconds=self._clock.seconds)

    def _report_at_times(self) -> None:
        if self._store and time.monotonic() - self._reported >= REPORT_SECONDS:
            # a newer attempt waits for our lock, and the next save may be far off
            self._store.check_ownership()
            self._report()

    def _report(self) -> None:
        if self._store is None:
            return
        state = self._measured()
        running = state.running
        self._require_finite(running.loss_sum, "the training loss")
        last = state.history[-1] if state.history else None
        loss = running.loss_sum / running.clips if running.clips else None
        speed = running.clips / running.seconds if running.seconds else None
        report(
            TrainProgress(
                epoch=state.epoch,
                max_epochs=self._settings.max_epochs,
                settings=self._settings,
                step=state.step,
                fraction=running.clips / len(self._training_set.train),
                loss=last.loss if last else loss,
                dev_loss=last.dev_loss if last else None,
                dev_wer=last.dev_wer if last else None,
                clips_per_second=speed or (last.clips_per_second if last else None),
                cpu_utilization=self._cpu_use.since_last(),
                gpu_utilization=self._gpu_use.latest(),
                seconds_left=self._pace.seconds_left(self._epochs_trained, self._settings.max_epochs),
                warning="; ".join(filter(None, (missing_gpu(), *self._warnings))) or None,
                time=datetime.now(UTC),
            )
        )
        self._reported = time.monotonic()
