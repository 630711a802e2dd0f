"""Processes on this machine and their namespaces; psutil knows the processes but not the namespaces."""

from pathlib import Path

import psutil


def alive(process: psutil.Process) -> bool:
    """Return whether the process still runs. A zombie does not, even if it is never reaped."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def is_namespace_init(pid: int) -> bool:
    """Return whether the process is PID 1 of a namespace below this one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"


def namespace(pid: int | str, kind: str) -> str:
    """Return an identity for the process's namespace of that kind (pid, net, ...); empty when it has ended."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""
