"""Make certificates and kubeconfigs with openssl, once for each state directory."""

import json
from pathlib import Path

from kubecluster.layout import API_PORT, API_SERVICE_IP, HOST_IP, NODES, Layout
from kubecluster.shell import run

CONTEXT = "kubecluster"
EC = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
DAYS = "3650"
# file -> (common name, organisation)
CLIENTS = {
    "admin": ("kubernetes-admin", "system:masters"),
    "controller-manager": ("system:kube-controller-manager", ""),
    "scheduler": ("system:kube-scheduler", ""),
    "proxy": ("system:kube-proxy", ""),
    "apiserver-kubelet": ("kube-apiserver-kubelet", "system:masters"),
} | {f"kubelet-{n.name}": (f"system:node:{n.name}", "system:nodes") for n in NODES}
DOMAINS = ("", ".default", ".default.svc", ".default.svc.cluster.local")
API_NAMES = ("localhost", *(f"kubernetes{domain}" for domain in DOMAINS))
DONE = "done-2"  # marks a complete set; counts up when all certificates must be renewed
API_SANS = ",".join([f"DNS:{n}" for n in API_NAMES] + [f"IP:{ip}" for ip in ("127.0.0.1", HOST_IP, API_SERVICE_IP)])


def ensure(layout: Layout) -> None:
    """Make the certificates unless they exist, and every kubeconfig."""
    pki = layout.pki
    if not (pki / DONE).exists():
        pki.mkdir(parents=True, exist_ok=True)
        pki.chmod(0o700)
        for ca in ("ca", "front-proxy-ca"):
            # Python 3.13 and later take a CA only with its key usage, and a certificate only with its issuer's identifier
            run("openssl", "req", "-x509", *EC, "-days", DAYS, "-subj", f"/CN={ca}",
                "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", pki / f"{ca}.key", "-out", pki / f"{ca}.crt")  # fmt: skip
        run("openssl", "genrsa", "-out", pki / "sa.key", "2048")
        _issue(pki, "apiserver", "kube-apiserver", sans=API_SANS)
        _issue(pki, "front-proxy", "front-proxy-client", ca="front-proxy-ca")
        for name, (common, organisation) in CLIENTS.items():
            _issue(pki, name, common, organisation)
        (pki / DONE).touch()
    for name in CLIENTS:
        # the admin works on this machine, all others may run in a node's network namespace
        _kubeconfig(layout.kubeconfig(name), pki, name, "127.0.0.1" if name == "admin" else HOST_IP)


def _issue(pki: Path, name: str, common: str, organisation: str = "", sans: str = "", ca: str = "ca") -> None:
    subject = f"/CN={common}" + (f"/O={organisation}" if organisation else "")
    request = run("openssl", "req", *EC, "-subj", subject, "-keyout", pki / f"{name}.key").stdout
    extensions = pki / f"{name}.ext"
    names = f"subjectAltName={sans}\n" if sans else ""
    identifiers = "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
    extensions.write_text(
        f"keyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n{identifiers}{names}"
    )
    run("openssl", "x509", "-req", "-days", DAYS, "-CA", pki / f"{ca}.crt", "-CAkey", pki / f"{ca}.key",
        "-extfile", extensions, "-out", pki / f"{name}.crt", stdin=request)  # fmt: skip


def _kubeconfig(path: Path, pki: Path, user: str, host: str) -> None:
    cluster = {"server": f"https://{host}:{API_PORT}", "certificate-authority": str(pki / "ca.crt")}
    keys = {"client-certificate": str(pki / f"{user}.crt"), "client-key": str(pki / f"{user}.key")}
    document = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": CONTEXT,
        "clusters": [{"name": CONTEXT, "cluster": cluster}],
        "users": [{"name": user, "user": keys}],
        "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": user}}],
    }
    path.touch(mode=0o600)
    path.write_text(json.dumps(document, indent=1))
