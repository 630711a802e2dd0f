"""The embedded S3 server, which keeps its data in the state folder and is started when it is needed.

Its port changes from call to call, so plans and keys name a fixed endpoint, and a stage gets the real one when it starts.
The key pair is not secret: every program on this machine may read the published models.
"""

import asyncio
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from speechmodel_api.schema import S3Target

from speechmodel_cli.local.lock import owned
from speechmodel_cli.local.object_store import Access
from speechmodel_cli.local.seaweedfs import Identity, SeaweedFS, weed

ENDPOINT = "http://s3.embedded"
"""The endpoint in plans and keys. No server has this name."""
IDENTITY = Identity("speechmodel", "speechmodel")
BUSY_SECONDS = 60
"""Seconds to wait for another run, which needs the server only briefly."""


class EmbeddedStore:
    """One server for all models of a state folder, started by the first open()."""

    replaces: ClassVar[tuple[str, ...]] = ("endpoint", "region", "secretRef")

    def __init__(self, folder: Path, bucket: str) -> None:
        self._server = SeaweedFS(folder, buckets=[bucket], identities=[IDENTITY])
        self._lock = ExitStack()

    def target(self, wanted: S3Target) -> S3Target:
        """Return the manifest's bucket and prefix at the embedded server."""
        return S3Target(bucket=wanted.bucket, prefix=wanted.prefix, endpoint=ENDPOINT)

    def require(self, wanted: S3Target) -> None:
        """Raise ProgramMissing when SeaweedFS is not installed."""
        del wanted
        weed()

    async def open(self) -> Access:
        """Return the server's endpoint, once it answers and has the bucket."""
        if not self._server.running:
            await self._start()
        return Access(self._server.endpoint, IDENTITY.environment)

    async def close(self) -> None:
        """End the server, if it runs."""
        await asyncio.to_thread(self._server.stop)
        self._lock.close()

    async def _start(self) -> None:
        await self.close()  # of a server that ended by itself
        lock = owned(self._server.folder / "lock", "the embedded S3 server", wait_seconds=BUSY_SECONDS)
        await asyncio.to_thread(self._lock.enter_context, lock)
        try:
            self._server.launch()
            await asyncio.to_thread(self._server.wait_until_ready)
        except BaseException:
            await self.close()
            raise
