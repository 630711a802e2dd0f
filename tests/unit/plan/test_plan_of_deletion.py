"""Decisions of the plan on a SpeechModel that is deleted: nothing is lost without a word, and nothing hangs."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import SpeechModelStatus
from speechmodel_plan.observed import Purge, RunState, Trouble
from speechmodel_plan.plan import Done
from support.world import World

START = datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def ready() -> World:
    world = World()
    world.to_ready()
    return world


def deleted(world: World) -> World:
    """With the policy Delete, and told to go."""
    world.edit(publish__deletionPolicy="Delete")
    world.step()
    assert world.finalizer
    world.deleted_at = world.now
    return world


def test_without_the_policy_there_is_no_finalizer(ready: World) -> None:
    assert not ready.finalizer


def test_a_purge_that_waits_in_another_queue_than_that_of_the_model_is_replaced(ready: World) -> None:
    deleted(ready)
    ready.purge = Purge(finished=False, created_at=START, queued=True, relabelled=True)
    plan = ready.step()
    assert plan.abandon_purge
    assert plan.finalizer
    assert ready.report
    assert ready.report.events == ()
    ready.purge = None
    assert ready.step().purge


def test_published_objects_are_purged_once_the_writers_are_gone(world: World) -> None:
    world.until(StageName.PUBLISH)
    deleted(world)
    plan = world.step()
    assert plan.stop
    assert plan.purge is None
    world.step()
    assert world.plan
    assert world.plan.purge is None, "the pod that uploads is still there"
    world.bury()
    plan = world.step()
    assert plan.purge
    assert plan.purge.base == "speech/espejo/uid-1"
    assert plan.finalizer
    world.purge = Purge(finished=True, created_at=START)
    assert not world.step().finalizer


@pytest.mark.parametrize(
    "seconds, purge",
    [
        (
            1,
            Purge(
                finished=False,
                created_at=START,
                failure=Trouble("CredentialsMissing", "secret s3 not found", final=True),
            ),
        ),
        (1, Purge(finished=True, created_at=START, failure=Trouble("PurgeFailed", "no route to host", final=True))),
        (121, Purge(finished=False, created_at=START)),
    ],
    ids=["secret gone", "job failed", "too slow"],
)
def test_a_purge_that_cannot_be_done_is_reported_and_lets_go(ready: World, seconds: int, purge: Purge) -> None:
    deleted(ready)
    ready.purge = purge
    plan = ready.step(seconds)
    assert not plan.finalizer
    assert ready.report
    assert [(e.type, e.reason) for e in ready.report.events] == [("Warning", "PurgeFailed")]
    assert "s3://models/speech/espejo/uid-1/" in ready.report.events[0].message


def test_a_purge_gets_its_time_however_long_the_operator_was_down(ready: World) -> None:
    deleted(ready)
    plan = ready.step(7200)
    assert plan.purge
    assert plan.finalizer
    ready.purge = Purge(finished=False, created_at=ready.now)
    assert ready.step(60).finalizer
    assert not ready.step(61).finalizer


QUEUED = Trouble("QueuedByKueue", "the Job waits in the queue gpus of Kueue")


def test_the_time_that_a_purge_waits_in_a_queue_does_not_count(ready: World) -> None:
    deleted(ready)
    ready.purge = waiting = Purge(finished=False, created_at=ready.now, failure=QUEUED, queued=True)
    plan = ready.step(600)
    assert plan.finalizer and not plan.abandon_purge
    assert ready.condition("Ready").message == QUEUED.message
    ready.purge = replace(waiting, started_at=ready.now, failure=None, queued=False)
    assert ready.step(60).finalizer
    ready.purge = replace(ready.purge, finished=True)
    assert not ready.step().finalizer
    assert ready.report and not ready.report.events


def test_the_status_says_what_a_purge_waits_for(ready: World) -> None:
    deleted(ready)
    why = "the pod of Job espejo-purge was rejected: exceeded quota: small"
    ready.purge = Purge(finished=False, created_at=ready.now, failure=Trouble("QuotaExceeded", why))
    assert ready.step(60).finalizer
    assert ready.condition("Ready").message == f"removing s3://models/speech/espejo/uid-1/: {why}"


def test_a_purge_that_a_queue_does_not_admit_in_an_hour_is_given_up_and_its_job_is_deleted(ready: World) -> None:
    deleted(ready)
    ready.purge = Purge(finished=False, created_at=ready.now, failure=QUEUED, queued=True)
    assert ready.step(3599).finalizer
    plan = ready.step(1)
    assert (plan.finalizer, plan.abandon_purge) == (False, True)
    assert ready.report and QUEUED.message in ready.report.events[0].message


def test_a_pod_on_a_lost_node_is_not_waited_for(world: World) -> None:
    world.until(StageName.PUBLISH)
    deleted(world)
    world.step()
    name = next(n for n, r in world.runs.items() if r.state is RunState.ENDING)
    world.runs[name] = replace(world.runs[name], trouble=Trouble("PodStuck", "node gpu does not answer"))
    assert world.step().purge


@pytest.mark.parametrize("edit", [{"publish__s3__prefix": "new"}, {"publish__s3__endpoint": "http://elsewhere"}])
def test_versions_published_elsewhere_before_are_named(ready: World, edit: dict[str, object]) -> None:
    old = ready.status.model
    assert old
    ready.edit(**edit)
    ready.to_ready()
    deleted(ready)
    ready.purge = Purge(finished=True, created_at=START)
    ready.step()
    assert ready.report
    assert [(e.reason, old.uri in e.message) for e in ready.report.events] == [("PurgeIncomplete", True)]


@pytest.mark.parametrize("stage, finalizer", [(StageName.CONVERT, False), (StageName.EVALUATE, True)])
def test_a_model_goes_at_once_until_evaluate_is_started(world: World, stage: StageName, finalizer: bool) -> None:
    world.edit(publish__deletionPolicy="Delete")
    world.until(stage)
    assert world.finalizer is finalizer
    world.deleted_at = world.now
    plan = world.step()
    assert plan.finalizer is finalizer
    assert plan.stop


def test_what_was_published_is_purged_when_the_status_is_lost(ready: World) -> None:
    deleted(ready)
    ready.status = SpeechModelStatus()
    assert ready.step().purge


def test_a_model_whose_status_is_lost_before_the_deletion_keeps_its_finalizer(ready: World) -> None:
    ready.edit(publish__deletionPolicy="Delete")
    ready.step()
    ready.status = SpeechModelStatus()
    ready.runs.clear()
    assert ready.step().finalizer
    ready.edit(publish__deletionPolicy="Retain")
    assert not ready.step().finalizer


def test_a_purge_that_the_api_server_rejects_is_reported_and_lets_go(ready: World) -> None:
    deleted(ready)
    plan = ready.step()
    assert plan.purge
    report = plan.after(Done(purge_refused=Trouble("Refused", "the namespace is terminating")))
    assert not report.finalizer
    assert [(e.type, e.reason) for e in report.events] == [("Warning", "PurgeFailed")]
    assert "the namespace is terminating" in report.events[0].message
