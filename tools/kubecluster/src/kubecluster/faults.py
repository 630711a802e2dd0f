"""Cause faults on purpose: kill or freeze a service, lose a node, announce its shutdown."""

import signal

from kubecluster import cluster, group, logind, node
from kubecluster.errors import ClusterError, NotRunning
from kubecluster.layout import NODES, Layout, Node
from kubecluster.shell import run


def kill_service(layout: Layout, group_name: str, service: str) -> None:
    """Kill a service; the group's init starts it again after a second. Raises NotRunning when it does not run."""
    group.signal_service(layout, group_name, service, signal.SIGKILL)


def freeze_service(layout: Layout, group_name: str, service: str) -> None:
    """Stop a service until `thaw_service`; it keeps its connections but does not answer."""
    group.signal_service(layout, group_name, service, signal.SIGSTOP)


def thaw_service(layout: Layout, group_name: str, service: str) -> None:
    """Let a frozen service continue."""
    group.signal_service(layout, group_name, service, signal.SIGCONT)


def lose_node(layout: Layout, name: str) -> None:
    """End a node as if its power went: nothing is drained, and its image store is lost."""
    lost = find_node(name)
    with cluster.exclusive(layout):
        group.stop(layout, [lost.group], kill=True)


def start_node(layout: Layout, name: str) -> None:
    """Start a lost node again; it is Ready some seconds later (`cluster.wait_ready`)."""
    found = find_node(name)
    with cluster.exclusive(layout):
        cluster.require_up(layout)
        if group.find(layout, found.group) is None:
            node.start(layout, found)


def announce_shutdown(layout: Layout, name: str, *, begins: bool) -> None:
    """Tell a node that it is about to shut down, or that it is not after all, as logind does. The kubelet ends all pods then.

    Raises NotRunning when the node does not run.
    """
    found = find_node(name)
    init = group.find(layout, found.group)
    if init is None:
        raise NotRunning(f"node {name} does not run")
    signal_name = f"{logind.INTERFACE}.PrepareForShutdown"
    send = ("dbus-send", "--system", "--type=signal", logind.PATH, signal_name, f"boolean:{str(begins).lower()}")
    run("nsenter", "--target", str(init), "--mount", *send)


def find_node(name: str) -> Node:
    """Return the node of that name; raises ClusterError when there is none."""
    for found in NODES:
        if found.name == name:
            return found
    raise ClusterError(f"there is no node {name}, only {', '.join(n.name for n in NODES)}")
