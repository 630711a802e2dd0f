"""Remove and list what a stopped cluster must not leave."""

import shutil
from pathlib import Path

from kubecluster import cgroups, group, network
from kubecluster.layout import Layout
from kubecluster.node import PRIVATE

KEPT = ("bin", "pki", "nodes", "logs", "lock")  # of the state directory


def sweep(layout: Layout) -> None:
    """Remove what the kernel does not remove with the last process: links, cgroups, mount points, objects."""
    if not group.neighbours(layout):
        network.remove()
    cgroups.remove(layout.cgroup)
    if not group.any_init():
        for path in PRIVATE.values():
            if path.is_dir() and not any(path.iterdir()):
                path.rmdir()  # a mount point that a node made
    for path in layout.state.iterdir():
        if path.name not in KEPT:
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def leftovers(layout: Layout) -> list[str]:
    """Return the cluster's processes, mounts, links, routes and cgroups that exist now, each in words."""
    return [
        *(f"process group {name}" for name in group.inits(layout)),
        *(f"mount {path}" for path in _mounts(layout)),
        *([] if group.neighbours(layout) else _wires()),
        *(f"cgroup {path}" for path in cgroups.found(layout.cgroup)),
    ]


def _wires() -> list[str]:
    return [f"link {name}" for name in network.links()] + [f"route {route}" for route in network.routes()]


def _mounts(layout: Layout) -> list[Path]:
    points = [Path(line.split()[4]) for line in Path("/proc/self/mountinfo").read_text().splitlines()]
    return [point for point in points if {layout.state, layout.cache} & set(point.parents)]
