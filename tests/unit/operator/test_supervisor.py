"""Tasks that never end by accident: one per model, restarted after every error, woken by events."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import PurePosixPath
from typing import cast

import pytest
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import SpeechModelStatus
from speechmodel_operator import supervisor as module
from speechmodel_operator.cluster.api import Api
from speechmodel_operator.cluster.errors import ClusterError, Conflict, NameConflict, NoAnswer, Refused
from speechmodel_operator.cluster.policies import Policies
from speechmodel_operator.settings import PolicySettings
from speechmodel_operator.supervisor import Supervisor
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import Upgrades
from speechmodel_plan.conditions import Failures
from speechmodel_plan.observed import Observed, Trouble
from speechmodel_plan.plan import Done, Plan, Report
from speechmodel_plan.reconcile import Gone, reconcile
from speechmodel_plan.task import Owner
from support.waiting import STALLED_SECONDS
from support.world import SPEC

OWNER = Owner("ns", "espejo", "uid")


@dataclass
class Engine:
    """An engine whose model is suspended, so that nothing is ever on its way; each step may be told to fail."""

    errors: list[Exception] = field(default_factory=list)
    gone: bool = False
    steps: int = 0
    done: Done = field(default_factory=Done)
    reports: list[Report] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    async def react(self) -> timedelta | None:
        return await reconcile(self)

    async def resync(self) -> timedelta | None:
        return await reconcile(self)

    async def observe(self) -> Observed | None:
        self.steps += 1
        if self.errors:
            raise self.errors.pop(0)
        if self.gone:
            return None
        spec = SpeechModelSpec.model_validate(SPEC | {"suspend": True})
        return Observed(
            OWNER,
            1,
            spec,
            SpeechModelStatus(),
            datetime.now(UTC),
            PurePosixPath("/w"),
            PurePosixPath("/d"),
        )

    async def apply(self, plan: Plan) -> Done:
        done, self.done = self.done, Done()
        return done

    async def report(self, report: Report) -> None:
        self.reports.append(report)

    async def report_failure(self, failure: Trouble) -> None:
        self.failures.append((failure.reason, failure.message))


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SHORTEST_BREAK", 0.01)
    monkeypatch.setattr(module, "FIRST_BACKOFF", 0.02)


def supervise(engine: Engine) -> Supervisor:
    found = Supervisor(lambda *_: engine)
    found.notice(OWNER)
    return found


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(STALLED_SECONDS):
        while not look():
            await asyncio.sleep(0.005)


async def test_one_task_per_uid_sleeps_until_something_happens() -> None:
    engine = Engine()
    found = supervise(engine)
    found.notice(OWNER)
    await until(lambda: engine.steps >= 1)
    await asyncio.sleep(0.1)
    steps = engine.steps
    await asyncio.sleep(0.1)
    assert engine.steps == steps, "an idle model is left alone"
    found.wake("uid")
    await until(lambda: engine.steps == steps + 1)
    found.wake_named("ns", "espejo")
    await until(lambda: engine.steps == steps + 2)
    await found.stop()


async def test_an_error_is_reported_and_the_step_is_tried_again() -> None:
    engine = Engine(errors=[RuntimeError("boom"), RuntimeError("boom again")])
    found = supervise(engine)
    await until(lambda: engine.steps >= 3)
    assert engine.failures == [("ReconcileError", "boom"), ("ReconcileError", "boom again")]
    await found.stop()


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (Refused(403, "a webhook denied the request"), "Refused"),
        (Refused(403, "jobs is forbidden: exceeded quota: none"), "QuotaExceeded"),
        (NameConflict("Job", "x"), "NameConflict"),
        (ClusterError(500, "a webhook does not answer"), "ApiError"),
        (NoAnswer("no answer to GET /apis: Server disconnected"), "ApiError"),
    ],
)
async def test_what_the_api_server_does_not_do_is_reported_in_a_sentence(
    error: Exception, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    engine = Engine(errors=[error])
    found = supervise(engine)
    await until(lambda: engine.failures)
    assert engine.failures == [(reason, str(error))]
    assert [(entry.levelname, entry.exc_info) for entry in caplog.records] == [("WARNING", None)]
    await found.stop()


async def test_a_part_that_could_not_be_applied_is_reported_once_and_the_step_is_repeated() -> None:
    engine = Engine(done=Done(failures=Failures(stages=Trouble("NameConflict", "Job x exists"))))
    found = supervise(engine)
    await until(lambda: engine.steps >= 2)
    ready = next(c for c in engine.reports[0].status.conditions if c.type == "Ready")
    assert (ready.reason, ready.message) == ("NameConflict", "Job x exists")
    assert engine.failures == []
    await found.stop()


@pytest.mark.parametrize(("reason", "counted"), [("Refused", 2), ("QuotaExceeded", 2), ("ApiError", 5)])
async def test_a_refusal_counts_and_is_logged_once_and_an_error_of_the_api_server_each_time(
    reason: str, counted: int, caplog: pytest.LogCaptureFixture
) -> None:
    five = asyncio.Event()

    class Refused(Engine):
        async def observe(self) -> Observed | None:
            if self.steps == 5:
                five.set()
                await asyncio.sleep(3600)
            return await super().observe()

        async def apply(self, plan: Plan) -> Done:
            message = "a policy" if self.steps < 5 else "another policy"
            return Done(failures=Failures(serving=Trouble(reason, message)))

    telemetry, engine = Telemetry(), Refused()
    found = Supervisor(lambda _: engine, telemetry)
    found.notice(OWNER)

    def failed() -> float:
        return telemetry.registry.get_sample_value("speechmodel_steps_failed_total", {"reason": reason}) or 0

    await until(five.is_set)
    assert failed() == counted
    assert len([entry for entry in caplog.records if reason in entry.message]) == counted
    await found.stop()


async def test_a_conflict_is_read_again_and_reported_to_nobody() -> None:
    engine = Engine(errors=[Conflict(409, "the object has been modified")])
    found = supervise(engine)
    await until(lambda: engine.steps >= 2)
    assert engine.failures == []
    await found.stop()


async def test_a_model_that_is_gone_ends_its_task() -> None:
    engine = Engine(gone=True)
    found = supervise(engine)
    await until(lambda: engine.steps == 1)
    await asyncio.sleep(0.05)
    found.wake("uid")
    await asyncio.sleep(0.05)
    assert engine.steps == 1


async def test_a_step_that_hangs_fails_the_liveness_probe(monkeypatch: pytest.MonkeyPatch) -> None:
    class Hanging(Engine):
        async def observe(self) -> Observed | None:
            self.steps += 1
            await asyncio.sleep(3600)
            return None

    engine = Hanging()
    found = supervise(engine)
    await until(lambda: engine.steps == 1)
    assert found.stalled() == []
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.05)
    await asyncio.sleep(0.1)
    assert found.stalled() == ["ns/espejo"]
    await found.stop()


async def test_a_burst_of_models_does_not_stall_while_steps_end(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock, at_once, most, ended = Clock(), 0, 0, 0
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "STEPS_AT_ONCE", 2)

    class Slow(Engine):
        async def observe(self) -> Observed | None:
            nonlocal at_once, most, ended
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            clock.now += 100
            assert found.stalled() == []
            at_once, ended = at_once - 1, ended + 1
            return None

    found = Supervisor(lambda _: Slow())
    for number in range(50):
        found.notice(Owner("ns", f"m{number}", f"u{number}"))
    await until(lambda: ended == 50)
    assert most == 2
    await found.stop()


async def test_steps_that_all_hang_have_stalled_and_those_that_wait_for_them_are_not_named(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STEPS_AT_ONCE", 2)
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.05)

    class Hanging(Engine):
        async def observe(self) -> Observed | None:
            await asyncio.sleep(3600)
            return None

    found = Supervisor(lambda _: Hanging())
    for number in range(4):
        found.notice(Owner("ns", f"m{number}", f"u{number}"))
    await until(found.stalled)
    assert found.stalled() == ["ns/m0", "ns/m1"]
    await found.stop()
    assert found.stalled() == []


async def test_a_step_that_hangs_while_others_end_has_stalled_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock, ended = Clock(), 0
    monkeypatch.setattr(module, "time", clock)

    class Hanging(Engine):
        async def observe(self) -> Observed | None:
            await asyncio.sleep(3600)
            return None

    class Quick(Engine):
        async def observe(self) -> Observed | None:
            nonlocal ended
            clock.now += 100
            ended += 1
            return None

    found = Supervisor(lambda owner: Hanging() if owner.name == "m0" else Quick())
    for number in range(10):
        found.notice(Owner("ns", f"m{number}", f"u{number}"))
    await until(lambda: ended == 9)
    assert found.stalled() == ["ns/m0"]
    await found.stop()
    assert found.stalled() == []


async def test_a_step_that_ends_late_leaves_the_account_of_the_next_task_of_its_model(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "STALLED_SECONDS", 0.0)
    release, steps = asyncio.Event(), 0

    class Late(Engine):
        async def observe(self) -> Observed | None:
            nonlocal steps
            steps += 1
            try:
                await asyncio.sleep(3600)
            except asyncio.CancelledError:
                await release.wait()
                raise
            return None

    found = Supervisor(lambda _: Late())
    found.notice(OWNER)
    await until(lambda: steps == 1)
    found.select(frozenset())
    found.select(frozenset({OWNER.namespace}))
    await until(lambda: steps == 2)
    assert found.stalled() == ["ns/espejo", "ns/espejo"]
    release.set()
    await until(lambda: len(found.stalled()) == 1)
    await asyncio.sleep(0.05)
    assert found.stalled() == ["ns/espejo"]
    await found.stop()


async def test_an_edit_does_not_wait_for_the_models_that_are_taken_up_at_the_start() -> None:
    started: list[str] = []

    class Slow(Engine):
        async def observe(self) -> Observed | None:
            await asyncio.sleep(3600)
            return None

    def make(owner: Owner) -> Engine:
        started.append(owner.name)
        return Slow()

    found = Supervisor(make)
    owners = [Owner("ns", f"m{number}", f"u{number}") for number in range(20)]
    taking = asyncio.create_task(found.take_up(owners))
    await until(lambda: len(started) == module.STEPS_AT_START)
    await asyncio.sleep(0.05)
    found.notice(owners[-1])
    await until(lambda: "m19" in started)
    assert len(started) == module.STEPS_AT_START + 1
    taking.cancel()
    await found.stop()


async def test_no_upgrade_begins_before_each_model_had_a_step_be_it_one_that_fails() -> None:
    goes_on, upgrades = asyncio.Event(), Upgrades(limit=1)

    class Slow(Engine):
        async def react(self) -> timedelta | None:
            await goes_on.wait()
            return None

    engines = {"m0": Slow(), "m1": Engine(errors=[NoAnswer("the API server is away")])}
    found = Supervisor(lambda owner: engines[owner.name], upgrades=upgrades)
    found.select(frozenset({"ns"}))
    await found.take_up([Owner("ns", "m0", "u0"), Owner("ns", "m1", "u1"), Owner("elsewhere", "m2", "u2")])
    await until(lambda: engines["m1"].failures != [])
    assert not upgrades.take(("u3", "server"), 1)
    goes_on.set()
    await until(lambda: upgrades.take(("u3", "server"), 1))
    await found.stop()


async def test_a_model_whose_namespace_is_no_longer_managed_holds_up_no_upgrade() -> None:
    upgrades = Upgrades(limit=1)
    found = Supervisor(lambda _: Engine(), upgrades=upgrades)
    found.select(frozenset())
    upgrades.expect([OWNER.uid])  # its namespace lost its label during the first look at thousands
    found.notice(OWNER)
    assert upgrades.take(("u3", "server"), 1)


async def test_a_namespace_is_forgotten_with_its_last_model() -> None:
    forgotten = list[Owner]()

    class Kept(Policies):
        def forget(self, owner: Owner) -> None:
            forgotten.append(owner)

    found = Supervisor(lambda _: Engine(errors=[Gone()]), policies=Kept(cast(Api, None), cast(PolicySettings, None)))
    found.notice(OWNER)
    await until(lambda: forgotten == [OWNER])
    await found.stop()


async def test_events_that_change_nothing_do_not_put_off_the_step_that_reads_everything() -> None:
    class Counting(Engine):
        reactions = 0

        async def react(self) -> timedelta | None:
            self.reactions += 1
            return timedelta(seconds=2)

        async def observe(self) -> Observed | None:
            self.steps += 1
            return None

    engine = Counting()
    found = supervise(engine)

    async def wake() -> None:
        while not engine.steps:
            found.wake("uid")
            await asyncio.sleep(0.01)

    async with asyncio.timeout(STALLED_SECONDS):
        await wake()
    assert engine.reactions > 1
    await found.stop()


async def test_a_model_at_rest_is_read_live_seldom_and_one_that_is_due_always(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[str] = []

    class Resting(Engine):
        pause = timedelta(seconds=0.02)

        async def react(self) -> timedelta | None:
            taken.append("react")
            return self.pause

        async def resync(self) -> timedelta | None:
            taken.append("resync")
            return self.pause

        async def observe(self) -> Observed | None:
            taken.append("live")
            raise Conflict(409, "again")

    monkeypatch.setattr(module, "RESYNC", timedelta(seconds=0.02))
    engine = Resting()
    found = supervise(engine)
    await until(lambda: len(taken) > 3)
    assert taken[:4] == ["react", "resync", "resync", "resync"]
    monkeypatch.setattr(module, "LIVE_SECONDS", 0.0)
    await until(lambda: "live" in taken)
    await found.stop()
    taken.clear()
    monkeypatch.setattr(module, "LIVE_SECONDS", 3600.0)
    engine.pause = timedelta(seconds=0.01)
    found = supervise(engine)
    await until(lambda: len(taken) > 1)
    assert taken[:2] == ["react", "live"], "a stage is due"
    await found.stop()


async def test_a_new_model_and_an_edit_overtake_steps_after_other_events_but_only_for_a_while(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Clock:
        now = 0.0

        def monotonic(self) -> float:
            return self.now

    clock, taken, held = Clock(), list[str](), asyncio.Event()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr(module, "STEPS_AT_ONCE", 1)
    monkeypatch.setattr(module, "SHORTEST_BREAK", 0.0)

    class Noting(Engine):
        def __init__(self, name: str) -> None:
            super().__init__()
            self.name = name

        async def react(self) -> timedelta | None:
            taken.append(self.name)
            if self.name == "slow":
                await held.wait()
            return None

    found = Supervisor(lambda owner: Noting(owner.name))
    for name in ("a", "b", "edited"):
        found.notice(Owner("ns", name, f"uid-{name}"))
    await until(lambda: taken == ["a", "b", "edited"])
    found.notice(Owner("ns", "slow", "uid-slow"))
    await until(lambda: taken[3:] == ["slow"])

    async def happens(at: float, event: Callable[[], None], waiting: int) -> None:
        clock.now = at
        event()
        await until(lambda: len(found._turns._waiting) == waiting)

    await happens(1.0, lambda: found.wake_named("ns", "a"), 1)
    await happens(2.0, lambda: found.wake_named("ns", "edited"), 2)
    await happens(2.0, lambda: found.wake_named("ns", "b"), 3)
    await happens(3.0, lambda: found.notice(Owner("ns", "new", "uid-new")), 4)
    await happens(4.0, lambda: found.notice(Owner("ns", "edited", "uid-edited")), 4)
    await happens(1.5 + module.LATER_SECONDS, lambda: found.notice(Owner("ns", "late", "uid-late")), 5)
    held.set()
    await until(lambda: len(taken) == 9)
    assert taken[4:] == ["new", "edited", "a", "late", "b"]
    await found.stop()
