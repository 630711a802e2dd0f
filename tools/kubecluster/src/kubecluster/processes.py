"""What runs on this machine, read from /proc."""

import os
from collections.abc import Iterator
from pathlib import Path


def pids() -> Iterator[int]:
    """Every process ID."""
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def command_line(pid: int) -> list[str]:
    """The process's arguments; empty when it is gone or a kernel thread."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace").split("\0")[:-1]
    except OSError:
        return []


def alive(pid: int) -> bool:
    """Whether the process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except OSError:
        return False


def is_namespace_init(pid: int) -> bool:
    """Whether the process is PID 1 of a namespace below this one."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    numbers = next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[1:]
    return len(numbers) > 1 and numbers[-1] == "1"


def namespace(pid: int | str, kind: str) -> str:
    """An identity for the process's namespace of that kind (pid, net, ...); empty when the process is gone."""
    try:
        return str(Path(f"/proc/{pid}/ns/{kind}").readlink())
    except OSError:
        return ""
