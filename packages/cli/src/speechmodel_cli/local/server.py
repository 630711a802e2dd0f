"""The server on this machine: what a Deployment is on a cluster, for one version at a time."""

import asyncio
import http.client
from collections.abc import Callable
from pathlib import Path

from speechmodel_api.spec import S3Target
from speechmodel_plan.observed import Server, Trouble
from speechmodel_plan.plan import ServingIntent

from speechmodel_cli.local.child import Child
from speechmodel_cli.local.object_store import ObjectStore
from speechmodel_cli.local.programs import SERVER, command, inherited
from speechmodel_cli.local.published import fetched
from speechmodel_cli.local.state import ModelState

ADDRESS = "127.0.0.1"
GRACE_SECONDS = 30
POLL_SECONDS = 0.1
START_SECONDS = 120
"""Within this it has loaded the model and heard its self-test clip; 1 s for a small model."""


class LocalServer:
    """The inference server as a subprocess on the loopback interface."""

    def __init__(self, state: ModelState, store: ObjectStore, s3: S3Target, port: int) -> None:
        self._state, self._store, self._s3, self._port = state, store, s3, port
        self._log = state.folder / "server.log"
        self._child: Child | None = None
        self._version: str | None = None
        self._ready = False
        self._problem: str | None = None
        self._poll: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """Where it answers."""
        return f"http://{ADDRESS}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return self._child is not None and self._child.running

    @property
    def failed(self) -> bool:
        """Whether it was started and is gone."""
        return self._child is not None and not self._child.running

    def observe(self) -> Server | None:
        """The server as a plan sees it."""
        if self._child is None or self._version is None:
            return None
        ready = self._ready and self.running
        return Server(
            version=self._version,
            replicas=1,
            ready_replicas=int(ready),
            settled=ready,
            trouble=self._trouble() if self.failed else None,
        )

    async def serve(self, intent: ServingIntent | None, changed: Callable[[], None]) -> None:
        """Serve the version, or nothing; `changed` is called when it gets ready and when it ends."""
        wanted = intent.model.version if intent else None
        if wanted == self._version:
            return
        await self.close()
        if intent is None:
            return
        folder = await fetched(self._state, intent.model, self._store, self._s3)
        self._log.unlink(missing_ok=True)
        environment = inherited(
            {
                "SPEECHMODEL_NAME": self._state.name,
                "SPEECHMODEL_FOLDER": str(folder),
                "SPEECHMODEL_LISTEN": f"{ADDRESS}:{self._port}",
                "SPEECHMODEL_LAME_DUCK_SECONDS": "0",
            }
        )
        self._child = await Child.start(
            command(SERVER), environment=environment, folder=folder, log=self._log, on_end=lambda _: changed()
        )
        self._version = wanted
        self._poll = asyncio.create_task(self._await_ready(self._child, changed))
        await self._store.close()
        changed()

    def stop(self) -> None:
        """Let it finish its requests and end."""
        if self._child is not None:
            self._child.stop(GRACE_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    async def close(self) -> None:
        """End it and wait for that."""
        if self._poll is not None:
            self._poll.cancel()
        if self._child is not None:
            self._child.stop(GRACE_SECONDS)
            await self._child.wait()
        self._child, self._version, self._ready = None, None, False

    async def _await_ready(self, child: Child, changed: Callable[[], None]) -> None:
        deadline = asyncio.get_running_loop().time() + START_SECONDS
        while child.running:
            self._problem = await asyncio.to_thread(self._why_not_ready)
            if self._problem is None:
                self._ready = True
                changed()
                return
            if asyncio.get_running_loop().time() > deadline:
                child.stop(GRACE_SECONDS)
            await asyncio.sleep(POLL_SECONDS)

    def _why_not_ready(self) -> str | None:
        connection = http.client.HTTPConnection(ADDRESS, self._port, timeout=2)
        try:
            connection.request("GET", "/readyz")
            answer = connection.getresponse()
            return None if answer.status == http.HTTPStatus.OK else answer.read(1000).decode(errors="replace")
        except (OSError, http.client.HTTPException) as error:
            return str(error)
        finally:
            connection.close()

    def _trouble(self) -> Trouble:
        if self._child is not None and self._child.stopping:
            return Trouble("ServerNotReady", f"the server was not ready within {START_SECONDS} s: {self._problem}")
        return Trouble("ServerEnded", f"the server ended: {_last_line(self._log)}; its log is {self._log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
