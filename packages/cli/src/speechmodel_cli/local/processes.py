"""Which process is meant, beyond its pid: pids are used again, also by the next boot."""

import os
import signal
from contextlib import suppress
from pathlib import Path

from speechmodel_api.base import Document

_START_TIME = 19
"""Index of `starttime` in /proc/<pid>/stat after the command's name, see proc(5)."""


class ProcessIdentity(Document):
    """One process, for ever."""

    pid: int
    started: int
    """Clock ticks from boot to its start."""
    boot: str
    """Of /proc/sys/kernel/random/boot_id."""


def identify(pid: int) -> ProcessIdentity | None:
    """The process that has this pid now; None when there is none or only its zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = stat.rpartition(")")[2].split()
    if fields[0] in "ZX":
        return None
    return ProcessIdentity(pid=pid, started=int(fields[_START_TIME]), boot=boot)


def is_alive(process: ProcessIdentity) -> bool:
    """Whether that very process still executes."""
    return identify(process.pid) == process


def kill_group(process: ProcessIdentity) -> None:
    """Kill a process that leads a group, with its group; nothing happens when it ended already."""
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
