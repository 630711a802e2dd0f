"""Write the configuration files of a node: containerd, its registries, the pod network, the kubelet."""

import json
from dataclasses import dataclass
from pathlib import Path

from kubecluster.layout import DNS_IP, HOST_IP, PAUSE_IMAGE, PRIVATE_REGISTRY, REGISTRY, Layout, Node

SOCKET = "/run/containerd/containerd.sock"
BUS = Path("/run/dbus/system_bus_socket")  # where the kubelet looks for it


@dataclass(frozen=True)
class Files:
    """The paths of the files that the services read."""

    containerd: Path
    bus: Path
    kubelet: Path


def write(layout: Layout, node: Node, home: Path) -> Files:
    """Write the files below `home` and return the main ones."""
    certs, cni = home / "certs.d", home / "net.d"
    # every registry name resolves to the host's registry: docker.io/library/x works offline
    for name, address in (("_default", REGISTRY), (PRIVATE_REGISTRY, PRIVATE_REGISTRY)):
        (certs / name).mkdir(parents=True, exist_ok=True)
        (certs / name / "hosts.toml").write_text(
            f'server = "http://{address}"\n[host."http://{address}"]\n  capabilities = ["pull", "resolve"]\n'
        )
    cni.mkdir(parents=True, exist_ok=True)
    (cni / "10-pods.conflist").write_text(json.dumps(_pod_network(node)))
    (home / "resolv.conf").write_text(f"nameserver {HOST_IP}\n")
    files = Files(home / "containerd.toml", home / "bus.conf", home / "kubelet.json")
    files.bus.write_text(_bus())
    files.containerd.write_text(_containerd(certs, cni))
    files.kubelet.write_text(json.dumps(_kubelet(layout, node, home), indent=1))
    return files


def _pod_network(node: Node) -> dict[str, object]:
    ipam = {"type": "host-local", "ranges": [[{"subnet": node.pod_cidr}]], "routes": [{"dst": "0.0.0.0/0"}]}
    bridge = {
        "type": "bridge",
        "bridge": "cni0",
        "isGateway": True,
        "hairpinMode": True,
        "ipMasq": False,
        "ipam": ipam,
    }
    ports = {"type": "portmap", "capabilities": {"portMappings": True}}
    return {"cniVersion": "1.0.0", "name": "pods", "plugins": [bridge, ports]}


def _kubelet(layout: Layout, node: Node, home: Path) -> dict[str, object]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(layout.pki / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{SOCKET}",
        "cgroupDriver": "cgroupfs",
        # two kubelets on one machine would delete each other's cgroups
        "cgroupRoot": f"/{layout.cgroup}/{node.name}",
        "failCgroupV1": False,
        "failSwapOn": False,
        "enforceNodeAllocatable": [],
        "clusterDNS": [DNS_IP],
        "clusterDomain": "cluster.local",
        "resolvConf": str(home / "resolv.conf"),
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "imageGCLowThresholdPercent": 99,
        "nodeStatusUpdateFrequency": "4s",
        "nodeLeaseDurationSeconds": 8,
        "serializeImagePulls": False,
        "shutdownGracePeriod": "30s",
        "shutdownGracePeriodCriticalPods": "10s",
        "registerWithTaints": [{"key": k, "value": v, "effect": e} for k, v, e in node.taints],
    }


def _bus() -> str:
    """Return the configuration of a system bus that allows everything: nothing else can reach it."""
    return f"""<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={BUS}</listen>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
</busconfig>
"""


def _containerd(certs: Path, cni: Path) -> str:
    # restrict_oom_score_adj: where root lacks CAP_SYS_RESOURCE, runc otherwise dies with the words
    # "can't get final child's PID from pipe"
    return f"""version = 2
root = "/var/lib/containerd"
state = "/run/containerd"
[grpc]
  address = "{SOCKET}"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "{PAUSE_IMAGE}"
  restrict_oom_score_adj = true
  [plugins."io.containerd.grpc.v1.cri".registry]
    config_path = "{certs}"
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "{cni}"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.nvidia]
    runtime_type = "io.containerd.runc.v2"
"""
