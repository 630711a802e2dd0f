import asyncio
import gc
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from speechmodel_api.serving_spec import Engine
from speechmodel_inference import decoding_queue
from speechmodel_inference.decoding_queue import DecodingQueue
from speechmodel_inference.errors import (
    LEAST_JITTER,
    ClientLeft,
    NotReady,
    QueueFull,
    RequestError,
    ShuttingDown,
    TooManyConnections,
)
from speechmodel_inference.services import STREAMS_PER_CPU, Services
from speechmodel_inference.settings import Settings
from speechmodel_pipeline.graphdef.pbmm import memory_map
from speechmodel_stagekit.cpus import available_cpus
from support.phrase_heads import knowing_head
from support.places import FIXTURES
from support.servers import VersionFolder

LONG = 600
"""Seconds that pass only when something is broken."""


async def forever() -> None:
    await asyncio.Event().wait()


async def test_places_are_counted_and_given_back() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    with queue.place(), queue.place():
        with pytest.raises(QueueFull) as full, queue.place():
            pass
        assert 2 <= int(full.value.headers["Retry-After"]) <= 2 + LEAST_JITTER
    with queue.place():
        assert queue.taken == 1
    assert queue.taken == 0


@pytest.mark.parametrize(
    "refusal",
    [lambda: QueueFull(0.1), lambda: NotReady("loading"), ShuttingDown, lambda: TooManyConnections(1)],
    ids=["busy", "not ready", "shutting down", "too many connections"],
)
def test_clients_that_are_refused_at_once_are_told_different_times_however_short(
    refusal: Callable[[], RequestError],
) -> None:
    times = {int(refusal().headers["Retry-After"]) for _ in range(100)}
    assert times == set(range(1, 1 + LEAST_JITTER + 1))


async def test_what_is_read_when_the_server_ends_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    queue, ended = DecodingQueue(decoders=1, waiting=0), asyncio.Event()

    async def read() -> None:
        try:
            await forever()
        finally:
            await asyncio.sleep(0)
            ended.set()
            raise ValueError("cut off")

    reading = asyncio.create_task(queue.until_ending(read()))
    await asyncio.sleep(0)
    queue.give_up()
    with pytest.raises(ShuttingDown):
        await reading
    assert ended.is_set(), "the caller may close what was read"
    with pytest.raises(ShuttingDown):
        await queue.until_ending(read())
    del reading
    gc.collect()
    assert not caplog.records, "asyncio logs errors that nobody reads"


async def test_the_memory_of_bodies_is_bounded_however_many_are_decoded_at_once() -> None:
    queue = DecodingQueue(decoders=1, waiting=1, max_upload_bytes=100)
    queue.decode_at_once(8)
    assert queue.places == 9
    with queue.place() as first:
        first.hold(90)
        first.hold(60)
        with queue.place() as second:
            second.hold(50)
            with pytest.raises(QueueFull):
                second.hold(1)
        with queue.place() as third:
            third.hold(50)
    assert queue.held_bytes == 0


@pytest.mark.parametrize("phrases", [False, True], ids=["the quantised network", "the phrase network"])
async def test_only_a_network_whose_runs_are_shared_decodes_more_recordings_than_there_are_cpus(
    tmp_path: Path, *, phrases: bool
) -> None:
    memory_map(FIXTURES / "tf2_128.pb", tmp_path / "mapped.pbmm")
    folder = VersionFolder(tmp_path / "models", tmp_path / "mapped.pbmm")
    if phrases:
        folder.decode_by_grammar("ok espejo", threshold=-1, head=knowing_head())
    else:
        folder.decode_natively()
    services = Services.make(Settings(folder=folder.path))
    await services.load()
    assert services.lifecycle.version.engine is Engine.NATIVE
    assert services.queue.decoders == available_cpus() * (1 if phrases else STREAMS_PER_CPU)


async def test_previews_take_no_places_and_end_where_half_of_the_places_are_used() -> None:
    queue = DecodingQueue(decoders=1, waiting=3)
    with queue.place(), queue.preview():
        with pytest.raises(QueueFull), queue.preview():
            pass
        with queue.place(), queue.place(), queue.place():
            assert queue.taken == queue.places
    with queue.preview(), queue.preview():
        assert queue.previews == 2
    assert queue.previews == 0


async def test_a_failing_work_raises_and_is_over() -> None:
    queue = DecodingQueue(decoders=1, waiting=0)

    def work(abandoned: threading.Event) -> None:
        raise ValueError("damaged")

    with pytest.raises(ValueError, match="damaged"):
        await queue.run(work, forever())
    assert queue.decoding == 0


async def test_the_times_of_waiting_and_decoding_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(decoding_queue, "time", SimpleNamespace(monotonic=lambda: now))
    queue = DecodingQueue(decoders=1, waiting=1)
    begun, release = threading.Event(), threading.Event()

    def work(abandoned: threading.Event) -> str:
        begun.set()
        release.wait(LONG)
        return "done"

    both = asyncio.gather(queue.run(work, forever()), queue.run(work, forever()))
    assert await asyncio.to_thread(begun.wait, LONG)
    now = 7.0
    release.set()
    first, second = await both
    assert (first.result, second.result) == ("done", "done")
    assert (first.waited_seconds, first.decoding_seconds) == (0.0, 7.0)
    assert (second.waited_seconds, second.decoding_seconds) == (7.0, 0.0)


async def test_who_leaves_while_working_stops_the_work_before_the_next_begins() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    begun, ended = threading.Event(), threading.Event()

    def work(abandoned: threading.Event) -> None:
        begun.set()
        assert abandoned.wait(LONG)
        time.sleep(0.05)
        ended.set()
        raise ClientLeft

    with pytest.raises(ClientLeft):
        await queue.run(work, asyncio.to_thread(begun.wait, LONG))
    assert ended.is_set()


async def test_who_leaves_while_waiting_never_begins() -> None:
    queue = DecodingQueue(decoders=1, waiting=1)
    release = threading.Event()
    first = asyncio.create_task(queue.run(lambda _: release.wait(LONG), forever()))
    await asyncio.sleep(0)  # the first is in line
    begun = threading.Event()
    with pytest.raises(ClientLeft):
        await queue.run(lambda _: begun.set(), asyncio.sleep(0))
    release.set()
    await first
    await queue.run(lambda _: None, forever())  # whoever waited had their turn
    assert not begun.is_set()


async def test_a_cancelled_request_tells_its_work() -> None:
    queue = DecodingQueue(decoders=1, waiting=0)
    begun, told = threading.Event(), threading.Event()

    def work(abandoned: threading.Event) -> None:
        begun.set()
        if abandoned.wait(LONG):
            told.set()

    request = asyncio.create_task(queue.run(work, forever()))
    assert await asyncio.to_thread(begun.wait, LONG)
    request.cancel()
    with pytest.raises(asyncio.CancelledError):
        await request
    assert await asyncio.to_thread(told.wait, LONG)


@pytest.mark.parametrize("stream", [False, True])
async def test_the_end_waits_for_work_that_is_being_done(stream: bool) -> None:
    queue = DecodingQueue(decoders=1, waiting=0)
    begun, release, done = threading.Event(), threading.Event(), threading.Event()

    def work(_: threading.Event | None = None) -> None:
        begun.set()
        release.wait(LONG)
        done.set()

    request = asyncio.create_task(queue.run_stream(work) if stream else queue.run(work, forever()))
    assert await asyncio.to_thread(begun.wait, LONG)
    await queue.close(0.05)
    assert not done.is_set(), "but no longer than it was told"
    asyncio.get_running_loop().call_later(0.1, release.set)
    await queue.close(LONG)
    assert done.is_set()
    await request
