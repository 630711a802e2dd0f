"""Process groups on this machine: root, seconds, no cluster."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from kubecluster import group, processes
from kubecluster.errors import NotRunning
from kubecluster.group import Group, Service
from kubecluster.layout import Layout
from kubecluster.shell import wait_for

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it makes namespaces")
SLEEP = Service("sleep", ["sleep", "1000"])


@pytest.fixture
def clean(layout: Layout) -> Iterator[Layout]:
    yield layout
    group.stop(layout, list(group.inits(layout)), kill=True)


def sleepers(layout: Layout) -> set[int]:
    return {process.pid for process in group.service_processes(layout, "g", "sleep")}


def wait_for_sleeper(layout: Layout) -> None:
    wait_for("sleep", lambda: bool(sleepers(layout)), 120)


def test_stopping_a_group_ends_every_process(clean: Layout) -> None:
    pid = group.start(clean, Group("g", [SLEEP]))
    wait_for_sleeper(clean)
    members = group.members(pid)
    group.stop(clean, ["g"])
    assert [p for p in members if processes.alive(p)] == []
    assert group.inits(clean) == {}


def test_killing_an_init_ends_its_services_and_drops_its_mounts(clean: Layout) -> None:
    target = clean.state / "mounted"
    target.mkdir(parents=True)
    pid = group.start(clean, Group("g", [SLEEP], isolated=True, setup=[["mount", "-t", "tmpfs", "x", str(target)]]))
    wait_for_sleeper(clean)
    assert str(target) in Path(f"/proc/{pid}/mountinfo").read_text()
    assert str(target) not in Path("/proc/self/mountinfo").read_text()
    members = group.members(pid)
    os.kill(pid, signal.SIGKILL)
    wait_for("their end", lambda: not any(processes.alive(p) for p in members), 120)


def test_a_killed_service_comes_back(clean: Layout) -> None:
    group.start(clean, Group("g", [SLEEP]))
    wait_for_sleeper(clean)
    before = sleepers(clean)
    group.signal_service(clean, "g", "sleep", signal.SIGKILL)
    wait_for("another", lambda: bool(sleepers(clean) - before), 120)


def test_a_service_that_is_not_there_cannot_be_killed(clean: Layout) -> None:
    group.start(clean, Group("g", [SLEEP]))
    with pytest.raises(NotRunning, match="no nothing runs in group g"):
        group.signal_service(clean, "g", "nothing", signal.SIGKILL)


def test_a_failing_setup_ends_the_group_and_is_in_its_log(clean: Layout) -> None:
    group.start(clean, Group("g", [SLEEP], isolated=True, setup=[["false"]]))
    wait_for("its end", lambda: not group.inits(clean), 120)
    assert "false" in (clean.logs / "g.log").read_text()


def test_a_group_whose_starter_died_before_wiring_it_up_ends(clean: Layout) -> None:
    script = """
import os, signal, sys
from pathlib import Path
from kubecluster.group import Group, Service, start
from kubecluster.layout import Layout
start(Layout(Path(sys.argv[1]), Path(sys.argv[2])), Group("g", [Service("sleep", ["sleep", "1000"])]),
      connect=lambda pid: os.kill(os.getpid(), signal.SIGKILL))
"""
    argv = [sys.executable, "-c", script, str(clean.state), str(clean.cache)]
    died = subprocess.run(argv)
    assert died.returncode == -signal.SIGKILL
    wait_for("its end", lambda: not group.inits(clean), 120)
    assert "died before" in (clean.logs / "g.log").read_text()
