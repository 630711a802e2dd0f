"""An upgrade of the operator changes every server, and only a limited number is replaced at a time."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from speechmodel_api.stages.contract import StageName
from speechmodel_api.status import CanaryState, ConditionType
from speechmodel_plan.conditions import Failures
from speechmodel_plan.observed import CanaryServers, Trouble
from speechmodel_plan.plan import RESYNC, Done
from support.world import World


@pytest.fixture
def served() -> World:
    """A model that is served by two replicas."""
    world = World(busy=True)
    world.edit(serving__replicas=2)
    world.to_ready()
    return world


@pytest.fixture
def world(served: World) -> World:
    """The same just after the operator was upgraded, while no place is free."""
    served.upgrade()
    return served


def may_wait(world: World) -> bool:
    """Take a step, and return True if the change of the servers may be put off."""
    plan = world.step()
    assert plan.serving
    return plan.serving.upgrade_only


def test_servers_that_wait_serve_as_before_and_say_why(world: World) -> None:
    before, writes = {each.type: each for each in world.status.conditions}, world.writes
    plan = world.step()
    assert world.report and world.report.events == ()
    after = {each.type: each for each in world.status.conditions}
    changed = {name for name, found in after.items() if found != before.get(name)}
    assert (before.keys(), changed) == (after.keys(), {"Serving"})
    assert (after["Serving"].status, after["Serving"].reason) == ("True", "WaitingForUpgrade")
    assert world.status.in_effect
    assert plan.look_again == RESYNC, "it is woken when there is a place"
    world.step()
    assert world.writes == writes + 1, "it is said once"


def test_an_upgrade_posts_one_event_for_a_model_whether_it_waited_or_not(world: World) -> None:
    world.step()
    world.busy = False
    posted = []
    assert world.server
    for server in (
        world.server,
        replace(world.server, steady=False, ready_replicas=1),
        replace(world.server, settled=True, complete=True),
    ):
        world.server = server
        world.step()
        assert world.condition("Ready").status == "True"
        assert world.report
        posted += [event.reason for event in world.report.events]
    assert posted == ["Promoted"]
    assert (world.condition("Serving").reason, world.status.in_effect) == ("Serving", True)


def edited(world: World) -> None:
    world.edit(serving__env=[{"name": "TZ", "value": "UTC"}])


def scaled(world: World) -> None:
    world.edit(serving__replicas=3)


def scaled_by_hand(world: World) -> None:
    assert world.server
    world.server = replace(world.server, replicas=7)


def unready(world: World) -> None:
    assert world.server
    world.server = replace(world.server, steady=False, ready_replicas=1)


def of_another_version(world: World) -> None:
    """The Deployment of the promoted version was not applied."""
    assert world.server
    world.server = replace(world.server, version="0badcafe")


def not_understood(world: World) -> None:
    """An earlier release could not read the spec, so it said so, and left the servers and their conditions as they were."""
    world.edit(serving__env=[{"name": "TZ", "value": "UTC"}])
    world.status = world.status.model_copy(update={"observed_generation": world.generation})


def refused(world: World) -> None:
    """After an edit, a webhook refused the Deployment. The status is about the new spec."""
    world.edit(serving__env=[{"name": "TZ", "value": "UTC"}])
    plan = world.step()
    world.status = plan.after(Done(Failures(serving=Trouble("Refused", "a webhook denied it")))).status
    assert world.status.observed_generation == world.generation


def with_an_old_status(world: World) -> None:
    """The operator has not looked at the newest spec."""
    world.status = world.status.model_copy(update={"observed_generation": world.generation - 1})


@pytest.mark.parametrize(
    "change",
    [
        edited,
        scaled,
        scaled_by_hand,
        unready,
        of_another_version,
        not_understood,
        refused,
        with_an_old_status,
    ],
)
def test_what_does_not_come_from_the_operator_alone_never_waits(world: World, change: Callable[[World], None]) -> None:
    change(world)
    assert not may_wait(world)


def test_a_deployment_without_replicas_never_waits() -> None:
    world = World()
    world.edit(serving__replicas=0)
    world.to_ready()
    world.upgrade()
    assert not may_wait(world)


def test_a_new_version_and_a_roll_back_never_wait(world: World) -> None:
    first = world.status.model
    assert first
    world.edit(training__maxEpochs=20)
    world.until(StageName.PUBLISH)
    world.finish()
    assert not may_wait(world)
    world.to_ready()
    world.edit(serving__pinnedVersion=first.version)
    assert not may_wait(world)


def test_a_version_that_is_published_again_elsewhere_never_waits(served: World) -> None:
    before = served.status.model
    served.edit(publish__s3__endpoint="http://other:9000")
    served.step()
    served.upgrade()
    assert may_wait(served)
    served.until(StageName.PUBLISH)
    served.finish()
    plan = served.step()
    assert before and plan.serving and plan.serving.model.version == before.version
    assert plan.serving.model.endpoint == "http://other:9000"
    assert not plan.serving.upgrade_only


def test_servers_wait_while_another_version_is_trained_compared_or_held_back(served: World) -> None:
    world = served
    world.edit(
        training__maxEpochs=20,
        dataset__split={"testPercent": 20},
        evaluation={"gate": {"maxWER": 0.05, "notWorseThanServing": {}}},
    )
    assert not may_wait(world), "the edit may concern them"
    world.upgrade()
    for _ in range(20):
        if any(run.state.value == "running" for run in world.runs.values()):
            world.finish()
        assert may_wait(world)
    assert world.condition("Promoted").reason == "QualityGateFailed"
    assert world.condition("Serving").reason == "WaitingForUpgrade"


def test_servers_wait_behind_a_stage_that_failed_for_good_and_are_looked_at_again(served: World) -> None:
    served.edit(training__maxEpochs=20)
    served.until(StageName.TRAIN)
    served.fail(65)
    served.step()
    served.upgrade()
    plan = served.step()
    assert served.status.condition(ConditionType.STALLED)
    assert plan.serving and plan.serving.upgrade_only
    assert plan.look_again == RESYNC, "not even a lost wake-up lets it wait for ever"
    served.settle()
    assert served.step().look_again is None, "once it is replaced, only an edit can change anything"


def test_a_server_that_is_replaced_while_its_canary_waits_does_not_say_that_it_waits() -> None:
    world = World()
    world.edit(serving={"replicas": 2, "canary": {"percent": 50, "minutes": 10, "maxErrorRate": 0.01}})
    world.to_ready()
    world.edit(training__maxEpochs=20)
    world.to_rest()
    assert world.canary
    ready = replace(world.canary.server, ready_replicas=world.canary.server.replicas, settled=True, steady=True)
    world.canary = CanaryServers(ready, frozenset({"pod"}))
    world.busy = True
    plan = world.step(1)
    assert plan.canary and plan.canary.upgrade_only
    assert plan.serving and not plan.serving.upgrade_only
    assert world.condition("Serving").reason == "Serving"


def test_a_server_that_waits_and_is_not_ready_is_not_in_effect(world: World) -> None:
    """Its Deployment was refused at its first turn, and then a pod failed."""
    unready(world)
    plan = world.step()
    report = plan.after(Done(put_off=True))
    serving, reconciling = (
        report.status.condition(kind) for kind in (ConditionType.SERVING, ConditionType.RECONCILING)
    )
    assert serving and serving.reason == "WaitingForUpgrade"
    assert reconciling and reconciling.status == "True"


def test_a_canary_waits_too_unless_its_number_of_servers_changes() -> None:
    world = World()
    world.edit(serving={"replicas": 2, "canary": {"percent": 50, "minutes": 10, "maxErrorRate": 0.01}})
    world.to_ready()
    world.edit(training__maxEpochs=20)
    world.to_rest()
    assert world.canary and world.status.canary and world.status.canary.state is CanaryState.RUNNING
    assert world.plan and world.plan.canary and not world.plan.canary.upgrade_only, "its first server is not ready"
    replicas = world.canary.server.replicas
    server = replace(world.canary.server, ready_replicas=replicas, settled=True, steady=True)
    world.canary = CanaryServers(server, frozenset({"pod"}))
    plan = world.step(timedelta(seconds=1).total_seconds())
    assert plan.canary and plan.canary.upgrade_only
    world.canary = replace(world.canary, server=replace(server, replicas=replicas + 1))
    plan = world.step()
    assert plan.canary and not plan.canary.upgrade_only
