"""When the trainer saves.

- at the end of an epoch, when that is cheap: the last save took less than 2 % of the time since;
- anywhere else, when `everySeconds` have passed since the last save;
- always when it is stopped and when it is done.

With every save the best dev epoch's weights are on disk too: whatever happens next, the same weights are exported in the end.
"""

import time
from collections.abc import Callable

CHEAP = 0.02


class SaveTimer:
    """Tells when a save is due."""

    def __init__(self, every_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._every_seconds = every_seconds
        self._last = self._clock()
        self._cost: float | None = None

    def due(self) -> bool:
        """Whether the next save can wait no longer."""
        return self._clock() - self._last >= self._every_seconds

    def due_at_epoch_end(self) -> bool:
        """Whether a save costs next to nothing here. The first one is always tried, since its cost is not known yet."""
        return self.due() or self._cost is None or self._cost < CHEAP * (self._clock() - self._last)

    def saved(self, cost: float) -> None:
        """A save just ended and took `cost` seconds."""
        self._last, self._cost = self._clock(), cost
