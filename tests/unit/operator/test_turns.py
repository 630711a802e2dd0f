"""Turns are limited, and granted in the order of due times."""

import asyncio

from speechmodel_operator.turns import Turns
from support.waiting import STALLED_SECONDS


class Queue:
    """Two turns, both taken, and others who wait for one. `took` names those who have had one, in their order."""

    def __init__(self) -> None:
        self.turns, self.took = Turns(2), list[str]()
        self.leave = {name: asyncio.Event() for name in ("first", "second")}
        self.tasks: dict[str, asyncio.Task[None]] = {}

    async def ask(self, name: str, due: float) -> None:
        self.tasks[name] = asyncio.create_task(self._take(name, due))
        await asyncio.sleep(0)

    async def _take(self, name: str, due: float) -> None:
        async with self.turns.take(name, due):
            self.took.append(name)
            if name in self.leave:
                await self.leave[name].wait()

    async def until_had(self, name: str) -> None:
        async with asyncio.timeout(STALLED_SECONDS):
            await self.tasks[name]

    async def end(self) -> None:
        for leave in self.leave.values():
            leave.set()
        await asyncio.gather(*self.tasks.values(), return_exceptions=True)


async def taken() -> Queue:
    queue = Queue()
    await queue.ask("first", 0.0)
    await queue.ask("second", 0.0)
    return queue


async def test_turns_follow_due_times_and_equal_ones_the_order_of_the_requests() -> None:
    queue = await taken()
    for name, due in (("late", 9.0), ("early", 1.0), ("middle", 5.0), ("middle, asked later", 5.0)):
        await queue.ask(name, due)
    assert queue.took == ["first", "second"], "no more than two at the same time"
    queue.leave["first"].set()
    await queue.until_had("late")
    assert queue.took[2:] == ["early", "middle", "middle, asked later", "late"]
    await queue.end()


async def test_a_request_that_is_hastened_comes_sooner_and_only_once() -> None:
    queue = await taken()
    for name, due in (("late", 9.0), ("early", 1.0), ("last", 10.0)):
        await queue.ask(name, due)
    queue.turns.hasten("late", 0.5)
    queue.turns.hasten("nobody", 0.0)
    queue.leave["first"].set()
    await queue.until_had("last")
    assert queue.took[2:] == ["late", "early", "last"]
    await queue.end()


async def test_a_turn_that_nobody_waits_for_is_free_again() -> None:
    queue = await taken()
    await queue.end()
    await queue.ask("third", 9.0)
    await asyncio.sleep(0)
    assert queue.took == ["first", "second", "third"]


async def test_one_that_gives_up_waiting_takes_no_turn_from_the_others() -> None:
    queue = await taken()
    await queue.ask("gives up", 1.0)
    await queue.ask("stays", 2.0)
    queue.tasks["gives up"].cancel()
    queue.leave["first"].set()
    await queue.until_had("stays")
    assert queue.took == ["first", "second", "stays"]
    await queue.end()


async def test_one_that_gives_up_as_its_turn_comes_passes_it_on() -> None:
    queue = await taken()
    await queue.ask("gives up", 1.0)
    await queue.ask("stays", 2.0)
    queue.leave["first"].set()
    await asyncio.sleep(0)  # the turn is given away here, before the one that waits for it goes on
    queue.tasks["gives up"].cancel()
    await queue.until_had("stays")
    assert queue.took == ["first", "second", "stays"]
    await queue.end()
