"""Process groups that cannot leak: each is a PID namespace under an init that restarts its services.

Killing the init makes the kernel kill every process in the namespace; with the last process go its
mount and network namespaces, so mounts, veth pairs, nft and iptables rules need no clean-up code.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from . import processes
from .errors import ClusterError, NotRunning, TimedOut
from .layout import SOURCE, Layout
from .shell import tail, wait_for

INIT_MODULE = "kubecluster.init"
GO = b"go\n"  # what the init waits for; end of file instead means that its starter died


@dataclass(frozen=True)
class Service:
    """One program of a group, restarted when it ends."""

    name: str
    argv: list[str]
    wait: str = ""  # a path that must exist before the next service starts
    abrupt: bool = False  # ended by SIGKILL: its data is thrown away, so there is nothing to put in order


@dataclass(frozen=True)
class Group:
    """Services that live and die together."""

    name: str
    services: list[Service]
    isolated: bool = False  # own mount, network, IPC and UTS namespaces too
    setup: list[list[str]] = field(default_factory=list)  # run inside, before the first service
    drain: list[str] = field(default_factory=list)  # run inside, when only the first service is left

    def save(self, path: Path, logs: Path) -> None:
        """Write what the init reads."""
        path.write_text(json.dumps(asdict(self) | {"logs": str(logs)}, indent=1))

    @classmethod
    def load(cls, path: Path) -> tuple["Group", Path]:
        """The group and its log directory, as `save` wrote them."""
        fields = json.loads(path.read_text())
        logs = Path(fields.pop("logs"))
        services = [Service(**s) for s in fields.pop("services")]
        return cls(services=services, **fields), logs


def start(layout: Layout, group: Group, connect: Callable[[int], None] | None = None) -> int:
    """Start the group's init and return its PID; `connect(pid)` may wire its namespaces before the services start.

    Raises ClusterError with the init's log when it does not start.
    """
    layout.groups.mkdir(parents=True, exist_ok=True)
    layout.logs.mkdir(parents=True, exist_ok=True)
    spec = layout.groups / f"{group.name}.json"
    group.save(spec, layout.logs)
    log = layout.logs / f"{group.name}.log"
    with log.open("w") as out:
        launcher = subprocess.Popen(
            [sys.executable, "-m", INIT_MODULE, str(spec)],
            start_new_session=True,
            cwd="/",
            env=os.environ | {"PYTHONPATH": str(SOURCE)},
            stdin=subprocess.PIPE,
            stdout=out,
            stderr=out,
        )
    assert launcher.stdin is not None
    with launcher.stdin as gate:
        launcher.wait()  # it forks: the child is the init
        pid = find(layout, group.name)
        if launcher.returncode or pid is None:
            raise ClusterError(f"group {group.name} did not start. {tail(log)}")
        if connect:
            connect(pid)
        gate.write(GO)
    return pid


def inits(layout: Layout) -> dict[str, int]:
    """Names and host PIDs of this cluster's running inits, found by what they run, not by PID files."""
    return {spec.stem: pid for spec, pid in _all_inits() if spec.parent == layout.groups}


def neighbours(layout: Layout) -> set[Path]:
    """State directories of other clusters that use this network namespace, and so the same addresses."""
    here = processes.namespace("thread-self", "net")
    found = {spec.parent.parent for spec, pid in _all_inits() if processes.namespace(pid, "net") == here}
    return found - {layout.state}


def any_init() -> bool:
    """Whether a group of any cluster, of whichever state directory, runs on this machine."""
    return any(_all_inits())


def find(layout: Layout, name: str) -> int | None:
    """The host PID of the group's init, if it runs."""
    return inits(layout).get(name)


def members(init: int) -> list[int]:
    """Host PIDs of every process in the init's PID namespace."""
    space = processes.namespace(init, "pid")
    return [pid for pid in processes.pids() if space and processes.namespace(pid, "pid") == space]


def service_pids(layout: Layout, group: str, service: str) -> list[int]:
    """Host PIDs of the processes that run a service's program."""
    init = find(layout, group)
    if init is None:
        return []
    return [pid for pid in members(init) if Path((processes.command_line(pid) or [""])[0]).name == service]


def signal_service(layout: Layout, group: str, service: str, number: signal.Signals) -> None:
    """Send a signal to a service; raises NotRunning when it is not there."""
    hit = service_pids(layout, group, service)
    if not hit:
        raise NotRunning(f"no {service} runs in group {group}. {tail(layout.logs / f'{group}.log')}")
    for pid in hit:
        os.kill(pid, number)


def stop(layout: Layout, names: Iterable[str], seconds: float = 20, kill: bool = False) -> None:
    """Stop groups together: SIGTERM (or SIGKILL at once), then SIGKILL for those that took longer than `seconds`.

    An init that was still to be forked when its starter was killed is stopped by killing its launcher.
    """
    names = set(names)
    launching = [pid for spec, pid in _launchers() if spec.parent == layout.groups and spec.stem in names]
    for pid in launching:
        _send(pid, signal.SIGKILL)
    wait_for("the end of launchers", lambda: not any(map(processes.alive, launching)), seconds, every=0.02)
    running = {name: pid for name, pid in inits(layout).items() if name in names}
    for pid in running.values():
        _send(pid, signal.SIGKILL if kill else signal.SIGTERM)
    end = time.monotonic() + seconds
    killed = kill
    while left := {name: pid for name, pid in running.items() if processes.alive(pid)}:
        if time.monotonic() > end:
            if killed:
                raise TimedOut(f"groups {', '.join(left)} are still there {seconds:g} s after SIGKILL")
            for pid in left.values():
                _send(pid, signal.SIGKILL)
            end, killed = time.monotonic() + seconds, True
        time.sleep(0.05)


def _all_inits() -> Iterator[tuple[Path, int]]:
    """The specification and the host PID of every init."""
    return ((spec, pid) for spec, pid in _running_init_module() if processes.is_namespace_init(pid))


def _launchers() -> Iterator[tuple[Path, int]]:
    """The specification and the host PID of every process that is about to fork an init."""
    return ((spec, pid) for spec, pid in _running_init_module() if not processes.is_namespace_init(pid))


def _running_init_module() -> Iterator[tuple[Path, int]]:
    for pid in processes.pids():
        argv = processes.command_line(pid)
        if len(argv) == 4 and argv[2] == INIT_MODULE:
            yield Path(argv[3]), pid


def _send(pid: int, number: signal.Signals) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return  # it ended by itself meanwhile, which is what was asked for
