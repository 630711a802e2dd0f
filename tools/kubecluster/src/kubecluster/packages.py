"""Find and install the Debian packages that the cluster needs."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from kubecluster.errors import CommandFailed, MissingPrerequisite
from kubecluster.shell import run

# program -> Debian package
REQUIRED = {
    "containerd": "containerd",
    "ctr": "containerd",
    "runc": "runc",
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "iptables": "iptables",
    "nft": "nftables",
    "conntrack": "conntrack",
    "dbus-daemon": "dbus-daemon",
    "dbus-send": "dbus-bin",
    "ip": "iproute2",
    "sysctl": "procps",
    "mount": "mount",
    "nsenter": "util-linux",
    "unshare": "util-linux",
    "setpriv": "util-linux",
    "openssl": "openssl",
    "buildah": "buildah",
    "debootstrap": "debootstrap",
    "docker-registry": "docker-registry",
}
POLICY = Path("/usr/sbin/policy-rc.d")
INSTALL = ("apt-get", "install", "--yes", "--no-install-recommends")


def missing() -> list[str]:
    """Return the Debian packages that lack a program, sorted."""
    return sorted({package for program, package in REQUIRED.items() if not shutil.which(program)})


def require() -> None:
    """Raise MissingPrerequisite, with the command that installs them, when packages are missing."""
    if lacking := missing():
        raise MissingPrerequisite(
            f"missing Debian packages: {' '.join(lacking)}\n"
            f"as root on Debian: python -m kubecluster packages --install\n"
            f"or by hand: {' '.join(INSTALL)} {' '.join(lacking)}"
        )


def install() -> list[str]:
    """Install what is missing and return its names; package lists are fetched only if apt-get needs newer ones."""
    lacking = missing()
    if not lacking:
        return []
    if os.geteuid() != 0 or not shutil.which("apt-get"):
        require()
    env = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    with _services_stay_off():
        try:
            run(*INSTALL, *lacking, env=env)
        except CommandFailed:
            run("apt-get", "update", env=env)
            run(*INSTALL, *lacking, env=env)
    require()
    return lacking


@contextmanager
def _services_stay_off() -> Iterator[None]:
    """Keep Debian from starting the daemons of the packages, because the cluster runs its own."""
    if POLICY.exists():
        yield
        return
    POLICY.write_text("#!/bin/sh\nexit 101\n")
    POLICY.chmod(0o755)
    try:
        yield
    finally:
        POLICY.unlink()
