import pytest
from speechmodel_training.saving import CHEAP_BEST, SaveTimer


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_save_is_due_when_the_longest_time_has_passed(clock: Clock) -> None:
    timer = SaveTimer(600, clock)
    clock.now += 599
    assert not timer.due()
    clock.now += 1
    assert timer.due()
    timer.saved(1.0)
    assert not timer.due()


def test_the_first_epoch_end_is_saved(clock: Clock) -> None:
    assert SaveTimer(600, clock).due_at_epoch_end()


@pytest.mark.parametrize(
    ("cost", "since", "due"), [(0.5, 26, True), (0.5, 24, False), (0.01, 1, True), (100.0, 600, True)]
)
def test_an_epoch_end_is_saved_when_that_costs_less_than_a_fiftieth(
    clock: Clock, cost: float, since: float, due: bool
) -> None:
    timer = SaveTimer(600, clock)
    timer.saved(cost)
    clock.now += since
    assert timer.due_at_epoch_end() is due


def test_the_best_averages_are_saved_at_once_when_that_takes_less_than_half_of_the_time_since(clock: Clock) -> None:
    timer = SaveTimer(600, clock, cheap=CHEAP_BEST)
    timer.saved(4)
    clock.now += 7
    assert not timer.due_at_epoch_end()
    clock.now += 2
    assert timer.due_at_epoch_end()
