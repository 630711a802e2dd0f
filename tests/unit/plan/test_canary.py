"""A canary: a version that is to be promoted takes a share of the requests first."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from pydantic import ValidationError
from speechmodel_api.reasons import Reason
from speechmodel_api.serving_spec import Canary
from speechmodel_api.status import CanaryServer, CanaryStatus
from speechmodel_plan.canary import number_of_servers
from speechmodel_plan.observed import CanaryServers, Crash, Trouble
from support.world import World

FIRST_START = 1000.0


@pytest.fixture
def world() -> World:
    """A model whose first version is served by four servers, and whose second one is published and tried by one."""
    world = World()
    world.edit(serving={"replicas": 4, "canary": {"minutes": 10, "maxErrorRate": 0.01}})
    world.to_ready()
    world.edit(training__maxEpochs=20)
    world.to_rest()
    assert world.canary
    return world


def canary(world: World) -> CanaryStatus:
    assert world.status.canary
    return world.status.canary


def servers(world: World) -> CanaryServers:
    assert world.canary
    return world.canary


def ready(world: World) -> None:
    """All servers of the canary are ready, and have answered nothing."""
    server = servers(world).server
    pods = [f"canary-{number}" for number in range(server.replicas)]
    world.canary = CanaryServers(
        replace(server, ready_replicas=server.replicas, settled=True),
        frozenset(pods),
        tuple(CanaryServer(pod=pod, process_start=FIRST_START, requests=0, failed=0) for pod in pods),
    )


def answered(world: World, requests: int, failed: int = 0, pod: str = "canary-0", start: float = FIRST_START) -> None:
    """A server reports these counts."""
    found = servers(world)
    others = tuple(count for count in found.counts if count.pod != pod)
    count = CanaryServer(pod=pod, process_start=start, requests=requests, failed=failed)
    world.canary = replace(found, counts=(*others, count), pods=found.pods | {pod})


def versions(world: World) -> tuple[str, str]:
    """Return the version of the servers, and the newest one."""
    assert world.server and world.status.latest_version
    return world.server.version, world.status.latest_version


def is_promoted(world: World) -> bool:
    served, latest = versions(world)
    return served == latest


def minutes(world: World, number: float) -> None:
    """Some minutes pass, and the operator looks twice: it writes a decision before it carries it out."""
    world.step(number * 60)
    world.step()


def test_servers_of_the_new_version_are_added_and_the_condition_says_how_it_goes(world: World) -> None:
    assert (servers(world).server.replicas, is_promoted(world)) == (1, False)
    condition = world.condition("Promoted")
    assert (condition.status, condition.reason) == ("False", "CanaryRunning")
    assert "0 of 1 servers are ready" in condition.message
    ready(world)
    world.step()
    answered(world, 153)
    minutes(world, 2.5)
    _, latest = versions(world)
    figures = "2 of 10 minutes, 0 of 153 requests failed, on 1 of 5 servers"
    assert world.condition("Promoted").message == f"canary {latest}: {figures}"
    assert world.condition("Ready").status == "True"
    assert world.condition("Reconciling").reason == "CanaryRunning"
    assert world.plan and world.plan.look_again == timedelta(seconds=10)


def test_a_canary_that_keeps_the_rate_is_promoted_by_a_rollout(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 200, failed=2)
    minutes(world, 9.9)
    assert not is_promoted(world)
    minutes(world, 0.2)
    assert is_promoted(world)
    assert world.canary is None
    world.to_ready()
    assert canary(world).state == "Passed"
    newest = world.status.history[0].promotion
    assert newest and newest.promoted
    assert "2 of 200 requests failed in a canary of 10 minutes" in newest.message
    writes = world.writes
    world.step()
    assert world.writes == writes


def test_a_canary_above_the_rate_goes_away_and_the_old_version_is_served(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 200, failed=3)
    minutes(world, 10)
    assert (world.canary, is_promoted(world)) == (None, False)
    condition = world.condition("Promoted")
    assert condition.reason == world.condition("Stalled").reason == "CanaryFailed"
    served, latest = versions(world)
    assert condition.message.startswith(
        f"version {latest} is not promoted, so version {served} is still served: 3 of 200 requests failed (1.50%), "
        "which is above serving.canary.maxErrorRate 1.00%; "
    )
    assert world.condition("Ready").status == "True"
    newest = world.status.history[0].promotion
    assert newest and (newest.promoted, newest.reason) == (False, "CanaryFailed")
    writes = world.writes
    world.step()
    assert (world.writes, world.canary) == (writes, None)


@pytest.mark.parametrize(
    ("limit", "requests", "failed", "ended"),
    [
        (0.01, 20, 1, False),  # 18 %, by chance
        (0.01, 20, 3, False),
        (0.01, 20, 4, True),
        (0.01, 4, 4, True),
        (0.01, 1000, 20, False),
        (0.01, 1000, 25, True),
        (0, 1000, 1, True),
        (1, 1000, 1000, False),
        (0.5, 8, 8, False),
        (0.5, 12, 12, True),
    ],
)
def test_it_ends_early_only_if_the_failures_cannot_be_chance(
    world: World, limit: float, requests: int, failed: int, ended: bool
) -> None:
    world.edit(serving={"replicas": 4, "canary": {"minutes": 10, "maxErrorRate": limit}})
    ready(world)
    world.step()
    answered(world, requests, failed)
    minutes(world, 1)
    assert (world.condition("Promoted").reason == "CanaryFailed") == ended


def test_without_any_request_the_version_is_promoted(world: World) -> None:
    ready(world)
    world.step()
    minutes(world, 10)
    assert is_promoted(world)
    newest = world.status.history[0].promotion
    assert newest and "0 of 0 requests failed in a canary of 10 minutes" in newest.message


def test_what_a_server_counted_before_it_was_restarted_or_replaced_stays_counted(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 100, failed=1)
    world.step()
    answered(world, 120, failed=1, start=FIRST_START + 50)  # another process of the same pod: 120 more, not 20
    world.step()
    assert (canary(world).requests, canary(world).failed) == (220, 2)
    world.canary = replace(servers(world), counts=(), pods=frozenset())
    answered(world, 7, pod="canary-1")
    world.step()
    assert (canary(world).requests, canary(world).failed) == (227, 2)
    assert [server.pod for server in canary(world).servers] == ["canary-1"]


def test_a_server_that_cannot_be_read_for_a_while_is_not_counted_twice(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 100)
    world.step()
    counts = servers(world).counts
    world.canary = replace(servers(world), counts=(), unread="the metrics of pod canary-0 cannot be read (refused)")
    minutes(world, 11)
    assert world.condition("Promoted").reason == "CanaryUnreadable"
    assert not is_promoted(world)
    world.canary = replace(servers(world), counts=counts, unread=None)
    minutes(world, 0)
    assert canary(world).requests == 100
    assert is_promoted(world)


def test_a_crash_in_the_canary_ends_it(world: World) -> None:
    ready(world)
    world.step()
    assert canary(world).started_at
    world.canary = replace(servers(world), crashes=(Crash(world.now - timedelta(minutes=1), "before"),))
    minutes(world, 1)
    assert world.condition("Promoted").reason == "CanaryRunning", "it crashed before the canary began"
    world.canary = replace(servers(world), crashes=(Crash(world.now, "pod canary-0: exit code 139 (Error)"),))
    minutes(world, 1)
    assert world.condition("Promoted").reason == "CanaryFailed"
    assert "a server of its canary crashed: pod canary-0: exit code 139 (Error)" in world.condition("Promoted").message


def test_a_canary_that_never_becomes_ready_says_why_and_waits(world: World) -> None:
    found = servers(world)
    message = "0/2 nodes are available"
    trouble = Trouble(Reason.UNSCHEDULABLE, message)
    world.canary = replace(found, server=replace(found.server, trouble=trouble))
    minutes(world, 60)
    condition = world.condition("Promoted")
    assert (condition.reason, message in condition.message, is_promoted(world)) == ("Unschedulable", True, False)
    assert world.condition("Ready").status == "True"
    ready(world)
    world.step()
    minutes(world, 5)
    assert not is_promoted(world), "its minutes count from when it is ready"
    minutes(world, 5)
    assert is_promoted(world)


def test_a_decision_waits_for_a_server_that_is_being_replaced(world: World) -> None:
    ready(world)
    world.step()
    found = servers(world)
    world.canary = replace(found, server=replace(found.server, ready_replicas=0, settled=False))
    minutes(world, 11)
    assert not is_promoted(world)
    world.canary = found
    minutes(world, 0)
    assert is_promoted(world)


def test_the_operator_may_end_at_any_step(world: World) -> None:
    ready(world)
    world.step(forget_status=True)
    world.step()
    answered(world, 100, failed=50)
    world.step(forget_status=True)  # the decision is lost, and nothing was done yet
    assert world.canary
    world.step()
    assert (canary(world).requests, canary(world).state) == (100, "Failed")
    world.step(forget_status=True)
    assert world.canary is None
    world.step()
    assert (world.canary, world.condition("Promoted").reason) == (None, "CanaryFailed")


def test_a_promotion_that_was_not_recorded_goes_on(world: World) -> None:
    ready(world)
    world.step()
    world.step(601)
    world.step(forget_status=True)
    assert (is_promoted(world), world.canary) == (True, None)
    world.step()
    assert (is_promoted(world), world.canary) == (True, None)
    world.to_ready()


def failed(world: World) -> World:
    ready(world)
    world.step()
    answered(world, 100, failed=50)
    minutes(world, 1)
    assert world.condition("Promoted").reason == "CanaryFailed"
    return world


@pytest.mark.parametrize("again", ["annotation", "edit"])
def test_a_version_that_failed_is_tried_again_when_asked(world: World, again: str) -> None:
    failed(world)
    if again == "annotation":
        world.annotations = {"speechops.dev/retry": "2"}
    else:
        world.edit(serving={"replicas": 4, "canary": {"minutes": 5}})
    world.step()
    assert (canary(world).requests, canary(world).state, canary(world).started_at) == (0, "Running", None)
    ready(world)
    world.step()
    minutes(world, 10)
    assert is_promoted(world)


def test_without_the_field_a_version_that_failed_is_promoted(world: World) -> None:
    failed(world)
    world.edit(serving={"replicas": 4})
    world.step()
    assert (is_promoted(world), world.status.canary) == (True, None)


@pytest.mark.parametrize("field", [{"training__maxEpochs": 30}, {"dataset__revision": "2"}])
def test_an_edit_that_makes_another_version_ends_the_canary(world: World, field: dict[str, Any]) -> None:
    ready(world)
    answered(world, 50)
    world.step()
    before = canary(world).version
    world.edit(**field)
    if "dataset__revision" in field:
        world.data = "other"
    world.step()
    assert (world.canary, world.status.canary) == (None, None)
    assert not is_promoted(world)
    world.to_rest()
    assert (canary(world).version != before, canary(world).requests) == (True, 0)
    assert servers(world).server.version == canary(world).version


def test_a_version_that_failed_stays_withheld_while_the_next_is_made(world: World) -> None:
    failed(world)
    world.edit(training__maxEpochs=30)
    world.step()
    assert world.condition("Promoted").reason == "CanaryFailed"
    world.to_rest()
    assert world.condition("Promoted").reason == "CanaryRunning"


@pytest.mark.parametrize("pinned", ["served", "tried"])
def test_a_pin_ends_the_canary_and_decides(world: World, pinned: str) -> None:
    served, tried = versions(world)
    world.edit(serving__pinnedVersion=served if pinned == "served" else tried)
    world.step()
    assert (world.canary, world.status.canary) == (None, None)
    assert is_promoted(world) == (pinned == "tried")


def test_a_version_that_passed_and_was_rolled_back_needs_no_other_canary(world: World) -> None:
    first, _ = versions(world)
    ready(world)
    world.step()
    minutes(world, 10)
    world.to_ready()
    world.edit(serving__pinnedVersion=first)
    world.step()
    assert not is_promoted(world)
    world.edit(serving__pinnedVersion=None)
    world.step()
    assert is_promoted(world)


def test_a_suspension_changes_neither_the_servers_nor_the_canary(world: World) -> None:
    ready(world)
    world.step()
    world.edit(suspend=True)
    minutes(world, 1)
    assert world.canary and world.condition("Promoted").reason == "CanaryRunning"
    minutes(world, 9)
    assert is_promoted(world)


def test_without_serving_there_is_no_canary(world: World) -> None:
    world.edit(serving=None)
    world.step()
    assert (world.canary, world.server, world.status.canary) == (None, None, None)


def test_it_follows_the_number_of_servers_that_an_autoscaler_sets(world: World) -> None:
    assert world.server
    world.server = replace(world.server, replicas=12, ready_replicas=12)
    world.step()
    assert servers(world).server.replicas == 3


def scale(world: World, replicas: int) -> None:
    """An edit or an autoscaler sets the number of servers of the served version."""
    assert world.server
    world.server = replace(world.server, replicas=replicas, ready_replicas=replicas)


def test_a_version_that_is_published_while_no_server_runs_is_not_tried() -> None:
    world = World()
    world.edit(serving={"replicas": 4, "canary": {"minutes": 10}})
    world.to_ready()
    scale(world, 0)
    world.edit(training__maxEpochs=20)
    world.to_rest()
    assert (world.canary, is_promoted(world)) == (None, True)


@pytest.mark.parametrize("retry", ["same", "another"])
def test_a_version_that_failed_is_not_promoted_while_no_server_runs(world: World, retry: str) -> None:
    failed(world)
    scale(world, 0)
    world.annotations = {"speechops.dev/retry": retry} if retry == "another" else {}
    minutes(world, 60)
    reason = "CanaryFailed" if retry == "same" else "CanaryRunning"
    assert (is_promoted(world), world.condition("Promoted").reason) == (False, reason)


def test_a_canary_waits_while_no_server_runs_and_goes_on_with_its_counts(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 100, failed=1)
    minutes(world, 1)
    scale(world, 0)
    world.step()
    world.canary = replace(servers(world), counts=(), pods=frozenset())
    minutes(world, 60)
    assert (servers(world).server.replicas, is_promoted(world)) == (0, False)
    assert "it waits, because the served version has 0 servers" in world.condition("Promoted").message
    scale(world, 4)
    world.step()
    assert (servers(world).server.replicas, is_promoted(world)) == (1, False)
    ready(world)
    minutes(world, 0)
    assert (canary(world).requests, is_promoted(world)) == (100, True)


def test_failures_of_a_canary_decide_while_no_server_runs(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 50, failed=2)
    minutes(world, 1)
    scale(world, 0)
    minutes(world, 10)
    assert (is_promoted(world), world.condition("Promoted").reason) == (False, "CanaryFailed")


def test_the_first_version_is_not_tried() -> None:
    world = World()
    world.edit(serving={"canary": {}})
    world.to_ready()
    assert (world.canary, is_promoted(world)) == (None, True)


def test_a_version_that_fails_the_gate_is_not_tried(world: World) -> None:
    world.edit(evaluation={"gate": {"maxWER": 0.05}})
    world.step()
    assert (world.canary, world.condition("Promoted").reason) == (None, "QualityGateFailed")


def test_settings_that_are_edited_count_at_once(world: World) -> None:
    ready(world)
    world.step()
    answered(world, 100, failed=2)
    world.edit(serving={"replicas": 4, "canary": {"percent": 50, "minutes": 10}})
    minutes(world, 6)
    assert servers(world).server.replicas == 4
    assert canary(world).requests == 100
    world.edit(serving={"replicas": 4, "canary": {"percent": 50, "minutes": 5, "maxErrorRate": 0.02}})
    minutes(world, 0)
    assert not is_promoted(world), "its new servers are not ready"
    ready(world)
    answered(world, 100, failed=2)
    minutes(world, 0)
    assert is_promoted(world)


@pytest.mark.parametrize(
    ("percent", "served", "added"),
    [(20, 0, 0), (20, 1, 1), (50, 1, 1), (20, 3, 1), (20, 4, 1), (20, 10, 2), (50, 7, 7), (1, 99, 1)],
)
def test_the_share_is_rounded_to_pods(percent: int, served: int, added: int) -> None:
    assert number_of_servers(percent, served) == added


@pytest.mark.parametrize("values", [{"percent": 0}, {"percent": 51}, {"minutes": 0}, {"maxErrorRate": 1.1}])
def test_values_that_make_no_canary_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError):
        Canary.model_validate(values)
