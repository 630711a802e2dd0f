"""Start a node, with its directories and the command lines of its containerd, kubelet and kube-proxy."""

import shutil
import sys
from pathlib import Path

from kubecluster import cgroups, group, network, node_config
from kubecluster.group import Group, Service
from kubecluster.layout import POD_CIDR, Layout, Node
from kubecluster.shell import Options, flags

# the node sees its own directories at the usual places, in its own mount namespace
PRIVATE = {
    "kubelet": Path("/var/lib/kubelet"),
    "containerd": Path("/var/lib/containerd"),
    "cni": Path("/var/lib/cni"),
    "log": Path("/var/log"),
}
VOLATILE = ("kubelet", "cni", "log")  # emptied at each start; the image store stays
LOGIND = "/run/logind"  # made by the service of that name when it answers
CLEAN = "clean"  # written by a stop that left a usable image store


def start(layout: Layout, node: Node) -> None:
    """Start the node; its image store is kept if its last stop was a clean one."""
    home = layout.node(node)
    if not (home / CLEAN).exists():
        shutil.rmtree(home, ignore_errors=True)
    (home / CLEAN).unlink(missing_ok=True)
    for name in VOLATILE:
        shutil.rmtree(home / name, ignore_errors=True)
    cgroups.make(layout.cgroup, node.name)
    group.start(layout, spec(layout, node), connect=lambda pid: network.connect(node, pid))


def spec(layout: Layout, node: Node) -> Group:
    """Write the node's files and return the group that runs it."""
    home = layout.node(node)
    files = node_config.write(layout, node, home)
    targets = [str(path) for path in PRIVATE.values()]
    setup = [["hostname", node.name], ["mount", "-t", "tmpfs", "tmpfs", "/run"], ["mkdir", "-p", *targets]]
    for name, target in PRIVATE.items():
        (home / name).mkdir(parents=True, exist_ok=True)
        setup.append(["mount", "--bind", str(home / name), str(target)])
    setup.append(["mkdir", "-p", str(node_config.BUS.parent)])
    setup.append(["mount", "--make-rshared", "/"])  # kubelet passes mounts on to containers
    kubelet: Options = {
        "kubeconfig": layout.kubeconfig(f"kubelet-{node.name}"),
        "config": files.kubelet,
        "hostname-override": node.name,
        "node-ip": node.ip,
        "node-labels": ",".join(f"{k}={v}" for k, v in node.labels.items()),
    }
    proxy: Options = {
        "kubeconfig": layout.kubeconfig("proxy"),
        "hostname-override": node.name,
        "proxy-mode": "nftables",
        "cluster-cidr": POD_CIDR,
        # leave the machine's connection tracking as it is
        "conntrack-max-per-core": 0,
        "conntrack-tcp-timeout-established": "0s",
        "conntrack-tcp-timeout-close-wait": "0s",
    }
    services = [
        Service("containerd", ["containerd", "--config", str(files.containerd)], wait=node_config.SOCKET),
        Service(
            "dbus-daemon", ["dbus-daemon", f"--config-file={files.bus}", "--nofork"], str(node_config.BUS), abrupt=True
        ),
        Service("logind", [sys.executable, "-m", "kubecluster.logind", LOGIND], LOGIND, abrupt=True),
        Service("kubelet", [str(layout.bin / "kubelet"), *flags(kubelet)]),
        Service("kube-proxy", [str(layout.bin / "kube-proxy"), *flags(proxy)]),
    ]
    if node.gpus:
        services.append(Service("device-plugin", [str(layout.bin / "device-plugin"), f"--count={node.gpus}"]))
    drain = [sys.executable, "-m", "kubecluster.drain", str(home / CLEAN)]
    return Group(node.group, services, isolated=True, setup=setup, drain=drain)
