"""Processes that are identified beyond their pid, because pids are used again, also by the next boot."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil
from speechmodel_api.base import Document


class ProcessIdentity(Document):
    """Identifies one process among all that this machine ever runs."""

    pid: int
    started_seconds: float
    """Seconds from boot to its start. They do not change with the clock of the machine."""
    boot: str
    """Random id of the boot, from /proc/sys/kernel/random/boot_id."""


def identify(pid: int) -> ProcessIdentity | None:
    """Return the process that has this pid now; None when there is none or only its zombie."""
    try:
        process = psutil.Process(pid)
        with process.oneshot():
            started = round(process.create_time() - psutil.boot_time(), 2)
            if process.status() in (psutil.STATUS_ZOMBIE, psutil.STATUS_DEAD):
                return None
    except psutil.NoSuchProcess:
        return None
    boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    return ProcessIdentity(pid=pid, started_seconds=started, boot=boot)


def is_alive(process: ProcessIdentity) -> bool:
    """Return True while that very process executes."""
    return identify(process.pid) == process


def kill_group(process: ProcessIdentity) -> None:
    """Kill a process that leads a group, with its group. Do nothing when it has ended."""
    if is_alive(process):
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
