"""Directories, addresses and nodes of the cluster."""

import os
from dataclasses import dataclass, field
from pathlib import Path

TOOL = Path(__file__).resolve().parents[2]  # holds the Go modules and the manifests
REPOSITORY = TOOL.parents[1]

BRIDGE = "kc0"
HOST_IP = "10.89.0.1"
API_PORT = 6443
# not 5000: Debian's docker-registry package may have started its own there
REGISTRY = f"{HOST_IP}:5080"
PRIVATE_REGISTRY = f"{HOST_IP}:5081"  # the same images, behind user "test", password "test"
SERVICE_CIDR = "10.96.0.0/16"
API_SERVICE_IP = "10.96.0.1"
DNS_IP = "10.96.0.10"
POD_CIDR = "10.244.0.0/16"
FAKE_POD_CIDR = "10.245.0.1/16"
PAUSE_IMAGE = "localhost/pause:1"


@dataclass(frozen=True)
class Node:
    """A node, with its own PID, mount, network, IPC and UTS namespaces, containerd and kubelet."""

    index: int
    name: str
    gpus: int = 0
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[tuple[str, str, str], ...] = ()

    @property
    def ip(self) -> str:
        """The node's address on the bridge."""
        return f"10.89.0.{10 + self.index}"

    @property
    def pod_cidr(self) -> str:
        """The range of the pods' addresses."""
        return f"10.244.{self.index}.0/24"

    @property
    def link(self) -> str:
        """The host's end of the node's network link; the kernel allows 15 characters."""
        return f"kc-{self.name}"[:15]

    @property
    def group(self) -> str:
        """The name of the process group that is this node."""
        return f"node-{self.name}"


NODES = (
    Node(1, "serving", labels={"pool": "serving"}),
    Node(
        2,
        "gpu",
        gpus=2,
        labels={"pool": "gpu", "nvidia.com/gpu.present": "true"},
        taints=(("nvidia.com/gpu", "present", "NoSchedule"),),
    ),
)
CONTROL, CONTROLLERS = "control", "controllers"
GROUPS = (CONTROL, CONTROLLERS, *(n.group for n in NODES))


@dataclass(frozen=True)
class Layout:
    """The directories: `state` ends with the cluster, `cache` (binaries, image layers, packages) stays."""

    state: Path
    cache: Path

    @classmethod
    def default(cls) -> "Layout":
        """Return the directories that KUBECLUSTER_STATE and KUBECLUSTER_CACHE name, or the defaults."""
        state = os.environ.get("KUBECLUSTER_STATE", "/var/lib/kubecluster")
        cache = os.environ.get("KUBECLUSTER_CACHE", str(Path.home() / ".cache" / "kubecluster"))
        return cls(Path(state).resolve(), Path(cache).resolve())

    @property
    def cgroup(self) -> str:
        """The cgroup that holds the nodes' cgroups."""
        return "kubecluster" + str(self.state).replace("/", "-")

    @property
    def build_cgroup(self) -> str:
        """The cgroup that holds those of RUN steps."""
        return "kubecluster-builds" + str(self.cache).replace("/", "-")

    @property
    def bin(self) -> Path:
        """Symlinks to the built programs, one for each name they go by."""
        return self.state / "bin"

    @property
    def logs(self) -> Path:
        """One log for each group and each service."""
        return self.state / "logs"

    @property
    def audit_log(self) -> Path:
        """The API server's audit log, a JSON event a line."""
        return self.logs / "audit.log"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.state / "pki"

    @property
    def groups(self) -> Path:
        """The specification of each process group."""
        return self.state / "groups"

    @property
    def volumes(self) -> Path:
        """One directory for each PersistentVolume."""
        return self.state / "volumes"

    @property
    def s3(self) -> Path:
        """SeaweedFS's data."""
        return self.state / "s3"

    @property
    def registry(self) -> Path:
        """The registry's data: images outlive the cluster."""
        return self.cache / "registry"

    def node(self, node: Node) -> Path:
        """A node's own directory: image store, kubelet, configuration."""
        return self.state / "nodes" / node.name

    def kubeconfig(self, user: str = "admin") -> Path:
        """The kubeconfig of `admin` or of a component."""
        return self.state / f"{user}.kubeconfig"
