"""The number of CPUs that this process may use, by its affinity and the quotas of its cgroups
(version 1 or 2).

A container sees all cores of its node. Threads beyond its quota are throttled.
"""

import os
from collections.abc import Iterator
from math import ceil
from pathlib import Path, PurePosixPath

V1_MOUNTS = ("cpu,cpuacct", "cpu", "cpuacct,cpu")


def available_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs of the affinity mask, at most the smallest CPU quota (rounded up) of the
    enclosing cgroups, at least 1.

    `root` holds `proc` and `sys`.
    """
    return max(1, min([len(os.sched_getaffinity(0)), *(ceil(quota) for quota in _quotas(root))]))


def _quotas(root: Path) -> Iterator[float]:
    """Yield the CPUs that each cgroup grants, from ours up to the root; unlimited cgroups are left
    out.
    """
    mounts = root / "sys/fs/cgroup"
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        for group in (PurePosixPath(path), *PurePosixPath(path).parents):
            below = str(group).lstrip("/")
            if not controllers:
                quota, _, period = _read(mounts / below / "cpu.max").strip().partition(" ")
                if quota.isdecimal() and period.isdecimal():
                    yield int(quota) / int(period)
            elif "cpu" in controllers.split(","):
                for mount in V1_MOUNTS:
                    quota = _read(mounts / mount / below / "cpu.cfs_quota_us").strip()
                    period = _read(mounts / mount / below / "cpu.cfs_period_us").strip()
                    if quota.isdecimal() and period.isdecimal():  # -1: unlimited
                        yield int(quota) / int(period)


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except FileNotFoundError:
        return ""  # another cgroup version, or a group above our namespace's root
