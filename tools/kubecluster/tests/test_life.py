"""Nothing of a cluster is left when it ends, however it ends."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest
from kubecluster import cluster, group, remains
from kubecluster.layout import NODES, Layout
from kubecluster.shell import run, wait_for

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root: it brings a cluster up"),
]


@pytest.fixture
def down(own_network: Layout) -> Iterator[Layout]:
    yield own_network
    cluster.down(own_network)


def traces(layout: Layout) -> dict[str, str]:
    """Return every trace of a cluster on this machine, found without kubecluster's own code."""
    running = [argv for argv in command_lines() if str(layout.state) in " ".join(argv)]
    mounts = Path("/proc/self/mountinfo").read_text().splitlines()
    return {
        "processes": " ".join(map(str, running)),
        "mounts": "\n".join(line for line in mounts if str(layout.state) in line),
        "links": "\n".join(line.split(": ")[1] for line in run("ip", "-o", "link").stdout.splitlines()),
        "routes": run("ip", "route").stdout,
        "packet filter": run("nft", "list", "ruleset").stdout,
        "cgroups": " ".join(str(path) for path in Path("/sys/fs/cgroup").glob(f"*/{layout.cgroup}*")),
        "network namespaces": run("ip", "netns", "list").stdout,
    }


def command(layout: Layout, *argv: str) -> subprocess.Popen[bytes]:
    """The command line, on this state directory."""
    env = os.environ | {"KUBECLUSTER_STATE": str(layout.state), "KUBECLUSTER_CACHE": str(layout.cache)}
    return subprocess.Popen([sys.executable, "-m", "kubecluster", *argv], env=env)


def sleeping() -> bool:
    return ["sleep", "987654"] in command_lines()


def command_lines() -> list[list[str]]:
    return [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]


def test_a_clean_end_leaves_nothing_but_binaries_and_images(down: Layout) -> None:
    before = traces(down)
    assert before["processes"] == before["cgroups"] == ""
    cluster.up(down)
    assert cluster.healthy(down)
    assert traces(down) != before
    cluster.down(down)
    assert traces(down) == before
    assert remains.leftovers(down) == []
    assert {path.name for path in down.state.iterdir()} <= set(remains.KEPT)
    assert all((down.node(n) / "clean").exists() for n in NODES), "the image stores cannot be used again"


def test_all_its_processes_killed_at_once_leave_nothing_after_down(down: Layout) -> None:
    before = traces(down)
    cluster.up(down)
    for pid in group.inits(down).values():
        os.kill(pid, signal.SIGKILL)
    cluster.down(down)
    assert traces(down) == before


@pytest.mark.parametrize("seconds", [0.3, 3])
def test_up_killed_half_way_leaves_nothing_after_down(down: Layout, seconds: float) -> None:
    before = traces(down)
    starting = command(down, "up")
    time.sleep(seconds)
    starting.kill()
    starting.wait()
    cluster.down(down)
    assert traces(down) == before


def test_a_group_that_was_about_to_start_when_its_starter_was_killed_does_not(down: Layout, tmp_path: Path) -> None:
    before = traces(down)
    argv = [sys.executable, "-m", group.INIT_MODULE, str(down.groups / "control.json")]
    stop = "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)"  # as the interpreter starts, long before it forks
    (tmp_path / "sitecustomize.py").write_text(stop, encoding="utf-8")
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, env=environment) as launcher:
        try:
            found = psutil.Process(launcher.pid)
            wait_for("its start", lambda: found.status() == psutil.STATUS_STOPPED, 600, every=0.01)
            assert found.cmdline() == argv
            cluster.down(down)
            assert launcher.wait(600) == -signal.SIGKILL
        finally:
            launcher.kill()
    wait_for("its end", lambda: traces(down) == before, 600)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_cluster_that_was_up_for_a_command_goes_when_that_is_killed(down: Layout, number: signal.Signals) -> None:
    before = traces(down)
    lasting = command(down, "run", "--", "sleep", "987654")
    wait_for("the command", lambda: sleeping(), 600, every=0.5)
    assert cluster.healthy(down)
    lasting.send_signal(number)
    lasting.wait()
    wait_for("its end", lambda: traces(down) == before and not sleeping(), 600, every=0.5)


def test_a_command_runs_with_the_cluster_and_its_exit_code_is_kept(down: Layout) -> None:
    before = traces(down)
    script = 'kubectl get nodes && test -n "$AWS_ENDPOINT_URL" && exit 7'
    assert command(down, "run", "--", "sh", "-c", script).wait() == 7
    assert traces(down) == before


def test_a_cluster_that_was_up_before_a_command_stays_up(down: Layout) -> None:
    cluster.up(down)
    assert command(down, "run", "--", "true").wait() == 0
    assert cluster.healthy(down)
