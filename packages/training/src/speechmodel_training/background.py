"""Writes beside training: one at a time, in the order in which they were started."""

import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType

NICE = 5
"""The thread that writes is nicer than the program by this much, as with the command nice: training comes first."""


class BackgroundWriter:
    """A thread that writes while training goes on, and one that copies what it will write.

    As a context manager it does not end before the write that is running, so that nobody else gets the lock
    of the folder until then.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints", initializer=_yield_to_others)
        self._copying = ThreadPoolExecutor(max_workers=1, thread_name_prefix="copies")
        self._running: Future[None] | None = None
        self._copies: list[Future[None]] = []

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._copying.shutdown()
        self._thread.shutdown()

    def idle(self) -> bool:
        """Return True when no write is running. Raises the error of a write that failed."""
        if self._running is None or self._running.done():
            self.wait()
            return True
        return False

    def copy(self, copy: Callable[[], None]) -> None:
        """Run `copy` now, and before the next write. That write raises its error."""
        self._copies.append(self._copying.submit(copy))

    def start(self, write: Callable[[], None]) -> None:
        """Run `write` in the thread, after the write before it has ended. Raises its error."""
        self.wait()
        self._running = self._thread.submit(_copied, self._taken_copies(), write)

    def run(self, write: Callable[[], None]) -> None:
        """Run `write` here, after the write before it has ended: nothing is trained that it could slow down."""
        self.wait()
        _copied(self._taken_copies(), write)

    def _taken_copies(self) -> list[Future[None]]:
        copies, self._copies = self._copies, []
        return copies

    def wait(self) -> None:
        """Wait for the write that is running. Raises its error."""
        running, self._running = self._running, None
        if running is not None:
            running.result()


def _copied(copies: Sequence[Future[None]], write: Callable[[], None]) -> None:
    for copy in copies:
        copy.result()
    write()


def _yield_to_others() -> None:
    """Lower the priority of this thread. Elsewhere than on Linux, the call would change the whole process."""
    if sys.platform == "linux":
        os.nice(NICE)
