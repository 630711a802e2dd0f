"""Progress records of the stages that count clips, recordings or bytes."""

import threading
import time
from datetime import UTC, datetime

from speechmodel_api.progress import StepProgress
from speechmodel_stagekit.program import report

INTERVAL = 1.0
"""Shortest time between two records, in seconds."""


class Steps:
    """Counts and reports steps: at the start, at most once a second, and at the end.

    Any thread may count.
    """

    def __init__(self, total: int, unit: str) -> None:
        self._total = total
        self._unit = unit
        self._done = 0
        self._lock = threading.Lock()
        self._reported_at = time.monotonic()
        self._report()

    def advance(self, count: int = 1) -> None:
        """Count `count` more steps as done."""
        with self._lock:
            self._done += count
            now = time.monotonic()
            if now - self._reported_at >= INTERVAL or self._done == self._total:
                self._reported_at = now
                self._report()

    def _report(self) -> None:
        report(
            StepProgress(done=min(self._done, self._total), total=self._total, unit=self._unit, time=datetime.now(UTC))
        )
