import subprocess
import sys
import time
from itertools import count, repeat

import pytest
from support.waiting import Pace, Paused, in_pace, until, until_ended


def test_the_first_true_value_is_returned() -> None:
    values = iter([None, 0, "there", "later"])
    assert until(lambda: next(values), "a value", every=0) == "there"


def test_a_wait_goes_on_as_long_as_something_moves() -> None:
    steps, end = count(), time.monotonic() + 1
    assert until(lambda: time.monotonic() > end, "the end", moved=lambda: next(steps), stalled=0.3, every=0.01)


@pytest.mark.parametrize("states", [repeat("still"), iter("ab" * 1000)], ids=["no change", "the same states again"])
def test_a_wait_fails_when_nothing_new_is_seen(states: "repeat[str]") -> None:
    with pytest.raises(AssertionError, match=r"nothing moved for 0\.2 s while waiting: Godot\nthe road is empty"):
        until(
            lambda: None,
            "Godot",
            moved=lambda: next(states),
            explain=lambda: "the road is empty",
            stalled=0.2,
            every=0.01,
        )


@pytest.mark.slow
def test_a_process_that_works_is_waited_for_and_one_that_sleeps_is_not() -> None:
    working = "import time\nend = time.process_time() + 2.5\nwhile time.process_time() < end: pass"
    with subprocess.Popen([sys.executable, "-c", working]) as process:
        assert until_ended(process, stalled=30) == 0
    with subprocess.Popen(["sleep", "60"]) as process:
        with pytest.raises(AssertionError, match="'sleep', '60'"):
            until_ended(process, stalled=0.5)
        process.kill()


def test_an_attempt_that_fails_after_a_pause_is_made_again_and_one_that_kept_its_pace_is_not() -> None:
    made: list[str] = []

    def paused_once(pace: Pace) -> str:
        made.append("once")
        if len(made) == 1:
            time.sleep(0.1)
            raise AssertionError("it came too late")
        return "good"

    with pytest.warns(UserWarning, match=r"^failed after a pause of \d+\.\d s: it came too late$"):
        assert in_pace(paused_once, 0.1) == "good"

    def fails(pace: Pace) -> None:
        made.append("fails")
        pace.rest(0.1)  # on purpose
        raise AssertionError("the product is wrong")

    with pytest.raises(AssertionError, match="the product is wrong"):
        in_pace(fails, 60)
    assert made == ["once", "once", "fails"]


def test_a_machine_that_always_pauses_is_named() -> None:
    def fails(pace: Pace) -> None:
        raise AssertionError("too late")

    with (
        pytest.warns(UserWarning, match="too late") as warned,
        pytest.raises(Paused, match="a pause of 0 s or more in each of 3 attempts"),
    ):
        in_pace(fails, 0)
    assert len(warned) == 3
