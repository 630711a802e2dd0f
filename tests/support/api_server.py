"""A real API server with etcd as plain processes: no nodes, no controllers, no root. It starts in seconds."""

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from support import waiting
from support.kube import Kubectl
from support.ports import free_port

TOKEN = "admin"


@dataclass(frozen=True)
class ControlPlane:
    """etcd and kube-apiserver as processes of this machine."""

    kubectl: Kubectl
    """The administrator's, on the namespace default."""
    server: str
    """The URL of the API server."""
    etcd: str
    """The URL of etcd."""
    folder: Path
    programs: Mapping[str, "Program"]
    """By name."""

    def restart_api_server(self) -> None:
        """Kill the API server, start another one on the same etcd, and wait until it is ready."""
        self.programs["kube-apiserver"].restart()
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        """Wait until the API server is ready."""
        waiting.until(
            lambda: self.kubectl("get", "--raw", "/readyz", check=False) == "ok",
            "the API server is ready",
            moved=lambda: tuple((self.folder / f"{name}.log").stat().st_size for name in self.programs),
            explain=lambda: (self.folder / "kube-apiserver.log").read_text(encoding="utf-8")[-3000:],
            every=0.2,
        )


class Program:
    """A program that runs. Its log is `folder`/`name`.log."""

    def __init__(self, programs: Path, folder: Path, name: str, flags: Sequence[str]) -> None:
        self._command, self._log = [str(programs / name), *flags], folder / f"{name}.log"
        self._start()

    def send_signal(self, number: int) -> None:
        """Send a signal to it."""
        self._process.send_signal(number)

    def kill(self) -> None:
        """Kill it, as when its machine fails. An API server that is asked to stop waits for its clients."""
        self._process.kill()
        self._process.wait()

    def restart(self) -> None:
        """Kill it and start it again."""
        self.kill()
        self._start()

    def _start(self) -> None:
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log)


@contextmanager
def api_server(programs: Path, folder: Path) -> Iterator[Kubectl]:
    """Start etcd and kube-apiserver of `programs`, and give the administrator's kubectl on the namespace default."""
    with control_plane(programs, folder) as found:
        yield found.kubectl


@contextmanager
def control_plane(programs: Path, folder: Path) -> Iterator[ControlPlane]:
    """Start etcd and kube-apiserver of `programs`, and wait until the API server is ready."""
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
            "--service-cluster-ip-range=10.96.0.0/16",
            "--authorization-mode=RBAC",
            "--disable-admission-plugins=ServiceAccount,TaintNodesByCondition",
        ],
    }
    kubeconfig, server = folder / "kubeconfig", f"https://127.0.0.1:{port}"
    write_kubeconfig(kubeconfig, server, TOKEN)
    kubectl = Kubectl(str(programs / "kubectl"), str(kubeconfig), None, "default")
    with ExitStack() as stack:
        running = {
            name: stack.enter_context(program(programs, folder, name, flags)) for name, flags in commands.items()
        }
        plane = ControlPlane(kubectl, server, etcd, folder, running)
        plane.wait_until_ready()
        yield plane


@contextmanager
def program(programs: Path, folder: Path, name: str, flags: Sequence[str]) -> Iterator[Program]:
    """Run a program while the block runs."""
    running = Program(programs, folder, name, flags)
    try:
        yield running
    finally:
        running.kill()


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
