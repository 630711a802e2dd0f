"""Writes beside training: one at a time, in the order in which they were started."""

from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType


class BackgroundWriter:
    """A thread that writes while training goes on.

    As a context manager it does not end before the write that is running, so that nobody else gets the lock
    of the folder until then.
    """

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoints")
        self._running: Future[None] | None = None

    def __enter__(self) -> "BackgroundWriter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._thread.shutdown()

    def idle(self) -> bool:
        """Return True when no write is running. Raises the error of a write that failed."""
        if self._running is None or self._running.done():
            self.wait()
            return True
        return False

    def start(self, write: Callable[[], None]) -> None:
        """Run `write` in the thread, after the write before it has ended. Raises its error."""
        self.wait()
        self._running = self._thread.submit(write)

    def run(self, write: Callable[[], None]) -> None:
        """Run `write` here, after the write before it has ended: nothing is trained that it could slow down."""
        self.wait()
        write()

    def wait(self) -> None:
        """Wait for the write that is running. Raises its error."""
        running, self._running = self._running, None
        if running is not None:
            running.result()
