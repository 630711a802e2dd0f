"""Be PID 1 of a group: `python -m kubecluster.init SPEC` unshares and forks, and the child supervises."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from kubecluster.group import GO, Group, Service

NEWNS, NEWUTS, NEWIPC, NEWPID, NEWNET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
RESTART_AFTER = 1.0  # seconds, so that a service that cannot start does not spin
SHOWN_WITHIN = 300.0  # seconds until a service shows the path that the next one needs
STOP_WITHIN = 5.0  # seconds from SIGTERM to SIGKILL
DRAIN_WITHIN = 120.0  # seconds, less than group.stop waits
SPARING = {"GOGC": "400"}  # the services are Go programs with little memory, and collect garbage a quarter as often
WATCHED = {signal.SIGCHLD, signal.SIGTERM}


class Supervisor:
    """Starts the group's services, restarts those that end, and ends them in order on SIGTERM."""

    def __init__(self, group: Group, logs: Path) -> None:
        self.group = group
        self.logs = logs
        self.running: dict[int, Service] = {}
        self.restart: list[tuple[float, Service]] = []

    def start(self) -> None:
        """Start every service in order; exits when one does not show the path that the next one needs."""
        for service in self.group.services:
            self._launch(service)
            end = time.monotonic() + SHOWN_WITHIN
            while service.wait and not Path(service.wait).exists():
                if time.monotonic() > end:
                    sys.exit(f"{service.name}: no {service.wait} within {SHOWN_WITHIN:g} s")
                time.sleep(0.02)

    def supervise(self) -> None:
        """Reap and restart until SIGTERM, then stop the first service last, after the drain."""
        while True:
            got = signal.sigtimedwait(WATCHED, 0.5)
            self._reap()
            if got and got.si_signo == signal.SIGTERM:
                return self._stop()
            now = time.monotonic()
            due = [service for at, service in self.restart if at <= now]
            self.restart = [(at, service) for at, service in self.restart if at > now]
            for service in due:
                self._launch(service)

    def _launch(self, service: Service) -> None:
        with (self.logs / f"{self.group.name}-{service.name}.log").open("a") as log:
            child = subprocess.Popen(
                service.argv,
                env=os.environ | SPARING,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
                start_new_session=True,
                preexec_fn=_unblock,
            )
        self.running[child.pid] = service

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if service := self.running.pop(pid, None):
                ended = os.waitstatus_to_exitcode(status)
                print(time.strftime("%H:%M:%S"), service.name, "ended with", ended, flush=True)
                self.restart.append((time.monotonic() + RESTART_AFTER, service))

    def _stop(self) -> None:
        first = self.group.services[0].name
        self._end({pid: service for pid, service in self.running.items() if service.name != first})
        if self.group.drain:
            try:
                subprocess.run(self.group.drain, stdin=subprocess.DEVNULL, preexec_fn=_unblock, timeout=DRAIN_WITHIN)
            except subprocess.TimeoutExpired:
                print(time.strftime("%H:%M:%S"), "not drained within", DRAIN_WITHIN, "s", flush=True)
        self._end(dict(self.running))

    def _end(self, ending: dict[int, Service]) -> None:
        for pid, service in ending.items():
            os.kill(pid, signal.SIGKILL if service.abrupt else signal.SIGTERM)
        end = time.monotonic() + STOP_WITHIN
        while left := ending.keys() & self.running.keys():
            if time.monotonic() > end:
                for pid in left:
                    os.kill(pid, signal.SIGKILL)
            signal.sigtimedwait({signal.SIGCHLD}, 0.1)
            self._reap()


def main() -> None:
    """Become PID 1 of new namespaces, wait until the starter has connected them, set up and supervise."""
    group, logs = Group.load(Path(sys.argv[1]))
    _unshare(NEWPID | (NEWNS | NEWNET | NEWIPC | NEWUTS if group.isolated else NEWNS))
    if os.fork():
        os._exit(0)
    signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    if sys.stdin.buffer.readline() != GO:
        sys.exit(f"group {group.name}: its starter died before it connected the group")
    os.chdir("/")
    for argv in [["mount", "--make-rprivate", "/"], ["mount", "-t", "proc", "proc", "/proc"], *group.setup]:
        subprocess.run(argv, check=True, stdin=subprocess.DEVNULL)
    supervisor = Supervisor(group, logs)
    supervisor.start()
    supervisor.supervise()


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def _unshare(flags: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(flags):
        raise OSError(ctypes.get_errno(), "unshare")


if __name__ == "__main__":
    main()
