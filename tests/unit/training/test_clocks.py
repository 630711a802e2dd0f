"""The clocks of training, on a clock that tests move."""

import subprocess
import sys
import time
from collections.abc import Callable
from types import SimpleNamespace

import pytest
from speechmodel_training import clocks
from speechmodel_training.clocks import Clock, CpuUse, Pace, family_seconds


@pytest.fixture
def wait(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass."""
    passed = [0.0]
    monkeypatch.setattr(clocks, "time", SimpleNamespace(monotonic=lambda: passed[0], process_time=time.process_time))

    def pass_by(seconds: float) -> None:
        passed[0] += seconds

    return pass_by


def test_an_epoch_takes_the_time_of_the_steps_that_were_made(wait: Callable[[float], None]) -> None:
    clock = Clock(7)
    wait(100)
    clock.start()
    wait(1)
    clock.step_made()
    wait(2)
    clock.step_made()
    wait(50)
    assert clock.seconds == 7 + 1 + 2


def test_the_time_left_is_that_of_the_speed_of_this_run(wait: Callable[[float], None]) -> None:
    pace = Pace(5.5)
    wait(1)
    assert pace.seconds_left(5.5, 10) is None
    wait(9)
    assert pace.seconds_left(6, 10) == 10 / 0.5 * 4
    assert pace.seconds_left(10, 10) == 0
    assert pace.seconds_left(10, 9) == 0, "maxEpochs was lowered"


def test_the_use_of_the_cpus_is_that_of_all_processes_of_a_family(wait: Callable[[float], None]) -> None:
    used = CpuUse(family_seconds)
    assert used.since_last() is None
    before = family_seconds()
    burn = "import time\nwhile time.process_time() < 0.5: pass\nprint(flush=True)\ninput()"
    # a grandchild, while it runs and after it has ended
    command = ["sh", "-c", f'"$0" -c "{burn}"; true', sys.executable]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        process.stdout.readline()
        assert family_seconds() >= before + 0.4
        wait(10)
        share = used.since_last()
        assert share is not None and share > 0
        process.communicate("\n")
    assert family_seconds() >= before + 0.4


def test_the_use_of_the_cpus_is_0_when_a_process_is_killed_and_takes_the_time_of_its_own_along(
    wait: Callable[[float], None],
) -> None:
    used = CpuUse(iter((9.0, 4.0)).__next__)
    assert used.since_last() is None
    wait(10)
    assert used.since_last() == 0
