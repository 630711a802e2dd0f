"""Keeps the NetworkPolicies for pods of SpeechModels in each namespace that has one."""

import asyncio
import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from speechmodel_plan.task import Owner

from speechmodel_operator.cluster.api import NETWORK_POLICIES, POLICY_OWNERS, Api
from speechmodel_operator.cluster.errors import ClusterError, Conflict, NoAnswer
from speechmodel_operator.cluster.views import Manifest, NetworkPolicy
from speechmodel_operator.jitter import jittered
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.policies import meaning, policies
from speechmodel_operator.settings import PolicySettings
from speechmodel_operator.telemetry import Telemetry

log = logging.getLogger(__name__)

EVERY_SECONDS = 3600.0
"""Time after which the policies of a namespace are read again, in case somebody edited or deleted them."""
FIRST_PAUSE_SECONDS = 30.0
"""Pause before an attempt that failed is repeated. It doubles up to EVERY_SECONDS."""


class PoliciesFailed(Exception):
    """Some policies of a namespace could not be applied. The message says why and what to do."""


@dataclass
class _Place:
    """A namespace."""

    models: set[str] = field(default_factory=set)
    """The uids of its SpeechModels."""
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    due: float = 0.0
    """Monotonic time before which nothing is read."""
    pause: float = FIRST_PAUSE_SECONDS
    problem: str = ""
    """Why the last attempt failed."""


class Policies:
    """The policies of all namespaces."""

    def __init__(
        self,
        api: Api,
        settings: PolicySettings,
        telemetry: Telemetry | None = None,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._api, self._settings, self._telemetry, self._clock = api, settings, telemetry or Telemetry(), clock
        self._places: dict[str, _Place] = {}
        self._owners: dict[str, str] = {}
        """The uid of the owner by its namespace, which is empty for a ClusterRole."""

    async def ensure(self, owner: Owner) -> None:
        """Make the policies of a SpeechModel's namespace as they are wanted, unless that was done in the last hour.

        A problem is logged and counted, and the models go on: a platform team can solve it, and the users cannot.
        """
        place = self._places.setdefault(owner.namespace, _Place())
        place.models.add(owner.uid)
        if self._clock() < place.due:
            return
        async with place.lock:
            if self._clock() >= place.due:  # nobody else has done it meanwhile
                await self._look(self._settings, owner.namespace, place)

    def forget(self, owner: Owner) -> None:
        """Forget a SpeechModel that is gone, and its namespace with the last one. The policies stay for pods that end."""
        place = self._places.get(owner.namespace)
        if place is None:
            return
        place.models.discard(owner.uid)
        if not place.models:
            del self._places[owner.namespace]
            self._owners.pop(owner.namespace, None)
            self._report()

    async def _look(self, settings: PolicySettings, namespace: str, place: _Place) -> None:
        try:
            await self._apply(settings, namespace)
        except (ClusterError, NoAnswer, PoliciesFailed) as error:
            # a namespace that is being deleted needs none
            problem, pause = "" if "being terminated" in str(error) else str(error), jittered(place.pause)
            if problem and problem != place.problem:
                log.warning(
                    "cannot apply the NetworkPolicies for pods of SpeechModels in %s: %s%s. Its models are still reconciled "
                    "(next attempt in %d s)",
                    namespace,
                    problem,
                    _remedy(error),
                    pause,
                )
            place.pause = min(2 * place.pause, EVERY_SECONDS)
        else:
            if place.problem:
                log.info("the NetworkPolicies for pods of SpeechModels in %s are applied again", namespace)
            problem, pause, place.pause = "", jittered(EVERY_SECONDS), FIRST_PAUSE_SECONDS
        place.problem, place.due = problem, self._clock() + pause
        self._report()

    async def _apply(self, settings: PolicySettings, namespace: str) -> None:
        """Apply each policy that differs. Raises PoliciesFailed after all were tried, with the first reason."""
        pages = self._api.pages(NETWORK_POLICIES, namespace, "")
        items = [NetworkPolicy.read(item) async for page in pages for item in page.items]
        existing, problems = {item.metadata.name: item for item in items}, []
        place = self._place_of_owner(settings, namespace)
        if place not in self._owners:
            self._owners[place] = await self._owner_uid(settings, namespace)
        if not any(
            _differs(existing.get(wanted["metadata"]["name"]), wanted)
            for wanted in policies(settings, namespace, self._owners[place])
        ):
            return
        # read before a write, because a release that is installed again has another role
        self._owners[place] = await self._owner_uid(settings, namespace)
        for wanted in policies(settings, namespace, self._owners[place]):
            found = existing.get(wanted["metadata"]["name"])
            if _differs(found, wanted):
                try:
                    await self._write(namespace, found, wanted)
                except (ClusterError, PoliciesFailed) as error:
                    problems.append(error)
        if problems:
            raise problems[0]

    async def _write(self, namespace: str, found: NetworkPolicy | None, wanted: Manifest) -> None:
        """Apply a policy. One of somebody else is never overwritten."""
        name = wanted["metadata"]["name"]
        taken = f"the NetworkPolicy {name} exists and was not made by this operator; rename or remove it"
        if found is None:
            try:
                await self._api.apply(NETWORK_POLICIES, namespace, wanted, force=False)
            except Conflict:  # it was created meanwhile
                raise PoliciesFailed(taken) from None
            return
        if not _same_operator(found, wanted):
            raise PoliciesFailed(taken)
        if found.deleting:
            raise PoliciesFailed(f"the NetworkPolicy {name} is being deleted")
        same = {**wanted, "metadata": {**wanted["metadata"], "uid": found.metadata.uid}}
        await self._api.apply(NETWORK_POLICIES, namespace, same, force=True)

    def _place_of_owner(self, settings: PolicySettings, namespace: str) -> str:
        return namespace if settings.owner is not None and settings.owner.kind == "Role" else ""

    async def _owner_uid(self, settings: PolicySettings, namespace: str) -> str:
        """Return the uid of the role that owns the policies; an empty text without one. Raises PoliciesFailed if it is absent."""
        owner = settings.owner
        if owner is None:
            return ""
        found = await self._api.get(POLICY_OWNERS[owner.kind], self._place_of_owner(settings, namespace), owner.name)
        if found is None or found.deleting:
            raise PoliciesFailed(
                f"the {owner.kind} {owner.name} does not exist, which the chart creates; upgrade the release"
            )
        return found.metadata.uid

    def _report(self) -> None:
        self._telemetry.policies_failing(sum(bool(place.problem) for place in self._places.values()))


def _differs(existing: NetworkPolicy | None, wanted: Manifest) -> bool:
    """Return True when an object is not as it is wanted. What others added to its metadata is theirs."""
    if existing is None:
        return True
    metadata, given = existing.metadata, wanted["metadata"]
    owners = {owner["uid"] for owner in given.get("ownerReferences", ())}
    # one that is not wanted any more is a difference too: the garbage collector would delete the policy with that role
    roles = {owner.uid for owner in metadata.owner_references if owner.kind in POLICY_OWNERS}
    return (
        meaning(existing.spec) != meaning(wanted["spec"])
        or not given["labels"].items() <= metadata.labels.items()
        or not _same_operator(existing, wanted)
        or roles != owners
    )


def _same_operator(existing: NetworkPolicy, wanted: Manifest) -> bool:
    return bool(
        existing.metadata.annotations.get(labels.OPERATOR) == wanted["metadata"]["annotations"][labels.OPERATOR]
    )


def _remedy(error: Exception) -> str:
    """Return what to do about a missing permission. A quota and a webhook answer with the status 403 too."""
    if not (isinstance(error, ClusterError) and error.status == 403 and '" cannot ' in str(error)):
        return ""
    return ". Let the operator's ServiceAccount list, create and patch NetworkPolicies, or set networkPolicy.enabled to false"
