"""The leader lease: of several operators with the same Lease, one works and the others wait."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime

from speechmodel_operator.cluster.api import LEASES, Api
from speechmodel_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, NoAnswer, Refused

log = logging.getLogger(__name__)

DURATION_SECONDS = 15
"""Time after which a Lease that was not renewed may be taken by another operator, as in kube-controller-manager."""
RENEW_SECONDS = 10.0
"""Time without a renewal after which an operator stops working, and the longest time of an attempt. A pause and one last attempt,
RETRY_SECONDS each, may follow. The sum is less than DURATION_SECONDS, so two operators never work at once."""
RETRY_SECONDS = 2.0
"""Time between two attempts to take or renew it, and the least time that an attempt gets."""


class LeaseLost(Exception):
    """The Lease could not be renewed in time, or another operator took it."""


class Lease:
    """A Lease of the coordination API, as one operator sees it.

    Clocks of different machines are not compared: a Lease has expired when this process has not seen it change for its duration.
    """

    def __init__(self, api: Api, namespace: str, name: str, identity: str) -> None:
        self._api, self._namespace, self._name, self._identity = api, namespace, name, identity
        self._holder = ""
        self._seen: tuple[str, datetime | None] | None = None
        self._seen_at = 0.0
        """Monotonic time at which holder or renewal last changed."""
        self._renewed_at = 0.0
        """Monotonic time just before the request that took or renewed it was sent, because its answer may be late."""

    async def hold(self, work: Callable[[], Awaitable[None]]) -> None:
        """Wait for the Lease, run `work` while it is held, and release it.

        Raises LeaseLost after `work` was cancelled, and Refused when the operator may not use Leases.
        """
        log.info("waiting for the Lease %s/%s", self._namespace, self._name)
        while True:
            if await self._attempt(RENEW_SECONDS):
                break
            await asyncio.sleep(RETRY_SECONDS)
        log.info("holding the Lease %s/%s as %s", self._namespace, self._name, self._identity)
        working, renewing = asyncio.ensure_future(work()), asyncio.ensure_future(self._renew())
        try:
            await asyncio.wait({working, renewing}, return_when=asyncio.FIRST_COMPLETED)
            if not working.done():
                lost_by = f"the Lease {self._namespace}/{self._name} was lost, so this operator stops"
                raise LeaseLost(lost_by) from renewing.exception()
            working.result()
        finally:
            lost = renewing.done()
            working.cancel()
            renewing.cancel()
            await asyncio.gather(working, renewing, return_exceptions=True)
            if not lost:
                await self._release()

    async def _renew(self) -> None:
        """Renew the Lease until that fails for too long or another operator has it."""
        while self._left() > 0:
            await asyncio.sleep(RETRY_SECONDS)
            if not await self._attempt(max(RETRY_SECONDS, self._left())) and self._holder != self._identity:
                return

    def _left(self) -> float:
        """Return the seconds left to renew the Lease."""
        return RENEW_SECONDS - (time.monotonic() - self._renewed_at)

    async def _attempt(self, seconds: float) -> bool:
        """Take or renew the Lease within `seconds`. An API server that does not answer is logged. Raises Refused."""
        try:
            async with asyncio.timeout(seconds):
                return await self._take()
        except Refused:
            raise
        except (ClusterError, NoAnswer, TimeoutError) as error:
            log.warning("the Lease %s/%s: %s", self._namespace, self._name, str(error) or "no answer")
            return False

    async def _take(self) -> bool:
        lease = await self._api.get(LEASES, self._namespace, self._name)
        asked_at = time.monotonic()
        if lease is None:
            try:
                await self._api.create(LEASES, self._namespace, self._manifest(self._identity))
            except AlreadyExists:
                return False
            self._holder, self._renewed_at = self._identity, asked_at
            return True
        spec = lease.spec
        self._holder = spec.holder_identity
        if self._seen != (spec.holder_identity, spec.renew_time):
            self._seen, self._seen_at = (spec.holder_identity, spec.renew_time), asked_at
        expired = asked_at - self._seen_at > spec.lease_duration_seconds
        if spec.holder_identity not in ("", self._identity) and not expired:
            return False
        patch = self._manifest(self._identity, lease.metadata.resource_version)
        try:
            taken = await self._api.merge_patch(LEASES, self._namespace, self._name, patch)
        except Conflict:
            return False
        if taken is None:
            self._holder = ""
            return False
        self._holder, self._renewed_at = self._identity, asked_at
        return True

    async def _release(self) -> None:
        """Let another operator take the Lease at once. When that fails, it expires."""
        try:
            async with asyncio.timeout(RENEW_SECONDS):
                lease = await self._api.get(LEASES, self._namespace, self._name)
                if lease is not None and lease.spec.holder_identity == self._identity:
                    patch = self._manifest("", lease.metadata.resource_version)
                    await self._api.merge_patch(LEASES, self._namespace, self._name, patch)
        except (ClusterError, NoAnswer, TimeoutError) as error:
            log.warning("could not release the Lease %s/%s: %s", self._namespace, self._name, error)

    def _manifest(self, holder: str, resource_version: str | None = None) -> dict[str, object]:
        metadata = {"name": self._name} | ({"resourceVersion": resource_version} if resource_version else {})
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": holder, "leaseDurationSeconds": DURATION_SECONDS, "renewTime": now}
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
