"""The canary: servers of a version that is to be promoted, and what their answers say about it.

The state is in the status, so it survives the operator. A decision is written first and carried out by the next step: if the
operator ends in between, the servers and their counts are still there.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from math import exp, lgamma, log, log1p

from speechmodel_api.reasons import Reason
from speechmodel_api.serving_spec import Canary
from speechmodel_api.status import CanaryState, CanaryStatus

from speechmodel_plan.observed import CanaryServers, Observed, Trouble

CHANCE = 0.001
"""A canary ends early if a version that keeps maxErrorRate has so many failures with a smaller probability than this."""


@dataclass(frozen=True)
class Trial:
    """A canary after a look at its servers."""

    status: CanaryStatus
    waits_for: Trouble
    """The reason why the version is not promoted: the progress, what is in its way, or the figures that it failed with."""


def number_of_servers(percent: int, served: int) -> int:
    """Return the number of servers to add to those of the served version, so that they are `percent` of all.

    It is at least 1, and 0 while the served version has none: the new one must not answer every request.
    """
    return max(1, round(served * percent / (100 - percent))) if served else 0


def decided(seen: Observed, settings: Canary, version: str) -> CanaryStatus | None:
    """Return the canary of a version if it has ended with these settings, and nobody asked for another one."""
    before = seen.status.canary
    if before is None or before.version != version or before.state is CanaryState.RUNNING:
        return None
    return before if (before.settings, before.retry_token) == (settings, seen.retry_token) else None


def look_at_canary(seen: Observed, settings: Canary, version: str) -> Trial:
    """Return the canary after a look at its servers. One of another version, or one that has ended, begins again."""
    before = seen.status.canary
    if before is None or before.version != version or before.state is not CanaryState.RUNNING:
        before = CanaryStatus(
            version=version,
            state=CanaryState.RUNNING,
            settings=settings,
            retry_token=seen.retry_token,
            requests=0,
            failed=0,
        )
    servers = seen.canary if seen.canary and seen.canary.server.version == version else None
    if servers is None:
        status = before.model_copy(update={"settings": settings})
        starting = Trouble(Reason.CANARY_RUNNING, f"canary {version}: its servers are being started")
        return Trial(status, _rest(seen, version) or starting)
    status = _counted(before, servers).model_copy(update={"settings": settings})
    if status.started_at is None and servers.server.settled and servers.server.replicas > 0:
        status = status.model_copy(update={"started_at": seen.now})
    served = seen.status.model.version if seen.status.model else ""
    if failure := next(_failures(status, servers, _over(seen, status)), None):
        remedy = "publish another version, or set the annotation speechops.dev/retry to a new value to try it again"
        message = f"version {version} is not promoted, so version {served} is still served: {failure}; {remedy}"
        ended = status.model_copy(update={"state": CanaryState.FAILED, "message": message})
        return Trial(ended, Trouble(Reason.CANARY_FAILED, message))
    waits_for = _rest(seen, version) or _obstacle(version, servers)
    if waits_for is None and _over(seen, status):
        message = f"{_figures(status)} in a canary of {settings.minutes} minutes"
        status = status.model_copy(update={"state": CanaryState.PASSED, "message": message})
    return Trial(status, waits_for or _progress(seen, status, servers))


def _counted(before: CanaryStatus, servers: CanaryServers) -> CanaryStatus:
    """Return the canary with what its servers have answered since they were read last.

    The counts of a server program begin at 0. Those of one that was not read this time stay as they are, and those of pods that
    are gone are kept in the sums.
    """
    last = {(server.pod, server.process_start): server for server in before.servers}
    requests, failed = before.requests, before.failed
    for server in servers.counts:
        known = last.get((server.pod, server.process_start))
        requests += server.requests - (known.requests if known else 0)
        failed += server.failed - (known.failed if known else 0)
    read = {server.pod for server in servers.counts}
    unread = [server for server in before.servers if server.pod not in read and server.pod in servers.pods]
    return before.model_copy(
        update={"requests": requests, "failed": failed, "servers": (*servers.counts, *unread)},
    )


def _over(seen: Observed, status: CanaryStatus) -> bool:
    return status.started_at is not None and seen.now - status.started_at >= timedelta(minutes=status.settings.minutes)


def _failures(status: CanaryStatus, servers: CanaryServers, over: bool) -> Iterator[str]:
    """Yield a sentence with the figures for each reason to end the canary."""
    for crash in servers.crashes:
        if status.started_at is not None and crash.at >= status.started_at:
            yield f"a server of its canary crashed: {crash.message}"
    limit = status.settings.max_error_rate
    many = status.failed > limit * status.requests
    if many and (over or _by_chance(status.requests, status.failed, limit) < CHANCE):
        rate = status.failed / status.requests
        yield f"{_figures(status)} ({rate:.2%}), which is above serving.canary.maxErrorRate {limit:.2%}"


def _by_chance(requests: int, failed: int, rate: float) -> float:
    """Return the probability that at least `failed` requests fail, if each fails with the probability `rate`, below 1."""
    if rate == 0:
        return float(failed == 0)
    fewer = (
        lgamma(requests + 1) - lgamma(k + 1) - lgamma(requests - k + 1) + k * log(rate) + (requests - k) * log1p(-rate)
        for k in range(failed)
    )
    return 1 - sum(exp(probability) for probability in fewer)


def _rest(seen: Observed, version: str) -> Trouble | None:
    """Return why a canary waits while the served version has no servers, and the canary has none either."""
    if seen.server is None or seen.server.replicas > 0:
        return None
    return Trouble(Reason.CANARY_RUNNING, f"canary {version}: it waits, because the served version has 0 servers")


def _obstacle(version: str, servers: CanaryServers) -> Trouble | None:
    """Return what keeps the canary from being decided now."""
    server = servers.server
    if not server.settled and server.trouble is not None:
        return Trouble(server.trouble.reason, f"canary {version}: {server.trouble.message}")
    if not server.settled or server.replicas == 0:
        ready = f"{server.ready_replicas} of {server.replicas} servers are ready"
        return Trouble(Reason.CANARY_RUNNING, f"canary {version}: {ready}")
    if servers.unread is not None:
        return Trouble(Reason.CANARY_UNREADABLE, f"canary {version}: {servers.unread}")
    return None


def _progress(seen: Observed, status: CanaryStatus, servers: CanaryServers) -> Trouble:
    """Return the progress of a canary whose servers are all ready."""
    minutes = status.settings.minutes
    passed = min(minutes, int((seen.now - (status.started_at or seen.now)).total_seconds() // 60))
    new = servers.server.replicas
    share = f"{new} of {new + (seen.server.replicas if seen.server else 0)} servers"
    message = f"canary {status.version}: {passed} of {minutes} minutes, {_figures(status)}, on {share}"
    return Trouble(Reason.CANARY_RUNNING, message)


def _figures(status: CanaryStatus) -> str:
    return f"{status.failed} of {status.requests} requests failed"
