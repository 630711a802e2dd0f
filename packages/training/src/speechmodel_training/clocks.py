"""The time and the processor time that an epoch takes."""

import math
import os
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from speechmodel_stagekit.cpus import available_cpus


class Clock:
    """Seconds of the steps of a running epoch. A step that is abandoned is made again later, so its time does not count."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """Seconds so far."""
        self._since = math.nan

    def start(self) -> None:
        """Begin the first step of this epoch in this run."""
        self._since = time.monotonic()

    def step_made(self) -> None:
        """Count the time of a step, and begin the next one."""
        now = time.monotonic()
        self.seconds, self._since = self.seconds + now - self._since, now


class Pace:
    """The mean speed of a run, in epochs. Dev clips and saves take their time too."""

    def __init__(self, epochs: float) -> None:
        """Take the epochs that were trained before, the share of a running one included."""
        self._before, self._began = epochs, time.monotonic()

    def seconds_left(self, epochs: float, in_all: float) -> float | None:
        """Return the seconds from `epochs` to `in_all` at this speed. None before the first step of the run."""
        gained = epochs - self._before
        if gained <= 0:
            return None
        return round((time.monotonic() - self._began) / gained * max(in_all - epochs, 0), 1)


class CpuUse:
    """The use of the CPUs that this process may use."""

    def __init__(self, processor_seconds: Callable[[], float] = time.process_time) -> None:
        """Take the function that returns the processor time so far, by default that of this process alone."""
        self._processor_seconds = processor_seconds
        self._cpus = available_cpus()
        self._before: tuple[float, float] | None = None

    def since_last(self) -> float | None:
        """Return the share of the CPUs' time that was used since the last call, from 0 to 1; None at the first one.

        The time of a family falls when a process is killed before it has waited for those that it started.
        """
        before, now = self._before, (self._processor_seconds(), time.monotonic())
        self._before = now
        if before is None:
            return None
        used, passed = now[0] - before[0], now[1] - before[1]
        return round(min(max(used, 0.0) / max(passed, 1e-3) / self._cpus, 1.0), 3)


def family_seconds() -> float:
    """Return the processor time so far of this process, of all that it started, and of all that those started.

    The time of a process that has ended is in that of the one that waited for it (proc_pid_stat(5)).
    """
    parents, ticks = dict[int, int](), dict[int, int]()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            fields = stat.read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
            pid = int(stat.parent.name)
            parents[pid], ticks[pid] = int(fields[1]), sum(map(int, fields[11:15]))
    family, new = set[int](), {os.getpid()}
    while new:
        family |= new
        new = {pid for pid, parent in parents.items() if parent in family} - family
    return sum(ticks.get(pid, 0) for pid in family) / os.sysconf("SC_CLK_TCK")
