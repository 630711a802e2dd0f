"""Calls that had no effect are repeated, and only those."""

import asyncio
import gc
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from aiohttp import web
from kubernetes.aio import client
from speechmodel_operator.cluster import api as module
from speechmodel_operator.cluster.api import JOBS, Api
from speechmodel_operator.cluster.cache import Rehearsal
from speechmodel_operator.cluster.connection import ANSWERS, connect
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.telemetry import Telemetry
from support import waiting

JOB = {"metadata": {"name": "a", "namespace": "ns", "uid": "u", "resourceVersion": "1"}}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def answered_by(
    handle: Handler,
    refresh: Callable[[client.Configuration], None] | None = None,
    telemetry: Telemetry | None = None,
) -> AsyncIterator[Api]:
    """Give an Api whose server answers with `handle`. `refresh` may change the token before each call."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", handle)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    host, port = runner.addresses[0][:2]
    configuration = client.Configuration(host=f"http://{host}:{port}")
    configuration.refresh_api_key_hook = refresh  # type: ignore[assignment] # it is declared as None
    async with connect(configuration) as connection:
        yield Api(connection, telemetry)
    await runner.cleanup()


def answers(*codes: int) -> tuple[Handler, list[str]]:
    """Return a handler that answers with these codes in turn, the last one again and again, and what it is asked."""
    asked: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        code = codes[min(len(asked), len(codes)) - 1]
        return web.json_response(JOB, status=code, headers={"Retry-After": "0"})

    return handle, asked


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda *_: 0.0)


@pytest.mark.parametrize(("asked", "expected"), [("7", 7.0), ("3600", 12.0), ("soon", 0.25)])
async def test_a_call_is_repeated_when_the_api_server_asks_for_it_and_soon_enough(
    asked: str, expected: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def note(seconds: float, *_: float) -> float:
        pauses.append(seconds)
        return 0.0

    async def handle(_: web.Request) -> web.StreamResponse:
        return web.json_response(JOB, status=200 if pauses else 429, headers={"Retry-After": asked})

    monkeypatch.setattr(module, "jittered", note)
    async with answered_by(handle) as api:
        await api.get(JOBS, "ns", "a")
    assert pauses == [expected]


async def test_a_call_is_not_repeated_for_longer_than_a_step_may_take(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "jittered", lambda seconds, _: seconds)
    monkeypatch.setattr(module, "LONGEST_PATIENCE_SECONDS", 0.1)
    handle, asked = answers(429)
    async with answered_by(handle) as api:
        with pytest.raises(ClusterError):
            await api.get(JOBS, "ns", "a")
    assert asked == ["GET"]


async def test_a_call_carries_the_token_of_that_moment_and_what_it_asks_for_as_it_is() -> None:
    tokens, seen = iter(("Bearer first", "Bearer second")), []

    def refresh(configuration: client.Configuration) -> None:
        configuration.api_key["BearerToken"] = next(tokens)

    async def handle(request: web.Request) -> web.StreamResponse:
        headers = (request.headers["Authorization"], request.headers["User-Agent"])
        seen.append((*headers, request.query.get("labelSelector"), await request.text()))
        return web.json_response(JOB | {"items": []})

    async with answered_by(handle, refresh) as api:
        await api.find(JOBS, "ns", "a&b=ñ")
        await api.merge_patch(JOBS, "ns", "a", {"spec": {"text": "ñ", "none": None, "names": ("a", "b")}})
    program = "speechmodel-operator/0.1.0"
    assert seen[0] == ("Bearer first", program, "speechops.dev/model=a&b=ñ", "")
    assert seen[1] == ("Bearer second", program, None, '{"spec":{"text":"ñ","none":null,"names":["a","b"]}}')


async def test_answers_are_not_compressed() -> None:
    accepted: list[str] = []

    async def handle(request: web.Request) -> web.StreamResponse:
        accepted.append(request.headers["Accept-Encoding"])
        return web.json_response(JOB)

    async with answered_by(handle) as api:
        await api.get(JOBS, "ns", "a")
    assert accepted == ["identity"]


async def test_a_call_that_is_rejected_because_of_load_is_repeated() -> None:
    handle, asked = answers(429, 429, 201)
    async with answered_by(handle) as api:
        await api.create(JOBS, "ns", {})
    assert asked == ["POST"] * 3


async def test_it_gives_up_at_last() -> None:
    handle, asked = answers(429)
    async with answered_by(handle) as api:
        with pytest.raises(ClusterError):
            await api.get(JOBS, "ns", "a")
    assert len(asked) == module.PATIENCE


async def test_a_write_with_another_error_may_have_had_an_effect_and_is_not_repeated() -> None:
    handle, asked = answers(500, 201)
    async with answered_by(handle) as api:
        with pytest.raises(ClusterError):
            await api.create(JOBS, "ns", {})
    assert len(asked) == 1


async def test_steps_after_events_share_the_limit_of_calls_with_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CALLS_AT_ONCE", 3)
    now, most, answered = 0, 0, 0

    async def handle(_: web.Request) -> web.StreamResponse:
        nonlocal now, most, answered
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.02)
        now, answered = now - 1, answered + 1
        return web.json_response(JOB)

    async with answered_by(handle) as api, asyncio.TaskGroup() as tasks:
        for each in (api, Rehearsal(api, {})) * 10:
            tasks.create_task(each.get(JOBS, "ns", "a"))
    assert most <= 3 and answered == 20


async def test_a_watch_takes_lines_of_any_length_and_an_error_in_it_is_raised() -> None:
    long = "x" * 3_000_000
    lines = f'{{"type": "ADDED", "object": {{"note": "{long}"}}}}\n{{"type": "ERROR", "object": {{"code": 410}}}}\n'

    async def handle(request: web.Request) -> web.StreamResponse:
        assert request.query["resourceVersion"] == "7"
        return web.Response(text=lines)

    seen = []
    async with answered_by(handle) as api:
        with pytest.raises(ClusterError) as raised:
            async for event in api.watch(JOBS, "ns", "", "7", 5):
                seen.append(event)
    assert raised.value.status == 410
    assert len(seen[0]["object"]["note"]) == len(long)


async def broken_off(request: web.Request) -> web.StreamResponse:
    """Answer with the first half of what the headers announce."""
    response = web.StreamResponse(headers={"Content-Length": "100"})
    await response.prepare(request)
    await response.write(b"x" * 50)
    assert request.transport is not None
    request.transport.close()
    return response


async def empty(_: web.Request) -> web.StreamResponse:
    """Answer with a watch that ends without a change."""
    return web.Response()


async def never(request: web.Request) -> web.StreamResponse:
    """Close the connection without an answer."""
    assert request.transport is not None
    request.transport.close()
    return web.Response()


@pytest.mark.parametrize(
    ("handle", "code"), [(never, "0"), (broken_off, "0"), (answers(403)[0], "403"), (empty, "200")]
)
async def test_a_watch_is_counted_when_it_ends(handle: Handler, code: str) -> None:
    telemetry = Telemetry()
    async with answered_by(handle, telemetry=telemetry) as api:
        with suppress(NoAnswer, ClusterError, ValueError):
            async for _ in api.watch(JOBS, "ns", "", "1", 5):
                pass
    counted = [
        (sample.labels, sample.value)
        for metric in telemetry.registry.collect()
        for sample in metric.samples
        if sample.name == "speechmodel_api_calls_total"
    ]
    assert counted == [({"verb": "WATCH", "code": code}, 1)]


async def test_a_read_whose_connection_breaks_is_repeated() -> None:
    asked = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        return await (never, broken_off, answers(200)[0])[len(asked) - 1](request)

    async with answered_by(handle) as api:
        found = await api.get(JOBS, "ns", "a")
    assert (found and found.metadata.uid, asked) == ("u", ["GET"] * 3)


async def test_a_write_whose_connection_breaks_may_have_had_an_effect_and_is_not_repeated() -> None:
    asked = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        return await never(request)

    async with answered_by(handle) as api:
        with pytest.raises(NoAnswer, match="no answer to POST /apis/batch/v1/namespaces/ns/jobs: "):
            await api.create(JOBS, "ns", {})
    assert asked == ["POST"]


async def late(_: web.Request) -> web.StreamResponse:
    """Answer later than anybody waits."""
    await asyncio.sleep(1)
    return web.Response()


async def read(api: Api) -> None:
    await api.get(JOBS, "ns", "a")


async def follow(api: Api) -> None:
    async for _ in api.watch(JOBS, "ns", "", "1", 0.0):
        pass


def calls_in_memory() -> list[object]:
    """Return the answers and the errors that exist, also those that nothing refers to but themselves."""
    kinds = (aiohttp.ClientResponse, aiohttp.ClientError, TimeoutError, NoAnswer)
    return [item for item in gc.get_objects() if isinstance(item, kinds)]


@pytest.mark.parametrize("handle", [broken_off, never, late])
@pytest.mark.parametrize("call", [read, follow])
async def test_a_call_without_an_answer_says_which_and_leaves_no_cycle_in_memory(
    handle: Handler, call: Callable[[Api], Awaitable[None]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.Api._call, "__kwdefaults__", {"query": (), "content": module.JSON, "seconds": 0.05})
    monkeypatch.setattr(module, "WATCH_GRACE_SECONDS", 0.05)
    gc.collect()
    before = calls_in_memory()
    gc.disable()
    try:
        async with answered_by(handle) as api:
            with pytest.raises(NoAnswer, match="/apis/batch/v1/namespaces/ns/jobs"):
                await call(api)

            def freed() -> bool:
                return not any(all(item is not old for old in before) for item in calls_in_memory())

            await asyncio.to_thread(waiting.until, freed, "the call and its errors are freed")
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "date, ahead",
    [
        ("{:%a, %d %b %Y %H:%M:%S GMT}", 3600),
        ("", 0),
        ("yesterday", 0),
        ("{:%a, %d %b %Y %H:%M:%S -0000}", 0),
    ],
    ids=["given", "dropped", "no date", "without a zone"],
)
async def test_the_time_is_that_of_the_api_server_if_it_gives_one(date: str, ahead: int) -> None:
    async def handle(_request: web.Request) -> web.StreamResponse:
        return web.json_response(JOB, headers={"Date": date.format(datetime.now(UTC) + timedelta(hours=1))})

    async with answered_by(handle) as api:
        for _ in range(ANSWERS):
            await api.get(JOBS, "ns", "a")
        assert abs((api.now() - datetime.now(UTC)).total_seconds() - ahead) < 60


async def test_one_answer_of_another_time_counts_only_if_the_next_ones_agree(caplog: pytest.LogCaptureFixture) -> None:
    hours = [0, 1, 0, 1, 0, -1, 1, -1, 1, 1, 1, 0, 0, 0]

    async def handle(_request: web.Request) -> web.StreamResponse:
        date = f"{datetime.now(UTC) + timedelta(hours=hours.pop(0)):%a, %d %b %Y %H:%M:%S GMT}"
        return web.json_response(JOB, headers={"Date": date})

    caplog.set_level("INFO")
    async with answered_by(handle) as api:
        while hours:
            await api.get(JOBS, "ns", "a")
        assert abs(api.now() - datetime.now(UTC)) < timedelta(minutes=1)
    behind, again = [entry.message for entry in caplog.records if "clock" in entry.message]
    assert re.fullmatch(  # the header gives whole seconds
        r"the clock of this machine is (3600|359\d) s behind that of the API server, whose time is used; set it by NTP",
        behind,
    )
    assert again == "the clocks of this machine and of the API server agree again"


async def test_a_read_may_break_as_often_after_answers_of_429() -> None:
    asked = []

    async def handle(request: web.Request) -> web.StreamResponse:
        asked.append(request.method)
        turns = (answers(429)[0], answers(429)[0], never, never, answers(200)[0])
        return await turns[len(asked) - 1](request)

    async with answered_by(handle) as api:
        found = await api.get(JOBS, "ns", "a")
    assert (found and found.metadata.uid, len(asked)) == ("u", 5)
