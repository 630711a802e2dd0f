"""Make and remove cgroup v1 directories, for each node and for image builds."""

import time
from pathlib import Path

from kubecluster.errors import MissingPrerequisite

MOUNT = Path("/sys/fs/cgroup")


def require_v1() -> None:
    """Raise MissingPrerequisite unless this machine has cgroup v1."""
    if (MOUNT / "memory").is_dir():
        return
    found = "cgroup v2" if (MOUNT / "cgroup.controllers").exists() else f"nothing below {MOUNT}"
    raise MissingPrerequisite(
        f"needs cgroup v1 (found {found}): boot with systemd.unified_cgroup_hierarchy=0, or give the tests another "
        f"cluster with KUBECONFIG and E2E_CONTEXT"
    )


def make(*path: str) -> None:
    """Make the directory below every controller; a new cpuset is empty and gets its parent's."""
    for controller in sorted(p for p in MOUNT.iterdir() if p.is_dir() and not p.is_symlink()):
        parent = controller
        for part in path:
            here = parent / part
            here.mkdir(exist_ok=True)
            for name in ("cpuset.cpus", "cpuset.mems"):
                if (here / name).exists():
                    (here / name).write_text((parent / name).read_text())
            parent = here


def remove(top: str, seconds: float = 5) -> None:
    """Remove all of `top`, deepest first; what is still busy after `seconds` stays."""
    end = time.monotonic() + seconds
    for root in found(top):
        below = sorted((p for p in root.rglob("*") if p.is_dir()), key=lambda p: -len(p.parts))
        for path in [*below, root]:
            while not _gone(path) and time.monotonic() < end:
                time.sleep(0.05)  # a cgroup stays busy for a moment after its last process died


def found(top: str) -> list[Path]:
    """Return the directories called `top`, one for each controller that has it."""
    return sorted(MOUNT.glob(f"*/{top}"))


def _gone(path: Path) -> bool:
    try:
        path.rmdir()
    except FileNotFoundError:
        return True
    except OSError:
        return False
    return True
