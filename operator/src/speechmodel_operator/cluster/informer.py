"""Keep a store like the API server: list the objects of a kind once, and follow their changes."""

import asyncio
import logging
import time
from http import HTTPStatus
from typing import Generic

from speechmodel_operator.cluster.api import Api, Resource
from speechmodel_operator.cluster.cache import Store
from speechmodel_operator.cluster.errors import ClusterError, NoAnswer
from speechmodel_operator.cluster.views import Manifest, ViewT
from speechmodel_operator.jitter import jittered
from speechmodel_operator.telemetry import Telemetry

log = logging.getLogger(__name__)

FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS = 0.2, 30.0
SHORTEST_WATCH_SECONDS = 1.0
"""A watch that ends before that without a change is opened again after a pause, as after a fault."""
TOGETHER = 10
"""Objects of a list that are taken over without a break, in about a millisecond. A break takes as long as one of them."""
BREAKS = 3
"""Number of breaks in a row, without a change in between, after which a watch counts as failing. A single one is usual, for example
when an API server or a load balancer restarts.
"""


class Informer(Generic[ViewT]):
    """Lists one kind, in a namespace or in all, and watches it until it is cancelled.

    `seconds` is the time after which a watch is opened again. A connection that is open but brings nothing, as after a fault of the
    network, is noticed after that.
    """

    def __init__(
        self,
        api: Api,
        resource: Resource[ViewT],
        store: Store[ViewT],
        namespace: str,
        selector: str,
        seconds: float,
        telemetry: Telemetry,
    ) -> None:
        self._api, self._resource, self._store, self._telemetry = api, resource, store, telemetry
        self._namespace, self._selector, self._seconds = namespace, selector, seconds
        self._version = ""
        """resourceVersion from which the watch continues; empty when everything must be listed."""
        self._pause = FIRST_PAUSE_SECONDS
        self._breaks = 0
        """Breaks since the last change, or since a watch was open for its whole time."""
        self.listed = asyncio.Event()
        """Set once the store has everything that existed at the start."""

    async def run(self) -> None:
        """List and watch. Every failure is repeated after a pause that grows; after 410, everything is listed again."""
        while True:
            try:
                if not self._version:
                    await self._list()
                await self._follow()
            except ClusterError as error:
                if error.status == HTTPStatus.GONE:
                    self._version = ""
                    log.info("listing the %s again: %s", self._resource.plural, error)
                else:
                    self._fails(error)
                await self._rest()
            except (NoAnswer, ValueError) as error:
                self._broke(str(error) or type(error).__name__)
                await self._rest()

    async def _list(self) -> None:
        names, version = set(), ""
        async for page in self._api.pages(self._resource, self._namespace, self._selector):
            version = version or page.metadata.resource_version
            for number, item in enumerate(page.items):
                names.add(self._store.put(item))
                if number % TOGETHER == 0:  # a long list does not delay what happens meanwhile
                    await asyncio.sleep(0)
        self._store.keep(self._namespace, names, int(version))
        self._reach(version)
        self._telemetry.watched(self._namespace, self._resource.plural, failing=False)
        self.listed.set()

    async def _follow(self) -> None:
        seconds = jittered(self._seconds)  # watches that began together do not end together
        began, silent = time.monotonic(), True
        async for event in self._api.watch(self._resource, self._namespace, self._selector, self._version, seconds):
            silent = False
            self._take(event)
            self._works()
        if silent and time.monotonic() - began < SHORTEST_WATCH_SECONDS:
            self._broke("it ended at once")
            await self._rest()
        else:
            self._works()

    def _take(self, event: Manifest) -> None:
        item = event["object"]
        if event["type"] == "DELETED":
            self._store.remove(item)
        elif event["type"] != "BOOKMARK":
            self._store.put(item)
        self._reach(item["metadata"]["resourceVersion"])

    def _reach(self, version: str) -> None:
        self._version = version
        self._store.reach(self._namespace, int(version))

    def _works(self) -> None:
        self._pause, self._breaks = FIRST_PAUSE_SECONDS, 0
        self._telemetry.watched(self._namespace, self._resource.plural, failing=False)

    def _broke(self, why: str) -> None:
        """Take note of a connection that broke. Several in a row are a fault of the way to the API server."""
        self._breaks += 1
        if self._breaks < BREAKS:
            log.info("a watch of the %s of %s broke: %s", self._resource.plural, self._place, why)
            return
        self._telemetry.watched(self._namespace, self._resource.plural, failing=True)
        text = (
            "cannot watch the %s of %s: %d connections in a row broke, the last with: %s. Check NetworkPolicies and DNS. If a proxy ends "
            "idle connections, lower watchSeconds of the chart"
        )
        log.warning(text, self._resource.plural, self._place, self._breaks, why)

    @property
    def _place(self) -> str:
        return f"namespace {self._namespace}" if self._namespace else "all namespaces"

    def _fails(self, error: ClusterError) -> None:
        self._telemetry.watched(self._namespace, self._resource.plural, failing=True)
        place = self._place
        if error.status == HTTPStatus.NOT_FOUND:
            missing = (
                "the cluster has no kind %s; install its CustomResourceDefinition (helm upgrade with crds.enabled=true)"
            )
            log.error(missing, self._resource.kind)
        elif self.listed.is_set():
            log.warning("cannot watch the %s of %s: %s", self._resource.plural, place, error)
        else:
            remedy = "no SpeechModel there is managed until the operator may list and watch them"
            log.error("cannot list the %s of %s; %s: %s", self._resource.plural, place, remedy, error)

    async def _rest(self) -> None:
        await asyncio.sleep(jittered(self._pause, 0.5))
        self._pause = min(2 * self._pause, LONGEST_PAUSE_SECONDS)
