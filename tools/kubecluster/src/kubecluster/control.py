"""Define the group `control`: etcd, the API server and the registries, which all else needs first."""

from kubecluster import audit, registry
from kubecluster.group import Group, Service
from kubecluster.layout import API_PORT, CONTROL, HOST_IP, SERVICE_CIDR, Layout
from kubecluster.shell import Options, flags

ETCD = "http://127.0.0.1:2379"
# pods leave a lost node after this many seconds, not after the default 300
TOLERATION_SECONDS = 15


def group(layout: Layout) -> Group:
    """Write the services' configuration and return the group that runs them."""
    etcd: Options = {
        "data-dir": layout.state / "etcd",
        "listen-client-urls": ETCD,
        "advertise-client-urls": ETCD,
        "listen-peer-urls": "http://127.0.0.1:2380",
        "log-level": "warn",
        "unsafe-no-fsync": True,  # its data dies with the cluster anyway
    }
    return Group(
        CONTROL,
        [
            Service("etcd", [str(layout.bin / "etcd"), *flags(etcd)]),
            Service("kube-apiserver", [str(layout.bin / "kube-apiserver"), *flags(_apiserver(layout))]),
            *registry.services(layout),
        ],
    )


def _apiserver(layout: Layout) -> Options:
    pki = layout.pki
    return {
        "etcd-servers": ETCD,
        "bind-address": "0.0.0.0",  # noqa: S104
        "advertise-address": HOST_IP,
        "secure-port": API_PORT,
        "tls-cert-file": pki / "apiserver.crt",
        "tls-private-key-file": pki / "apiserver.key",
        "client-ca-file": pki / "ca.crt",
        "service-account-key-file": pki / "sa.key",
        "service-account-signing-key-file": pki / "sa.key",
        "service-account-issuer": "https://kubernetes.default.svc",
        "service-cluster-ip-range": SERVICE_CIDR,
        "authorization-mode": "Node,RBAC",
        "enable-admission-plugins": "NodeRestriction",
        "allow-privileged": True,
        "kubelet-client-certificate": pki / "apiserver-kubelet.crt",
        "kubelet-client-key": pki / "apiserver-kubelet.key",
        "kubelet-preferred-address-types": "InternalIP",
        # webhooks and aggregated APIs: straight to the endpoints, this host has no kube-proxy
        "enable-aggregator-routing": True,
        "requestheader-client-ca-file": pki / "front-proxy-ca.crt",
        "requestheader-username-headers": "X-Remote-User",
        "requestheader-group-headers": "X-Remote-Group",
        "requestheader-extra-headers-prefix": "X-Remote-Extra-",
        "requestheader-allowed-names": "front-proxy-client",
        "proxy-client-cert-file": pki / "front-proxy.crt",
        "proxy-client-key-file": pki / "front-proxy.key",
        "default-not-ready-toleration-seconds": TOLERATION_SECONDS,
        "default-unreachable-toleration-seconds": TOLERATION_SECONDS,
        **audit.apiserver_flags(layout),
    }
