"""Run process groups that cannot leak: each is a PID namespace under an init that restarts its services.

Killing the init makes the kernel kill every process in the namespace; with the last process go its
mount and network namespaces, so mounts, veth pairs, nft and iptables rules need no clean-up code.
"""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path

import psutil

from kubecluster import processes
from kubecluster.errors import ClusterError, NotRunning, TimedOut
from kubecluster.layout import Layout
from kubecluster.shell import tail

INIT_MODULE = "kubecluster.init"
GO = b"go\n"  # what the init waits for; end of file instead means that its starter died


@dataclass(frozen=True)
class Service:
    """A program of a group, which is restarted when it ends."""

    name: str
    argv: list[str]
    wait: str = ""  # a path that must exist before the next service starts
    abrupt: bool = False  # ended by SIGKILL: its data is thrown away, so there is nothing to put in order


@dataclass(frozen=True)
class Group:
    """Services that start and end together."""

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
        """Return the group and its log directory, as `save` wrote them."""
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
    """Return the names and host PIDs of this cluster's running inits, found by their command lines."""
    return {spec.stem: init.pid for spec, init in _all_inits() if spec.parent == layout.groups}


def neighbours(layout: Layout) -> set[Path]:
    """Return the state directories of other clusters that use this network namespace, and so the same addresses."""
    here = processes.namespace("thread-self", "net")
    found = {spec.parent.parent for spec, init in _all_inits() if processes.namespace(init.pid, "net") == here}
    return found - {layout.state}


def any_init() -> bool:
    """Return whether a group of any cluster runs on this machine."""
    return any(_all_inits())


def find(layout: Layout, name: str) -> int | None:
    """Return the host PID of the group's init, if it runs."""
    return inits(layout).get(name)


def members(init: int) -> list[psutil.Process]:
    """Return every process in the init's PID namespace."""
    space = processes.namespace(init, "pid")
    return [p for p in psutil.process_iter(["cmdline"]) if space and processes.namespace(p.pid, "pid") == space]


def service_processes(layout: Layout, group: str, service: str) -> list[psutil.Process]:
    """Return the processes that run a service's program."""
    init = find(layout, group)
    if init is None:
        return []
    return [member for member in members(init) if Path((member.info["cmdline"] or [""])[0]).name == service]


def signal_service(layout: Layout, group: str, service: str, number: signal.Signals) -> None:
    """Send a signal to a service; raises NotRunning when it does not run."""
    found = service_processes(layout, group, service)
    if not found:
        raise NotRunning(f"no {service} runs in group {group}. {tail(layout.logs / f'{group}.log')}")
    for process in found:
        process.send_signal(number)


def stop(layout: Layout, names: Iterable[str], seconds: float = 180, kill: bool = False) -> None:
    """Stop groups together: SIGTERM (or SIGKILL at once), then SIGKILL for those that took longer than `seconds`.

    A launcher that has not forked its init yet, because its starter was killed, is killed too.
    """
    names = set(names)
    launching = [launcher for spec, launcher in _launchers() if spec.parent == layout.groups and spec.stem in names]
    left = _end(launching, signal.SIGKILL, seconds)
    running = [init for spec, init in _all_inits() if spec.parent == layout.groups and spec.stem in names]
    if not kill:
        running = _end(running, signal.SIGTERM, seconds)
    left += _end(running, signal.SIGKILL, seconds)
    if left:
        pids = ", ".join(str(process.pid) for process in left)
        raise TimedOut(f"processes of groups {', '.join(sorted(names))} still run {seconds:g} s after SIGKILL: {pids}")


def _all_inits() -> Iterator[tuple[Path, psutil.Process]]:
    """Yield the specification and the process of every init."""
    return ((spec, found) for spec, found in _running_init_module() if processes.is_namespace_init(found.pid))


def _launchers() -> Iterator[tuple[Path, psutil.Process]]:
    """Yield the specification and the process of every launcher, which has yet to fork its init."""
    return ((spec, found) for spec, found in _running_init_module() if not processes.is_namespace_init(found.pid))


def _running_init_module() -> Iterator[tuple[Path, psutil.Process]]:
    for process in psutil.process_iter(["cmdline"]):
        argv = process.info["cmdline"] or []
        if len(argv) == 4 and argv[2] == INIT_MODULE:
            yield Path(argv[3]), process


def _end(ending: list[psutil.Process], number: signal.Signals, seconds: float) -> list[psutil.Process]:
    """Send the signal and return the processes that still run after `seconds`."""
    for process in ending:
        with suppress(psutil.NoSuchProcess):
            process.send_signal(number)
    end = time.monotonic() + seconds
    while (left := [process for process in ending if processes.alive(process)]) and time.monotonic() < end:
        time.sleep(0.02)
    return left
