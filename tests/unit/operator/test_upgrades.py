"""The places of servers that an upgrade of the operator replaces."""

from dataclasses import dataclass, field

import pytest
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import PATIENCE_SECONDS, Key, Upgrades

FIRST, SECOND, THIRD = ("a", "server"), ("b", "server"), ("c", "server")


@dataclass
class Fleet:
    """Two places, and who was woken."""

    now: float = 0.0
    woken: list[str] = field(default_factory=list)
    telemetry: Telemetry = field(default_factory=Telemetry)

    def __post_init__(self) -> None:
        self.upgrades = Upgrades(2, self.telemetry, wake=self.woken.append, clock=lambda: self.now)

    def take(self, *keys: Key, generation: int = 1) -> list[bool]:
        return [self.upgrades.take(key, generation) for key in keys]

    def follow(
        self, key: Key, *, settled: bool = False, mixed: bool = True, replaced: int = 0, generation: int = 1
    ) -> None:
        self.upgrades.follow(key, generation, settled=settled, mixed=mixed, replaced=replaced)

    def count(self, state: str) -> float | None:
        return self.telemetry.registry.get_sample_value("speechmodel_upgrades", {"state": state})


@pytest.fixture
def fleet() -> Fleet:
    return Fleet()


def test_no_more_than_the_limit_are_replaced_and_the_next_is_woken_once_one_is_ready(fleet: Fleet) -> None:
    assert fleet.take(FIRST, SECOND, THIRD) == [True, True, False]
    assert (fleet.count("rolling_out"), fleet.count("waiting")) == (2, 1)
    assert fleet.take(FIRST, THIRD) == [True, False], "a second step keeps its place"
    fleet.follow(FIRST)
    assert fleet.woken == []
    fleet.follow(FIRST, settled=True)
    assert fleet.woken == ["c"]
    assert fleet.take(THIRD) == [True]
    assert fleet.count("waiting") == 0


def test_an_edit_or_a_deletion_frees_the_place(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND, THIRD)
    fleet.follow(FIRST, generation=2)
    assert fleet.woken == ["c"]
    fleet.take(THIRD, ("d", "server"))
    fleet.upgrades.forget("b")
    assert fleet.woken == ["c", "d"]


def test_a_roll_out_without_progress_holds_its_place_for_a_while_only(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND, THIRD)
    fleet.now = PATIENCE_SECONDS - 1
    fleet.follow(FIRST, replaced=1)  # the next of several replicas
    fleet.follow(SECOND)
    assert fleet.woken == []
    fleet.now += 1
    fleet.follow(SECOND)
    assert fleet.woken == ["c"]
    assert fleet.take(THIRD, SECOND) == [True, False], "the one that is blocked waits for its next turn"
    fleet.now += PATIENCE_SECONDS - 1
    fleet.follow(FIRST, replaced=1)
    assert fleet.take(SECOND) == [True], "a replica that was counted before is no progress"


def test_replicas_that_become_ready_and_fail_in_turn_are_no_progress(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND, THIRD)
    for minute in range(1, 20):
        fleet.now = minute * 60
        fleet.follow(FIRST, replaced=minute % 2)
    assert fleet.take(THIRD) == [True]


def test_a_place_that_a_woken_model_does_not_take_goes_to_the_next_one(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND, THIRD, ("d", "server"))
    fleet.follow(FIRST, settled=True)
    fleet.upgrades.waits_no_more(THIRD)  # it was promoted meanwhile
    assert fleet.woken == ["c", "d"]


def test_a_model_that_is_woken_and_cannot_step_is_not_woken_before_the_others_again(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND, THIRD, ("d", "server"))
    fleet.follow(FIRST, settled=True)
    fleet.take(("e", "server"))
    fleet.follow(SECOND, settled=True)
    assert fleet.woken == ["c", "d"]


def test_after_a_restart_no_place_is_given_before_every_model_was_looked_at(fleet: Fleet) -> None:
    fleet.upgrades.expect(["a", "b", "c"])
    assert fleet.take(THIRD) == [False]
    fleet.upgrades.looked_at("c")
    fleet.follow(FIRST)  # it was being replaced when the operator ended
    fleet.upgrades.looked_at("a")
    assert fleet.woken == []
    fleet.follow(SECOND, mixed=False)  # it crashes, and is not being replaced
    fleet.upgrades.looked_at("b")
    assert fleet.woken == ["c"]
    assert fleet.take(THIRD, ("d", "server")) == [True, False], "the one from before counts"


def test_a_model_that_is_deleted_before_it_was_looked_at_holds_up_none(fleet: Fleet) -> None:
    fleet.upgrades.expect(["a"])
    assert fleet.take(SECOND) == [False]
    fleet.upgrades.forget("a")
    assert fleet.woken == ["b"]


def test_a_roll_out_whose_model_could_not_be_read_in_its_first_step_counts_once_it_is(fleet: Fleet) -> None:
    fleet.upgrades.expect(["a"])
    fleet.upgrades.looked_at("a")  # the API server had too much to do
    fleet.follow(FIRST)
    fleet.follow(("a", "canary"))
    assert fleet.take(SECOND) == [False]
    fleet.follow(("b", "canary"))  # it was not there at the start
    assert fleet.count("rolling_out") == 2


def test_no_place_is_given_before_the_models_of_all_namespaces_are_known(fleet: Fleet) -> None:
    fleet.upgrades.wait_for_lists()
    fleet.upgrades.expect(["a"])
    assert fleet.take(FIRST) == [False]
    fleet.upgrades.looked_at("a")
    assert fleet.woken == []
    fleet.upgrades.all_listed()
    assert fleet.woken == ["a"]
    assert fleet.take(FIRST) == [True]


def test_a_namespace_that_is_never_listed_holds_up_the_others_for_a_while_only(fleet: Fleet) -> None:
    fleet.upgrades.wait_for_lists()
    fleet.now = PATIENCE_SECONDS - 1
    assert fleet.take(FIRST) == [False]
    fleet.now += 1
    assert fleet.take(FIRST) == [True]


def test_places_that_expired_are_no_longer_counted(fleet: Fleet) -> None:
    fleet.take(FIRST, SECOND)
    fleet.now = PATIENCE_SECONDS
    fleet.follow(FIRST)
    assert fleet.count("rolling_out") == 0


def test_without_a_limit_nothing_waits() -> None:
    upgrades = Upgrades()
    assert all(upgrades.take((str(number), "server"), 1) for number in range(100))
