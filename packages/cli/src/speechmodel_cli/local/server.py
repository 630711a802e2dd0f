"""The server on this machine, which serves one version at a time as a Deployment does on a cluster."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_api.schema import S3Location, S3Target
from speechmodel_api.serving_spec import WYOMING_PORT
from speechmodel_api.spec import Serving
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
"""Limit for loading the model and transcribing its self-test clip. A small model takes 1 s."""


class LocalServer:
    """The inference server as a subprocess on the loopback interface."""

    def __init__(
        self,
        state: ModelState,
        store: ObjectStore,
        s3: S3Target,
        port: int,
        serving: Serving,
        dataset: Path | S3Location,
    ) -> None:
        self._state, self._store, self._s3, self._port = state, store, s3, port
        self._serving, self._dataset = serving, dataset
        self._log = state.folder / "server.log"
        self._child: Child | None = None
        self._version: str | None = None
        self._ready = False
        self._problem: str | None = None
        self._poll: asyncio.Task[None] | None = None

    @property
    def url(self) -> str:
        """URL of the server."""
        return f"http://{ADDRESS}:{self._port}"

    @property
    def running(self) -> bool:
        """True while its process runs."""
        return self._child is not None and self._child.running

    @property
    def failed(self) -> bool:
        """True when it was started and has ended."""
        return self._child is not None and not self._child.running

    def observe(self) -> Server | None:
        """Return the server as a plan sees it; None when none was started."""
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
        """Serve the version, or nothing. `changed` is called when the server becomes ready and when it ends."""
        wanted = intent.model.version if intent else None
        if wanted == self._version:
            return
        await self.close()
        if intent is None:
            return
        folder = await fetched(
            self._state, intent.model, self._store, self._s3, list_versions=self._serving.takes is not None
        )
        self._log.unlink(missing_ok=True)
        environment = inherited(
            {
                **self._serving.settings.environment(),
                **(self._serving.takes.environment(self._dataset) if self._serving.takes else {}),
                **(
                    {"SPEECHMODEL_WYOMING_LISTEN": f"{ADDRESS}:{WYOMING_PORT}"} if self._serving.wyoming.enabled else {}
                ),
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
        """End it after the requests that it is working on."""
        if self._child is not None:
            self._child.stop(GRACE_SECONDS)

    def kill(self) -> None:
        """End it at once."""
        if self._child is not None:
            self._child.kill()

    async def close(self) -> None:
        """End it and wait until it has ended."""
        if self._poll is not None:
            self._poll.cancel()
        if self._child is not None:
            self._child.stop(GRACE_SECONDS)
            await self._child.wait()
        self._child, self._version, self._ready = None, None, False

    async def _await_ready(self, child: Child, changed: Callable[[], None]) -> None:
        import httpx  # takes longer to import than a call that does nothing

        deadline = asyncio.get_running_loop().time() + START_SECONDS
        async with httpx.AsyncClient(timeout=2, trust_env=False, verify=False) as client:  # noqa: S501 - plain HTTP
            while child.running:
                try:
                    answer = await client.get(f"{self.url}/readyz")
                    if answer.is_success:
                        self._ready = True
                        changed()
                        return
                    self._problem = answer.text
                except httpx.HTTPError as error:
                    self._problem = str(error)
                if asyncio.get_running_loop().time() > deadline:
                    child.stop(GRACE_SECONDS)
                await asyncio.sleep(POLL_SECONDS)

    def _trouble(self) -> Trouble:
        if self._child is not None and self._child.stopping:
            return Trouble(
                Reason.SERVER_NOT_READY, f"the server was not ready within {START_SECONDS} s: {self._problem}"
            )
        return Trouble(Reason.SERVER_ENDED, f"the server ended: {_last_line(self._log)}; its log is {self._log}")


def _last_line(log: Path) -> str:
    lines = log.read_text(encoding="utf-8", errors="replace").split("\n") if log.exists() else []
    return next((line.strip() for line in reversed(lines) if line.strip()), "it wrote no log")
