"""A real API server with etcd as plain processes: no nodes, no controllers, no root. It starts in seconds."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from support import waiting
from support.kube import Kubectl
from support.ports import free_port

TOKEN = "admin"


@contextmanager
def api_server(programs: Path, folder: Path) -> Iterator[Kubectl]:
    """Start etcd and kube-apiserver of `programs`, and give the administrator's kubectl on the namespace default."""
    client, peer, port = free_port(), free_port(), free_port()
    etcd = f"http://127.0.0.1:{client}"
    (folder / "tokens.csv").write_text(f"{TOKEN},admin,1,system:masters\n", encoding="utf-8")
    key = folder / "sa.key"
    subprocess.run(["openssl", "genrsa", "-out", str(key), "2048"], check=True, capture_output=True)
    commands = {
        "etcd": [
            f"--data-dir={folder / 'etcd'}",
            f"--listen-client-urls={etcd}",
            f"--advertise-client-urls={etcd}",
            f"--listen-peer-urls=http://127.0.0.1:{peer}",
            "--unsafe-no-fsync",
        ],
        "kube-apiserver": [
            f"--etcd-servers={etcd}",
            "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1",  # a process in a network of its own has no route to find one by
            f"--secure-port={port}",
            f"--cert-dir={folder}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            f"--service-account-key-file={key}",
            f"--service-account-signing-key-file={key}",
            "--service-account-issuer=https://kubernetes.default.svc",
            "--service-cluster-ip-range=10.96.0.0/24",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount",
        ],
    }
    kubeconfig = folder / "kubeconfig"
    write_kubeconfig(kubeconfig, f"https://127.0.0.1:{port}", TOKEN)
    kubectl = Kubectl(str(programs / "kubectl"), str(kubeconfig), None, "default")
    running = []
    try:
        for name, flags in commands.items():
            log = (folder / f"{name}.log").open("wb")
            running.append(subprocess.Popen([programs / name, *flags], stdout=log, stderr=log))
            log.close()
        waiting.until(
            lambda: kubectl("get", "--raw", "/readyz", check=False) == "ok",
            "the API server is ready",
            moved=lambda: tuple((folder / f"{name}.log").stat().st_size for name in commands),
            explain=lambda: (folder / "kube-apiserver.log").read_text(encoding="utf-8")[-3000:],
            every=0.2,
        )
        yield kubectl
    finally:
        for process in running:  # it waits for its clients if it is asked to stop
            process.kill()
            process.wait()


def write_kubeconfig(path: Path, server: str, token: str) -> None:
    """Write a kubeconfig that trusts any certificate."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "test", "cluster": {"server": server, "insecure-skip-tls-verify": True}}],
        "users": [{"name": "test", "user": {"token": token}}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}],
        "current-context": "test",
    }
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
