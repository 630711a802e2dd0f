"""The moments at which the trainer saves:

- at the end of an epoch, when that is cheap: the last save took less than 2 % of the time since;
- anywhere else, when `everySeconds` have passed since the last save;
- always when it is stopped and when it is done.

The averages of the best dev epoch, a quarter of a checkpoint, are saved at its end, if the last such save took less than half of the
time since, so that a stop need not write them too.

A save is written beside training (background.py), and no save starts before the one before it has ended. With
every save the averages of the best dev epoch are on disk too, so an interruption never changes
the exported weights.
"""

import logging
import threading
import time
from collections.abc import Callable
from functools import partial
from types import TracebackType

from speechmodel_training.background import BackgroundWriter
from speechmodel_training.checkpoints import Checkpoint, CheckpointStore, SaveGivenUp
from speechmodel_training.learner import Tensors

log = logging.getLogger(__name__)

CHEAP = 0.02
"""Largest share of the time since the last save that a cheap save takes."""
CHEAP_BEST = 0.5
"""The same share for a save of the best averages."""


class SaveTimer:
    """Decides when a save is due."""

    def __init__(self, every_seconds: float, clock: Callable[[], float] = time.monotonic, cheap: float = CHEAP) -> None:
        self._clock = clock
        self._every_seconds, self._cheap = every_seconds, cheap
        self._last = self._clock()
        self._cost: float | None = None

    def due(self) -> bool:
        """Return True when the next save can wait no longer."""
        return self._clock() - self._last >= self._every_seconds

    def due_at_epoch_end(self) -> bool:
        """Return True when a save is cheap at this epoch end.

        The first one is always tried, since its cost is unknown.
        """
        return self.due() or self._cost is None or self._cost < self._cheap * (self._clock() - self._last)

    def saved(self, cost: float) -> None:
        """Record that a save just ended and took `cost` seconds."""
        self._last, self._cost = self._clock(), cost


class Saves:
    """The saves of a training, of its newest step and of its best epoch. Without a store, nothing is saved.

    As a context manager it does not end before the save that is running.
    """

    def __init__(
        self,
        store: CheckpointStore | None,
        every_seconds: float,
        saved_at: tuple[int, int],
        current: Callable[[], Checkpoint],
        require_good: Callable[[Tensors], None],
    ) -> None:
        """Take the epoch and step that are on the disk, the function that returns the checkpoint to save now, and one that
        raises LossDiverged for tensors that are infinite or NaN.
        """
        self._store = store
        self._saved_at = saved_at
        self._current = current
        self._require_good = require_good
        self._timer = SaveTimer(every_seconds)
        self._best_timer = SaveTimer(every_seconds, cheap=CHEAP_BEST)
        self._given_up = threading.Event()
        self._writer = BackgroundWriter()
        self._best: Checkpoint | None = None

    def __enter__(self) -> "Saves":
        self._writer.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.__exit__(kind, error, traceback)

    def after_step(self, position: tuple[int, int]) -> None:
        """Start a save at this epoch and step if one is due. Raises the error of a save that failed."""
        if self._writer.idle() and self._timer.due():
            self._start(position)

    def after_epoch(self, position: tuple[int, int], best: Checkpoint | None) -> None:
        """Start the save that is due or cheap after an epoch, whose averages are `best` if its dev loss is the lowest.

        Raises the error of a save that failed.
        """
        self._best = best or self._best
        if self._writer.idle():
            if self._timer.due_at_epoch_end():
                self._start(position)
            elif self._store and self._best and self._best_timer.due_at_epoch_end():
                self._writer.start(partial(self._write_best, self._store, self._best))
                self._best = None

    def to_the_end(self, position: tuple[int, int]) -> None:
        """Save what is not on the disk, and wait until it is. A checkpoint of an earlier step that is being written is given up."""
        given_up, best = self._given_up, self._best
        if best is not None and best.state.step == position[1]:
            self._best = None  # its averages are in the checkpoint, which nothing gives up
        if (write := self._due_write(position)) is not None:
            if self._store is not None:
                self._store.give_up(given_up)
            self._writer.run(write)
        self._writer.wait()

    def _start(self, position: tuple[int, int]) -> None:
        """Save the best averages and the current state beside training, unless they were saved before."""
        if (write := self._due_write(position)) is not None:
            self._writer.start(write)

    def _due_write(self, position: tuple[int, int]) -> Callable[[], None] | None:
        """Return the write of the best averages and the current state, or None if they were saved before."""
        if self._store is None or position == self._saved_at:
            return None
        best, self._best = self._best, None
        self._saved_at = position
        self._given_up = threading.Event()
        return partial(self._write, self._store, best, self._current(), self._given_up)

    def _write(
        self, store: CheckpointStore, best: Checkpoint | None, newest: Checkpoint, given_up: threading.Event
    ) -> None:
        """Write the best averages, then the checkpoint. Runs in the thread of the writer, or in that of training at its end.

        Raises LossDiverged when a weight is infinite or NaN.
        """
        began = time.monotonic()
        if best is not None:
            self._write_best(store, best)
        try:
            store.save(newest, self._require_good, given_up)
        except (SaveGivenUp, OSError) as error:  # such as a full volume, which must not cost a stop its own checkpoint
            if not given_up.is_set():
                raise
            log.info("gave up saving step %d, since a later one is saved (%r)", newest.state.step, error)
            return
        cost = time.monotonic() - began
        self._timer.saved(cost)
        log.info("saved step %d in %.2f s", newest.state.step, cost)

    def _write_best(self, store: CheckpointStore, best: Checkpoint) -> None:
        """Write the averages of the best epoch, as `_write` does."""
        began = time.monotonic()
        store.save_best(best, self._require_good)
        self._best_timer.saved(time.monotonic() - began)
