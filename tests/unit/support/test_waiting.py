import subprocess
import sys
import time
from itertools import count, repeat

import pytest
from support.waiting import until, until_ended


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
