import asyncio
import threading
import time

import pytest
from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.errors import ClientLeft, QueueFull


async def forever() -> None:
    await asyncio.Event().wait()


async def test_places_are_counted_and_given_back() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    with queue.place(), queue.place():
        with pytest.raises(QueueFull) as full, queue.place():
            pass
        assert full.value.headers == {"Retry-After": "2"}
    with queue.place():
        assert queue.taken == 1
    assert queue.taken == 0


async def test_a_failing_work_raises_and_is_over() -> None:
    queue = DecodingQueue(decoders=1, waiting=0)

    def work(abandoned: threading.Event) -> None:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        await queue.run(work, forever())
    assert queue.decoding == 0


async def test_the_times_of_waiting_and_decoding_are_told_apart() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)

    def work(abandoned: threading.Event) -> str:
        time.sleep(0.1)
        return "done"

    first, second = await asyncio.gather(queue.run(work, forever()), queue.run(work, forever()))
    assert (first.result, second.result) == ("done", "done")
    assert first.waited_seconds < 0.05 < 0.09 < second.waited_seconds
    assert second.decoding_seconds == pytest.approx(0.1, abs=0.05)


async def test_who_leaves_while_working_stops_the_work_before_the_next_begins() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    ended = threading.Event()

    def work(abandoned: threading.Event) -> None:
        abandoned.wait(5)
        time.sleep(0.05)
        ended.set()
        raise ClientLeft

    with pytest.raises(ClientLeft):
        await queue.run(work, asyncio.sleep(0.05))
    assert ended.is_set()


async def test_who_leaves_while_waiting_never_begins() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    release = threading.Event()
    first = asyncio.create_task(queue.run(lambda _: release.wait(5), forever()))
    await asyncio.sleep(0.05)
    begun = threading.Event()
    with pytest.raises(ClientLeft):
        await queue.run(lambda _: begun.set(), asyncio.sleep(0.01))
    release.set()
    await first
    assert not begun.is_set()


async def test_a_cancelled_request_tells_its_work() -> None:
    queue = DecodingQueue(decoders=1, waiting=0)
    told = threading.Event()

    def work(abandoned: threading.Event) -> None:
        if abandoned.wait(5):
            told.set()

    request = asyncio.create_task(queue.run(work, forever()))
    await asyncio.sleep(0.05)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await asyncio.to_thread(told.wait, 2)
