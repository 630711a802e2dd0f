"""Turns: a limit on work that goes on at the same time, granted in the order of due times."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager


class Turns:
    """Grants at most `most` turns at a time. The next turn goes to the request with the earliest due time, and among equal ones to the
    oldest request. asyncio.Semaphore knows only the order of the requests.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._requests: list[tuple[float, int, asyncio.Future[None]]] = []
        """A heap of due time, number and the future that is done when it is its turn. A request that was hastened is in it twice."""
        self._numbers = itertools.count()
        self._waiting: dict[Hashable, asyncio.Future[None]] = {}
        """The future of each request that waits, by who asked."""

    @asynccontextmanager
    async def take(self, who: Hashable, due: float) -> AsyncIterator[None]:
        """Wait for a turn and hold it while the block runs. `due` is a monotonic time and may be in the future. A key `who` asks for
        one turn at a time.
        """
        if self._free:
            self._free -= 1
        else:
            await self._wait(who, due)
        try:
            yield
        finally:
            self._pass_on()

    def hasten(self, who: Hashable, due: float) -> None:
        """Let a request that waits be due at another time too, if that is earlier. Without one, nothing happens."""
        if given := self._waiting.get(who):
            heapq.heappush(self._requests, (due, next(self._numbers), given))

    async def _wait(self, who: Hashable, due: float) -> None:
        given = self._waiting[who] = asyncio.get_running_loop().create_future()
        self.hasten(who, due)
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # the turn came at the same moment
                self._pass_on()
            raise
        finally:
            del self._waiting[who]

    def _pass_on(self) -> None:
        while self._requests:
            _, _, given = heapq.heappop(self._requests)
            if not given.done():
                given.set_result(None)
                return
        self._free += 1
