"""The queue of requests: a bounded number is decoded at once and a bounded number waits.

A request takes a place before its body is read and returns it after its answer, so places bound
the memory too.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil
from typing import Any, Generic, TypeVar

from speechmodel_inference.errors import ClientLeft, QueueFull

T = TypeVar("T")
SMOOTHING = 0.2
"""Weight of the newest decoding in the running mean that Retry-After is computed from."""


@dataclass(frozen=True)
class Decoded(Generic[T]):
    """A result, and the time that it waited and took."""

    result: T
    waited_seconds: float
    decoding_seconds: float


class DecodingQueue:
    """`decoders` threads and `waiting` more places. Every method runs on the event loop."""

    def __init__(self, *, decoders: int, waiting: int) -> None:
        self.decoders = decoders
        self.places = decoders + waiting
        self.taken = 0
        """Places of requests that upload, wait or decode."""
        self.decoding = 0
        """Recordings that are decoded now."""
        self._threads = ThreadPoolExecutor(decoders, thread_name_prefix="decoder")
        self._counting = threading.Lock()
        self._mean_seconds = 1.0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place while the context lasts. Raises QueueFull when all are taken."""
        if self.taken >= self.places:
            raise QueueFull(max(1, ceil(self.taken * self._mean_seconds / self.decoders)))
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, work: Callable[[threading.Event], T], left: Awaitable[object]) -> Decoded[T]:
        """Run `work` in a decoder thread, in the order of arrival. The caller holds a place.

        `left` completes when the client leaves. Then the event given to `work` is set, and ClientLeft is
        raised once the thread is free again. An exception of `work` is raised as it is.
        """
        abandoned, arrived = threading.Event(), time.monotonic()
        future = self._threads.submit(self._timed, work, abandoned, arrived)
        decoding = asyncio.wrap_future(future)
        leaving: asyncio.Future[object] = asyncio.ensure_future(left)
        everything: set[asyncio.Future[Any]] = {decoding, leaving}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if not decoding.done():
                abandoned.set()
                if not future.cancel():
                    await asyncio.wait({decoding})
                raise ClientLeft
            return decoding.result()
        finally:
            abandoned.set()
            future.cancel()
            leaving.cancel()

    def close(self) -> None:
        """Accept no more work and drop the work that waits."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _timed(self, work: Callable[[threading.Event], T], abandoned: threading.Event, arrived: float) -> Decoded[T]:
        began = time.monotonic()
        with self._counting:
            self.decoding += 1
        try:
            result = work(abandoned)
        finally:
            spent = time.monotonic() - began
            with self._counting:
                self.decoding -= 1
                self._mean_seconds += SMOOTHING * (spent - self._mean_seconds)
        return Decoded(result, began - arrived, spent)
