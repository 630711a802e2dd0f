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

import time
from collections.abc import Callable

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
