"""Connect the nodes: a bridge on the host, a link into each node, and routes to pods and Services."""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

from kubecluster.layout import BRIDGE, HOST_IP, NODES, SERVICE_CIDR, Node
from kubecluster.shell import run

NEWNET = 0x40000000  # CLONE_NEWNET


@contextmanager
def apart() -> Iterator[None]:
    """Put this thread, and what it starts, into a network namespace of its own while the block runs.

    A second cluster can be brought up there, because all clusters have the same addresses. The internet cannot be reached.
    """
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    _call("unshare", NEWNET)
    try:
        run("ip", "link", "set", "lo", "up")
        yield
    finally:
        _call("setns", home, NEWNET)
        os.close(home)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if getattr(libc, name)(*arguments):
        raise OSError(ctypes.get_errno(), name)


def make_bridge() -> None:
    """Make the bridge that connects the nodes, with the host's address."""
    if run("ip", "link", "show", BRIDGE, check=False).returncode:
        run("ip", "link", "add", BRIDGE, "type", "bridge")
    run("ip", "address", "replace", f"{HOST_IP}/24", "dev", BRIDGE)
    run("ip", "link", "set", BRIDGE, "up")


def connect(node: Node, pid: int) -> None:
    """Link the network namespace of `pid` to the bridge; the kernel removes the link with the namespace."""
    run("ip", "link", "add", node.link, "type", "veth", "peer", "name", "eth0", "netns", str(pid))
    run("ip", "link", "set", node.link, "master", BRIDGE, "up")
    run("ip", "route", "replace", node.pod_cidr, "via", node.ip)
    if node == NODES[0]:
        run("ip", "route", "replace", SERVICE_CIDR, "via", node.ip)  # tests on the host reach Services through it

    def inside(*argv: str) -> None:
        run("nsenter", f"--net=/proc/{pid}/ns/net", *argv)

    inside("ip", "link", "set", "lo", "up")
    inside("ip", "address", "add", f"{node.ip}/24", "dev", "eth0")
    inside("ip", "link", "set", "eth0", "up")
    inside("ip", "route", "add", SERVICE_CIDR, "via", HOST_IP)  # lets the node itself use Services
    inside("ip", "route", "add", "unreachable", "default")  # offline fails at once instead of hanging
    for other in NODES:
        if other != node:
            inside("ip", "route", "add", other.pod_cidr, "via", other.ip)
    inside("sysctl", "-qw", "net.ipv4.ip_forward=1")


def remove() -> None:
    """Remove the bridge and the host's ends of the links; their routes go with them."""
    for link in links():
        run("ip", "link", "delete", link, check=False)  # a link may go with its node's last process


def links() -> list[str]:
    """Return the cluster's network interfaces that exist."""
    ours = {BRIDGE, *(n.link for n in NODES)}
    names = [line.split(": ")[1].split("@")[0] for line in run("ip", "-o", "link").stdout.splitlines()]
    return [name for name in names if name in ours]


def routes() -> list[str]:
    """Return the routes over the bridge."""
    return [line.strip() for line in run("ip", "route").stdout.splitlines() if f"dev {BRIDGE}" in line]
