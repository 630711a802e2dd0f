"""The servers of a canary, and the requests that they count in their metrics, as Prometheus reads them."""

import asyncio
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime

import aiohttp
from prometheus_client.parser import text_string_to_metric_families
from speechmodel_api.status import CanaryServer
from speechmodel_plan.observed import CanaryServers, Crash

from speechmodel_operator.cluster.containers import LOST_CONTAINER
from speechmodel_operator.cluster.observe import server_of, with_stage
from speechmodel_operator.cluster.views import Deployment, Pod
from speechmodel_operator.resources import labels

TIMEOUT_SECONDS = 5.0
LARGEST_ANSWER = 1 << 20


class Unreadable(Exception):
    """A server's metrics could not be read."""


async def read_canary(
    deployment: Deployment | None, pods: Sequence[Pod], now: datetime, event_messages: Mapping[str, str]
) -> CanaryServers | None:
    """Return the servers of the canary, with the counts of those that run; None without a Deployment. `event_messages` are those about
    pods, by uid.
    """
    mine = canary_pods(deployment, pods)
    server = server_of(deployment, mine, now, event_messages)
    if server is None:
        return None
    running = [pod for pod in mine if pod.status.phase == "Running" and pod.status.pod_ip]
    read = await asyncio.gather(*(_read(pod) for pod in running))
    unread = [
        f"the metrics of pod {pod.metadata.name} cannot be read ({found})"
        for pod, found in zip(running, read, strict=True)
        if isinstance(found, Unreadable) and pod.ready and not pod.deleting
    ]
    return CanaryServers(
        server=server,
        pods=frozenset(pod.metadata.name for pod in mine),
        counts=tuple(found for found in read if isinstance(found, CanaryServer)),
        unread=next(iter(unread), None),
        crashes=tuple(_crashes(mine)),
    )


def canary_pods(deployment: Deployment | None, pods: Sequence[Pod]) -> list[Pod]:
    """Return the pods of the version that the Deployment has now."""
    version = deployment.spec.template.metadata.labels.get(labels.VERSION_SERVED) if deployment else None
    return [pod for pod in with_stage(pods, labels.CANARY) if pod.metadata.labels.get(labels.VERSION_SERVED) == version]


def counts_in(pod: str, metrics: str) -> CanaryServer:
    """Return the transcriptions that a server has counted, and how many failed. Raises Unreadable.

    The server counts what tells of its version: not a page or a take, nor a client that sent something wrong, left, or met a server
    that was busy or ending.
    """
    start: float | None = None
    outcomes: dict[str, int] = {}
    try:
        for sample in (sample for family in text_string_to_metric_families(metrics) for sample in family.samples):
            if sample.name == "process_start_time_seconds":
                start = sample.value
            elif sample.name == "speechmodel_transcriptions_total":
                outcomes[sample.labels["outcome"]] = int(sample.value)
    except (ArithmeticError, LookupError, ValueError) as error:
        raise Unreadable(f"the answer has no metrics: {error}") from error
    if start is None:
        raise Unreadable("the answer lacks process_start_time_seconds")
    if "failed" not in outcomes:  # a server of an earlier release, which the operator is about to replace
        raise Unreadable("the answer lacks speechmodel_transcriptions_total")
    return CanaryServer(pod=pod, process_start=start, requests=sum(outcomes.values()), failed=outcomes["failed"])


async def _read(pod: Pod) -> CanaryServer | Unreadable:
    """Read a server's metrics, without a proxy."""
    address = f"[{pod.status.pod_ip}]" if ":" in pod.status.pod_ip else pod.status.pod_ip
    url = f"http://{address}:{pod.port('http')}/metrics"
    timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(url, allow_redirects=False) as answer:
            if answer.status != 200:
                return Unreadable(f"{url} answers {answer.status}")
            body = b""
            async for part in answer.content.iter_any():
                body += part
                if len(body) > LARGEST_ANSWER:
                    return Unreadable(f"{url} answers with more than {LARGEST_ANSWER} bytes")
            return counts_in(pod.metadata.name, body.decode(errors="replace"))
    except Unreadable as error:
        return error
    except TimeoutError:
        return Unreadable(f"{url} does not answer in {TIMEOUT_SECONDS:g} s")
    except aiohttp.ClientError as error:
        return Unreadable(f"{url}: {error}")


def _crashes(pods: Iterable[Pod]) -> Iterator[Crash]:
    """Yield the unexpected ends of server programs."""
    for pod in pods:
        for container in pod.status.container_statuses:
            last = container.last_state.terminated
            if container.name != labels.SERVER or last is None or last.finished_at is None:
                continue
            if last.reason not in LOST_CONTAINER:
                yield Crash(last.finished_at, f"pod {pod.metadata.name}: exit code {last.exit_code} ({last.reason})")
