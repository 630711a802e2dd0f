"""The cache is like the API server once the watches have caught up, and is never behind a write of ours."""

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any, cast

import pytest
from speechmodel_operator.cluster import informer as module
from speechmodel_operator.cluster.api import JOBS, Api
from speechmodel_operator.cluster.cache import Store
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.cluster.informer import Informer
from speechmodel_operator.cluster.views import Job, Manifest, Page, read_page
from speechmodel_operator.telemetry import Telemetry
from support.waiting import STALLED_SECONDS

Step = Manifest | Exception


def job(name: str, version: int, *, model: str = "espejo", suspend: bool = False) -> dict[str, Any]:
    metadata = {"namespace": "ns", "name": name, "uid": f"u-{name}", "resourceVersion": str(version)}
    return {"metadata": metadata | {"labels": {"speechops.dev/model": model}}, "spec": {"suspend": suspend}}


def event(kind: str, item: Manifest) -> Manifest:
    return {"type": kind, "object": item}


class Server:
    """An API server that answers with what is given: lists, and for each watch the events or the error that ends it."""

    def __init__(self, lists: Sequence[Step], watches: Sequence[Sequence[Step]]) -> None:
        self.lists, self.watches = list(lists), [list(steps) for steps in watches]
        self.versions: list[str] = []
        self.done = asyncio.Event()

    async def pages(self, *_: object) -> AsyncIterator[Page[Job | dict[str, Any]]]:
        answer = self.lists.pop(0)
        if isinstance(answer, Exception):
            raise answer
        yield read_page(Job, json.dumps(answer).encode())

    async def watch(self, _resource: object, _namespace: str, _selector: str, version: str, _seconds: float) -> Any:
        self.versions.append(version)
        if not self.watches:
            self.done.set()
            await asyncio.Event().wait()
        for step in self.watches.pop(0):
            if isinstance(step, Exception):
                raise step
            yield step


def listed(version: int, *items: Manifest) -> Manifest:
    return {"metadata": {"resourceVersion": str(version)}, "items": items}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.001)


async def follow(server: Server, telemetry: Telemetry | None = None) -> tuple[Store[Job], list[tuple[str, bool]]]:
    """Return the store once the server has nothing more, and the names that were reported, with True for those that are gone."""
    reported: list[tuple[str, bool]] = []
    store = Store(Job, lambda found, gone: reported.append((found.metadata.name, gone)))
    task = asyncio.create_task(Informer(cast(Api, server), JOBS, store, "", "", 60, telemetry or Telemetry()).run())
    async with asyncio.timeout(STALLED_SECONDS):
        await server.done.wait()
    task.cancel()
    return store, reported


def names(store: Store[Job]) -> list[str]:
    return [found.metadata.name for found in store.find("ns", "espejo")]


async def test_it_lists_once_and_follows_every_change() -> None:
    changes = [
        event("ADDED", job("b", 11)),
        event("MODIFIED", job("a", 12, suspend=True)),
        event("DELETED", job("b", 13)),
    ]
    server = Server([listed(10, job("a", 5), job("other", 6, model="x"))], [changes])
    store, reported = await follow(server)
    assert names(store) == ["a"]
    found = store.get("ns", "a")
    assert found and found.spec.suspend and found.metadata.resource_version == "12" and found.metadata.uid == "u-a"
    assert reported == [("a", False), ("other", False), ("b", False), ("a", False), ("b", True)]
    assert server.versions == ["10", "13"], "a watch that ends goes on where it was"


async def test_an_object_of_a_list_that_cannot_be_read_hides_none_of_the_others() -> None:
    null, newer = job("b", 6), job("c", 7) | {"spec": {"suspend": "of a newer release"}}
    null["metadata"]["annotations"] = None
    store, _ = await follow(Server([listed(10, job("a", 5, suspend=True), null, newer)], []))
    assert names(store) == ["a", "b"]
    found = store.get("ns", "a")
    assert found and found.spec.suspend
    assert not store.readable


async def test_after_410_everything_is_listed_again_and_what_was_deleted_in_between_is_gone() -> None:
    server = Server(
        [listed(10, job("a", 5), job("b", 6)), listed(30, job("b", 6), job("c", 25))],
        [[ClusterError(410, "too old resource version: 10 (20)")]],
    )
    store, reported = await follow(server)
    assert names(store) == ["b", "c"]
    assert reported[2:] == [("c", False), ("a", True)]
    assert server.versions == ["10", "30"]


@pytest.mark.parametrize(
    "fault",
    [
        NoAnswer("no answer to the watch"),
        ClusterError(500, "etcd"),
        ClusterError(429, "later"),
        ValueError("cut"),
    ],
)
async def test_a_watch_that_breaks_goes_on_from_the_last_change_without_a_list(fault: Exception) -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    server = Server([listed(10)], [[event("ADDED", job("a", 15)), fault], [bookmark, fault]])
    store, _ = await follow(server)
    assert names(store) == ["a"]
    assert server.versions == ["10", "15", "20"]


async def test_watches_that_end_at_once_are_opened_again_after_pauses_that_grow_until_there_is_a_change(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pauses: list[float] = []

    def recorded(seconds: float, *_: float) -> float:
        if seconds != 60:  # which is the time of a watch
            pauses.append(seconds)
        return 0.0

    monkeypatch.setattr(module, "FIRST_PAUSE_SECONDS", 0.25)
    monkeypatch.setattr(module, "SHORTEST_WATCH_SECONDS", 60)
    monkeypatch.setattr(module, "jittered", recorded)
    await follow(Server([listed(10)], [[], [], [], [event("ADDED", job("a", 15))], [], []]))
    assert pauses == [0.25, 0.5, 1.0, 0.25, 0.5]


async def test_a_watch_that_breaks_again_and_again_is_failing_until_there_is_a_change(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cut = NoAnswer("the proxy ended it")
    states, warned = [], []
    for watches in ([[cut]] * 2, [[cut]] * 3, [[cut]] * 4 + [[event("ADDED", job("a", 15))]], [[], [cut], []]):
        caplog.clear()
        telemetry = Telemetry()
        await follow(Server([listed(10)], watches), telemetry)
        labels = {"namespace": "*", "resource": "jobs"}
        states.append(telemetry.registry.get_sample_value("speechmodel_watch_failing", labels))
        warned.append([record.message for record in caplog.records if record.levelname == "WARNING"])
    assert states == [0, 1, 0, 1]
    assert [len(messages) for messages in warned] == [0, 1, 2, 1]
    assert "cannot watch the jobs of all namespaces: 3 connections in a row broke" in warned[1][0]
    assert "the proxy ended it" in warned[1][0] and "it ended at once" in warned[3][0]


async def test_lists_that_get_no_answer_are_failing_too() -> None:
    telemetry, seen = Telemetry(), list[float | None]()

    class Unreachable(Server):
        async def pages(self, *_: object) -> AsyncIterator[Page[Job | dict[str, Any]]]:
            labels = {"namespace": "*", "resource": "jobs"}
            seen.append(telemetry.registry.get_sample_value("speechmodel_watch_failing", labels))
            async for page in super().pages():
                yield page

    await follow(Unreachable([NoAnswer("no route")] * 3 + [listed(10)], []), telemetry)
    assert seen == [None, None, None, 1]


async def test_a_list_that_fails_is_repeated() -> None:
    store, _ = await follow(Server([ClusterError(503, "starting"), listed(10, job("a", 5))], []))
    assert names(store) == ["a"]


def test_an_older_version_never_replaces_a_newer_one_nor_removes_it() -> None:
    reported: list[str] = []
    store = Store(Job, lambda found, _gone: reported.append(found.metadata.name))
    store.put(job("a", 20, suspend=True))  # as a write of ours returned it
    store.put(job("a", 15))
    store.remove(job("a", 10))
    store.keep("", set(), 19)
    found = store.get("ns", "a")
    assert found and found.spec.suspend
    store.put(job("a", 21, suspend=True))
    assert reported == ["a"], "a change that no step can see wakes nobody"
    store.keep("other", set(), 30)
    assert names(store) == ["a"], "a list of another namespace says nothing about this one"
    store.keep("ns", set(), 30)
    assert names(store) == []
    assert reported == ["a", "a"]


def test_an_answer_to_a_write_brings_nothing_back_that_was_deleted() -> None:
    store = Store(Job, lambda _found, _gone: None)
    store.put_written(job("a", 20))
    assert names(store) == ["a"], "the answer may come before the event"
    store.remove(job("a", 30))
    store.put_written(job("a", 20))
    store.put_written(job("b", 29))
    assert names(store) == [], "the event of b would have come before that of a"
    store.keep("", set(), 40)
    store.put_written(job("c", 35))
    assert names(store) == []
    store.put_written(job("c", 41))
    assert names(store) == ["c"]


def test_an_answer_without_the_last_finalizer_says_that_the_object_is_gone() -> None:
    reported: list[bool] = []
    store = Store(Job, lambda _found, gone: reported.append(gone))
    kept, freed = job("a", 20), job("a", 20)
    kept["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z", "finalizers": ["speechops.dev/purge"]}
    freed["metadata"] |= {"deletionTimestamp": "2026-01-01T00:00:00Z"}
    store.put_written(kept)
    assert names(store) == ["a"]
    store.put_written(freed)
    store.put_written(freed)
    assert names(store) == []
    assert reported == [False, True]


def test_an_object_that_cannot_be_read_counts_as_absent_and_wakes(caplog: pytest.LogCaptureFixture) -> None:
    reported: list[str] = []
    store = Store(Job, lambda found, _gone: reported.append(found.metadata.name))
    store.put(job("a", 5))
    store.put(job("a", 6) | {"spec": {"suspend": "of a newer release"}})
    assert names(store) == []
    assert reported == ["a", "a"]
    assert "ns/a cannot be read" in caplog.text
    assert not store.readable
    store.put(job("a", 5))
    assert names(store) == [] and not store.readable, "the newer version cannot be read"
    store.put(job("a", 7))
    assert names(store) == ["a"] and store.readable


def test_an_object_that_could_not_be_read_and_is_gone_does_not_matter() -> None:
    store, unreadable = Store(Job, lambda _found, _gone: None), {"spec": {"suspend": "of a newer release"}}
    store.put(job("a", 6) | unreadable)
    store.remove(job("a", 5))
    assert not store.readable, "an older one was deleted"
    store.remove(job("a", 7))
    assert store.readable
    store.put(job("b", 8) | unreadable)
    store.keep("other", set(), 9)
    store.keep("ns", set(), 7)
    store.keep("ns", {("ns", "b")}, 9)
    assert not store.readable
    store.keep("ns", set(), 9)
    assert store.readable


async def test_it_knows_until_which_version_everything_is_known() -> None:
    bookmark = event("BOOKMARK", {"metadata": {"resourceVersion": "20"}})
    for changes, version in (([], 10), ([event("ADDED", job("a", 15))], 15), ([bookmark], 20)):
        store, _ = await follow(Server([listed(10)], [changes]))
        assert store.reached("ns") == version
    store.put_written(job("b", 30))
    assert store.reached("ns") == 20, "a write of ours says nothing about others"


def test_what_we_asked_to_delete_may_be_gone_until_the_watch_reports_it() -> None:
    store = Store(Job, lambda _found, _gone: None)
    store.asked_to_delete("ns", "a")
    assert not store.may_be_gone("ns", "a"), "it is not here"
    store.put(job("a", 20))
    store.asked_to_delete("ns", "a")
    assert store.may_be_gone("ns", "a")
    store.put(job("a", 21, suspend=True))
    assert store.may_be_gone("ns", "a"), "the change may be one from before the deletion"
    store.remove(job("a", 22))
    assert not store.may_be_gone("ns", "a")


def test_a_null_field_counts_as_absent() -> None:
    item = job("a", 5)
    item["metadata"] |= {"annotations": None, "ownerReferences": [{"uid": "u", "controller": None}]}
    item |= {"spec": {"suspend": None, "template": {"metadata": {"creationTimestamp": None}}}, "status": None}
    found = Job.read(item)
    assert (dict(found.metadata.annotations), found.spec.suspend, found.finished) == ({}, False, None)
    assert found.metadata.owned_by("u")
