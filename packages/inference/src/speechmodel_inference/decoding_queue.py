"""The queue of requests: a bounded number is decoded at once and a bounded number waits.

A request takes a place before its body is read and returns it after its answer. The memory of all bodies together is
bounded by the decoders of the settings and the waiting places; an engine that adds decoders does not raise that
bound. The audio that a realtime session without turn detection has not committed is bounded in each session. Streams
have threads of their own: somebody who speaks does not wait for recordings. The preview of a recording that is
uploaded later takes no place, so that it keeps no upload out.
"""

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from speechmodel_inference.errors import ClientLeft, QueueFull, ShuttingDown

T = TypeVar("T")
STOP_SECONDS = 2.0
"""Time that a decoder is given at the end of the server to notice it."""
SMOOTHING = 0.2
"""Weight of the newest decoding in the running mean that Retry-After is computed from."""


@dataclass(frozen=True)
class Decoded(Generic[T]):
    """A result, and the time that it waited and took."""

    result: T
    waited_seconds: float
    decoding_seconds: float


class Place:
    """A place in the queue that one request holds, with the bytes of its body."""

    def __init__(self, queue: "DecodingQueue") -> None:
        self.queue = queue
        self.held_bytes = 0

    def hold(self, count: int) -> None:
        """Count bytes of the body, until the place is given back. Raises QueueFull if the bodies would exceed the bound."""
        if self.queue.held_bytes + count > self.queue.most_bytes:
            raise self.queue.full()
        self.queue.held_bytes += count
        self.held_bytes += count


class DecodingQueue:
    """`decoders` threads and `waiting` more places. Every method runs on the event loop."""

    def __init__(self, *, decoders: int, waiting: int, max_upload_bytes: int = 25 * 1024 * 1024) -> None:
        self.decoders = decoders
        self.places = decoders + waiting
        self.taken = 0
        """Places of requests that upload, wait or decode."""
        self.most_bytes = self.places * max_upload_bytes
        """Bytes that the bodies of all requests may have together."""
        self.held_bytes = 0
        """Bytes that they have."""
        self.previews = 0
        """Previews that run."""
        self.decoding = 0
        """Recordings that are decoded now."""
        self._make_threads()
        self._counting = threading.Lock()
        self._ending = asyncio.Event()
        self._mean_seconds = 1.0

    def decode_at_once(self, decoders: int) -> None:
        """Change the number of threads and places, and not the memory. Nothing may be decoding yet."""
        self.places += decoders - self.decoders
        self.decoders = decoders
        for threads in (self._threads, self._stream_threads):
            threads.shutdown(wait=False)
        self._make_threads()

    def _make_threads(self) -> None:
        """Make as many threads for streams as for recordings: those that wait for a run of a network go into it together."""
        self._threads = ThreadPoolExecutor(self.decoders, thread_name_prefix="decoder")
        self._stream_threads = ThreadPoolExecutor(self.decoders, thread_name_prefix="stream")

    @contextmanager
    def place(self) -> Iterator["Place"]:
        """Hold a place while the context lasts. Raises QueueFull when all are taken, and ShuttingDown after give_up()."""
        if self._ending.is_set():
            raise ShuttingDown
        if self.taken >= self.places:
            raise self.full()
        self.taken += 1
        place = Place(self)
        try:
            yield place
        finally:
            self.taken -= 1
            self.held_bytes -= place.held_bytes

    @contextmanager
    def preview(self) -> Iterator[None]:
        """Hold a preview while the context lasts. Raises QueueFull when requests and previews are half as many as
        places, because a preview uses the CPUs too.
        """
        if 2 * (self.taken + self.previews) >= self.places:
            raise self.full()
        self.previews += 1
        try:
            yield
        finally:
            self.previews -= 1

    def full(self) -> QueueFull:
        """Return the error of a request that finds no place, or no memory, with the time after which it may come again."""
        return QueueFull(self.taken * self._mean_seconds / self.decoders)

    async def run(self, work: Callable[[threading.Event], T], left: Awaitable[object]) -> Decoded[T]:
        """Run `work` in a decoder thread, in the order of arrival. The caller holds a place.

        `left` completes when the client leaves. Then the event given to `work` is set, and ClientLeft is
        raised once the thread is free again. After give_up(), ShuttingDown is raised when the thread is free, or after
        STOP_SECONDS at the latest. An exception of `work` is raised as it is.
        """
        abandoned, arrived = threading.Event(), time.monotonic()
        future = self._threads.submit(self._timed, work, abandoned, arrived)
        decoding = asyncio.wrap_future(future)
        leaving: asyncio.Future[object] = asyncio.ensure_future(left)
        ending = asyncio.ensure_future(self._ending.wait())
        everything: set[asyncio.Future[Any]] = {decoding, leaving, ending}
        try:
            await asyncio.wait(everything, return_when=asyncio.FIRST_COMPLETED)
            if not decoding.done():
                abandoned.set()
                decoding.add_done_callback(_read_error)
                if not future.cancel():  # it reads the body, which the caller closes
                    await asyncio.wait({decoding}, timeout=STOP_SECONDS if ending.done() else None)
                if ending.done():
                    raise ShuttingDown
                raise ClientLeft
            return decoding.result()
        finally:
            abandoned.set()
            future.cancel()
            leaving.cancel()
            ending.cancel()

    async def run_stream(self, work: Callable[[], T]) -> T:
        """Run a step of a stream, which is short, before the recordings that wait. The caller holds a place or a preview.

        The system divides the CPUs between streams and recordings. An exception of `work` is raised as it is.
        """
        return await asyncio.get_running_loop().run_in_executor(self._stream_threads, work)

    async def until_ending(self, work: Coroutine[Any, Any, T]) -> T:
        """Return the result of work that takes no thread, such as reading a body. Raises ShuttingDown after give_up().

        The work has ended when this returns or raises.
        """
        doing, ending = asyncio.ensure_future(work), asyncio.ensure_future(self._ending.wait())
        both: set[asyncio.Future[Any]] = {doing, ending}
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not doing.done():
                raise ShuttingDown
            return doing.result()
        finally:
            doing.add_done_callback(_read_error)
            ending.cancel()
            doing.cancel()
            await asyncio.wait(both)

    def give_up(self) -> None:
        """End all work with ShuttingDown, that which waits too."""
        self._ending.set()

    async def close(self, seconds: float) -> None:
        """Accept no more work, drop the work that waits, and wait at most `seconds` for that which is being done."""
        for threads in (self._threads, self._stream_threads):
            threads.shutdown(wait=False, cancel_futures=True)
        ending = threading.Thread(target=self._wait_for_threads, daemon=True)
        ending.start()
        await asyncio.to_thread(ending.join, seconds)

    def _wait_for_threads(self) -> None:
        for threads in (self._threads, self._stream_threads):
            threads.shutdown()

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


def _read_error(decoding: asyncio.Future[Any]) -> None:
    """Read the error of work that nobody waits for, so that asyncio does not log it."""
    if not decoding.cancelled():
        decoding.exception()
