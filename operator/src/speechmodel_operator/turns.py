"""Turns: a limit for what may go on at the same time, given in the order of due times."""

import asyncio
import heapq
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Turns:
    """At most `most` turns are taken at the same time. The next one goes to the request that is due first, and of two that are due at
    the same time to the earlier request. asyncio.Semaphore knows no order but that of the requests.
    """

    def __init__(self, most: int) -> None:
        self._free = most
        self._waiting: list[tuple[float, int, asyncio.Future[None]]] = []
        """A heap of due time, number and the future that is done when it is its turn."""
        self._numbers = itertools.count()

    @asynccontextmanager
    async def take(self, due: float) -> AsyncIterator[None]:
        """Wait for a turn, and have it while the block runs. `due` is a monotonic time, which may be in the future."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(due)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, due: float) -> None:
        given = asyncio.get_running_loop().create_future()
        heapq.heappush(self._waiting, (due, next(self._numbers), given))
        try:
            await given
        except asyncio.CancelledError:
            if not given.cancelled():  # the turn came at the same moment
                self._pass_on()
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            _, _, given = heapq.heappop(self._waiting)
            if not given.done():
                given.set_result(None)
                return
        self._free += 1
