"""Define the group `controllers`: controller-manager, scheduler, DNS, volumes, metrics, fake nodes and S3."""

from kubecluster import s3
from kubecluster.group import Group, Service
from kubecluster.layout import CONTROLLERS, FAKE_POD_CIDR, HOST_IP, Layout
from kubecluster.shell import Options, flags

# the defaults of 20 and 50 requests a second make a 500-pod Job take 50 s instead of 9
CLIENT_RATE: Options = {"kube-api-qps": 300, "kube-api-burst": 600}

COREFILE = f""".:53 {{
    bind {HOST_IP}
    errors
    cache 5
    kubernetes cluster.local in-addr.arpa ip6.arpa {{
        kubeconfig KUBECONFIG
        pods insecure
        ttl 5
    }}
}}
"""


def group(layout: Layout) -> Group:
    """Write the services' configuration and return the group that runs them."""
    admin = layout.kubeconfig()
    corefile = layout.state / "Corefile"
    corefile.write_text(COREFILE.replace("KUBECONFIG", str(admin)))
    layout.volumes.mkdir(parents=True, exist_ok=True)
    programs = {
        "kube-controller-manager": flags(_controller_manager(layout)),
        "kube-scheduler": flags(_scheduler(layout)),
        "coredns": ["-conf", str(corefile)],
        "provisioner": flags({"kubeconfig": admin, "root": layout.volumes}),
        "metrics-server": flags(_metrics_server(layout)),
        "kwok": flags(_kwok(layout)),
    }
    services = [Service(name, [str(layout.bin / name), *arguments]) for name, arguments in programs.items()]
    return Group(CONTROLLERS, [*services, s3.service(layout)])


def _controller_manager(layout: Layout) -> Options:
    return {
        "kubeconfig": layout.kubeconfig("controller-manager"),
        "service-account-private-key-file": layout.pki / "sa.key",
        "root-ca-file": layout.pki / "ca.crt",
        "use-service-account-credentials": True,
        "leader-elect": False,
        "cluster-signing-cert-file": layout.pki / "ca.crt",
        "cluster-signing-key-file": layout.pki / "ca.key",
        # two tests lose a node on purpose; in every other one, a kubelet that got no processor time for seconds must not
        # take its pods out of their Services, so this is not shorter than that of real clusters
        "node-monitor-grace-period": "40s",
        "node-monitor-period": "2s",
        "horizontal-pod-autoscaler-sync-period": "5s",
        **CLIENT_RATE,
    }


def _scheduler(layout: Layout) -> Options:
    return {
        "kubeconfig": layout.kubeconfig("scheduler"),
        "leader-elect": False,
        # a pod whose claim was bound while the pod was being placed was seen to wait for the default of 5 minutes
        "pod-max-in-unschedulable-pods-duration": "30s",
        **CLIENT_RATE,
    }


def _metrics_server(layout: Layout) -> Options:
    admin = layout.kubeconfig()
    return {
        "kubeconfig": admin,
        "authentication-kubeconfig": admin,
        "authorization-kubeconfig": admin,
        "bind-address": HOST_IP,
        "secure-port": 4443,
        "cert-dir": layout.state / "metrics-server",
        "kubelet-insecure-tls": True,
        "kubelet-preferred-address-types": "InternalIP",
        "kubelet-request-timeout": "5s",  # must be shorter than the resolution
        "metric-resolution": "10s",
    }


def _kwok(layout: Layout) -> Options:
    return {
        "kubeconfig": layout.kubeconfig(),
        "config": layout.bin / "kwok-stages.yaml",
        "manage-all-nodes": False,
        "manage-nodes-with-label-selector": "type=kwok",
        "node-lease-duration-seconds": 40,
        "cidr": FAKE_POD_CIDR,
    }
