"""The few calls that the operator makes to the API server."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Generic

import aiohttp
from pydantic_core import from_json, to_json
from speechmodel_api.crd import GROUP, PLURAL, VERSION
from speechmodel_api.tracing import span

from speechmodel_operator.cluster.connection import Connection
from speechmodel_operator.cluster.errors import NoAnswer, cluster_error, forget, no_answer
from speechmodel_operator.cluster.views import (
    Claim,
    Deployment,
    EventView,
    Job,
    Lease,
    Manifest,
    Metadata,
    Model,
    NetworkPolicy,
    ObjectView,
    Page,
    Pod,
    Service,
    ViewT,
    read_page,
)
from speechmodel_operator.jitter import jittered
from speechmodel_operator.resources.labels import MODEL
from speechmodel_operator.telemetry import Telemetry

FIELD_MANAGER = "speechmodel-operator"
JSON = "application/json"
TIMEOUT_SECONDS = 35.0
"""Longer than a webhook may take, which is 30 s: the API server then answers with an error, which concerns that object only."""
LOG_TIMEOUT_SECONDS = 5.0
CALLS_AT_ONCE = 32
"""Calls that may be on their way at the same time, watches excluded. The API server's Priority and Fairness limits calls in the
same way, so that operators and people share it.
"""
PATIENCE = 6
"""Attempts of a call that the API server answers with 429 because it has too much to do."""
LONGEST_PAUSE_SECONDS = 12.0
"""Longest pause before such a call is repeated, whatever the API server or a proxy asks for. Jitter makes it up to 18 s."""
LONGEST_PATIENCE_SECONDS = 20.0
"""Time after which no such call is repeated. With one time-out more, a call takes 55 s at most: three of them in a row end
before the liveness probe takes the step for stalled."""
READS = 3
"""Attempts of a read whose connection breaks, for example when a load balancer or one of several API servers stops."""
WATCH_GRACE_SECONDS = 10.0
"""Time beyond its own that a watch may stay open before its connection counts as broken."""
BROKEN = (aiohttp.ClientError, TimeoutError)
"""Errors that end a call before the API server has answered it."""
PAGE = 100
"""Objects in one answer of a list. Parsed, a page takes ten times its size, and that of pods is the largest."""


@dataclass(frozen=True)
class Resource(Generic[ViewT]):
    """A kind: how the API server addresses it and how it is read."""

    prefix: str
    plural: str
    kind: str
    view: type[ViewT]


MODELS = Resource(f"/apis/{GROUP}/{VERSION}", PLURAL, "SpeechModel", Model)
JOBS = Resource("/apis/batch/v1", "jobs", "Job", Job)
PODS = Resource("/api/v1", "pods", "Pod", Pod)
CLAIMS = Resource("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim", Claim)
SERVICES = Resource("/api/v1", "services", "Service", Service)
DEPLOYMENTS = Resource("/apis/apps/v1", "deployments", "Deployment", Deployment)
EVENTS = Resource("/api/v1", "events", "Event", EventView)
NAMESPACES = Resource("/api/v1", "namespaces", "Namespace", ObjectView)
LEASES = Resource("/apis/coordination.k8s.io/v1", "leases", "Lease", Lease)
NETWORK_POLICIES = Resource("/apis/networking.k8s.io/v1", "networkpolicies", "NetworkPolicy", NetworkPolicy)
POLICY_OWNERS = {
    resource.kind: resource
    for resource in (
        Resource("/apis/rbac.authorization.k8s.io/v1", "clusterroles", "ClusterRole", ObjectView),
        Resource("/apis/rbac.authorization.k8s.io/v1", "roles", "Role", ObjectView),
    )
}
"""Kinds of objects that may own the policies, by name."""
ACCESSORIES = {
    resource.kind: resource
    for resource in (
        Resource("/apis/policy/v1", "poddisruptionbudgets", "PodDisruptionBudget", ObjectView),
        Resource("/apis/autoscaling/v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", ObjectView),
        Resource("/apis/networking.k8s.io/v1", "ingresses", "Ingress", ObjectView),
        Resource("/apis/gateway.networking.k8s.io/v1", "httproutes", "HTTPRoute", ObjectView),
    )
}
"""Kinds of objects that a server may have beside its Deployment and its Service, by name."""


class Api:
    """Namespaced get, list, create, patch, apply, delete, and a pod's log. Raises NoAnswer, and ClusterError and its subclasses.

    `written` is called with each object that the API server returned after a write, and `deleting` with each that it is asked to delete.
    """

    def __init__(self, connection: Connection, telemetry: Telemetry | None = None) -> None:
        self._connection = connection
        self._telemetry = telemetry or Telemetry()
        self._gate = asyncio.Semaphore(CALLS_AT_ONCE)
        self.written: Callable[[Resource[Any], Manifest], None] | None = None
        self.deleting: Callable[[Resource[Any], Metadata], None] | None = None

    def now(self) -> datetime:
        """Return the time by the clock of the API server."""
        return self._connection.now()

    async def serves(self, group: str, version: str, plural: str) -> bool:
        """Return True when the API server has this kind."""
        status, body = await self._call("GET", f"/apis/{group}/{version}")
        return status != 404 and any(kind["name"] == plural for kind in _checked(status, body)["resources"])

    async def openapi(self, group: str, version: str) -> dict[str, Any]:
        """Return the API server's description of the kinds of a group."""
        return _checked(*await self._call("GET", f"/openapi/v3/apis/{group}/{version}"))

    async def get(self, resource: Resource[ViewT], namespace: str, name: str) -> ViewT | None:
        """Return the object, or None when it does not exist."""
        status, body = await self._call("GET", _path(resource, namespace, name))
        return None if status == 404 else resource.view.read(_checked(status, body))

    async def find(self, resource: Resource[ViewT], namespace: str, model: str) -> tuple[ViewT, ...]:
        """Return the objects with the label of a SpeechModel."""
        query = [("labelSelector", f"{MODEL}={model}")]
        page = _page(resource, *await self._call("GET", _path(resource, namespace), query=query))
        return tuple(map(resource.view.read, page.items))

    async def pages(
        self, resource: Resource[ViewT], namespace: str, selector: str
    ) -> AsyncIterator[Page[ViewT | dict[str, Any]]]:
        """Yield the answers of a list in pages. Without a namespace, it is a list of all. Raises ClusterError (410) when the next
        page is no longer there.
        """
        query, token = [("labelSelector", selector), ("limit", str(PAGE))], ""
        while True:
            given = [*query, ("continue", token)] if token else query
            page = _page(resource, *await self._call("GET", _path(resource, namespace), query=given))
            yield page
            token = page.metadata.next_page
            if not token:
                return

    async def watch(
        self, resource: Resource[Any], namespace: str, selector: str, version: str, seconds: float
    ) -> AsyncIterator[Manifest]:
        """Yield the changes after a resourceVersion, for at most `seconds`. Raises ClusterError and NoAnswer.

        A connection that is open but brings nothing ends with NoAnswer soon after that. The watch is counted when it ends, with
        the code 0 if its connection broke.
        """
        query = [
            ("labelSelector", selector),
            ("watch", "true"),
            ("allowWatchBookmarks", "true"),
            ("resourceVersion", version),
            ("timeoutSeconds", str(int(seconds))),
        ]
        path, longest, code = _path(resource, namespace), seconds + WATCH_GRACE_SECONDS, 0
        try:
            response = await self._connection.send("GET", path, query, None, JSON, longest)
            code = response.status
            try:
                if response.status >= 400:
                    raise cluster_error(response.status, await response.read())
                async for line in _lines(response):
                    event = from_json(line)
                    if event["type"] == "ERROR":
                        code = int(event["object"].get("code", 500))
                        raise cluster_error(code, to_json(event["object"]))
                    yield event
            finally:
                response.close()
        except BROKEN as error:
            code = 0
            raise no_answer(f"the watch of {path}", error) from None
        finally:
            self._telemetry.called("WATCH", code)

    async def namespaces(self, selector: str) -> frozenset[str]:
        """Return the names of the namespaces that a label selector matches. Raises ClusterError (400) when it is not valid."""
        status, body = await self._call("GET", "/api/v1/namespaces", query=[("labelSelector", selector)])
        return frozenset(item["metadata"]["name"] for item in _checked(status, body)["items"])

    async def events_about(self, thing: ObjectView) -> tuple[EventView, ...]:
        """Return the Events about an object."""
        query = [("fieldSelector", f"involvedObject.uid={thing.metadata.uid}")]
        page = _page(EVENTS, *await self._call("GET", _path(EVENTS, thing.metadata.namespace), query=query))
        return tuple(map(EventView.read, page.items))

    async def create(self, resource: Resource[ViewT], namespace: str, manifest: Manifest) -> ViewT:
        """Create an object and return it. Raises AlreadyExists when the name is taken."""
        query = [("fieldManager", FIELD_MANAGER)]
        return self._returned(resource, *await self._call("POST", _path(resource, namespace), manifest, query=query))

    async def apply(self, resource: Resource[ViewT], namespace: str, manifest: Manifest, *, force: bool) -> ViewT:
        """Apply an object server-side and return it: fields that were set before and are left out now are removed.

        Raises Conflict when others own a field and `force` is false.
        """
        query = [("fieldManager", FIELD_MANAGER), ("force", str(force).lower())]
        path = _path(resource, namespace, manifest["metadata"]["name"])
        status, body = await self._call("PATCH", path, manifest, query=query, content="application/apply-patch+yaml")
        return self._returned(resource, status, body)

    async def merge_patch(
        self, resource: Resource[ViewT], namespace: str, name: str, patch: Manifest, part: str = ""
    ) -> ViewT | None:
        """Send a JSON merge patch of an object or of its `/status`; return None when the object is gone."""
        path = _path(resource, namespace, name) + part
        query = [("fieldManager", FIELD_MANAGER)]
        status, body = await self._call("PATCH", path, patch, query=query, content="application/merge-patch+json")
        return None if status == 404 else self._returned(resource, status, body)

    async def delete(self, resource: Resource[ViewT], thing: ViewT) -> None:
        """Delete exactly this object, and its dependents in the background.

        It is not an error when the object is gone or another one has its name. The propagation policy is always sent, because
        the default of batch/v1 leaves the pods of a Job running.
        """
        metadata = thing.metadata
        if self.deleting is not None:
            self.deleting(resource, metadata)
        options = {"propagationPolicy": "Background", "preconditions": {"uid": metadata.uid}}
        status, body = await self._call("DELETE", _path(resource, metadata.namespace, metadata.name), options)
        if status not in (404, 409):
            _checked(status, body)

    async def log(self, pod: Pod, container: str, *, lines: int, limit: int) -> str:
        """Return the last lines of a container's log, at most `limit` bytes; nothing when the kubelet cannot be reached."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", str(limit))]
        path = f"{_path(PODS, pod.metadata.namespace, pod.metadata.name)}/log"
        try:
            status, body = await self._call("GET", path, query=query, seconds=LOG_TIMEOUT_SECONDS)
        except NoAnswer:
            return ""
        return body.decode(errors="replace") if status == 200 else ""

    def _returned(self, resource: Resource[ViewT], status: int, body: bytes) -> ViewT:
        item = _checked(status, body)
        if self.written is not None:
            self.written(resource, item)
        return resource.view.read(item)

    async def _call(
        self,
        method: str,
        path: str,
        body: Manifest | None = None,
        *,
        query: Sequence[tuple[str, str]] = (),
        content: str = JSON,
        seconds: float = TIMEOUT_SECONDS,
    ) -> tuple[int, bytes]:
        """Return the status and the body of an answer.

        A call that was rejected because of load, which had no effect, is repeated, and so is a read whose connection broke.
        """
        sent, broken, began = None if body is None else to_json(body), 0, time.monotonic()
        for attempt in range(PATIENCE):
            async with self._gate:
                code, asked = 0, ""
                with span(method, {"http.request.method": method, "url.path": path}, kind="CLIENT") as call:
                    try:
                        response = await self._connection.send(method, path, query, sent, content, seconds)
                        raw: bytes = await response.read()
                        code, asked = response.status, response.headers.get("Retry-After", "")
                    except BROKEN as error:
                        broken += 1
                        late = isinstance(error, TimeoutError) or time.monotonic() - began > seconds
                        if method != "GET" or late or broken == READS or attempt == PATIENCE - 1:
                            raise no_answer(f"{method} {path}", error) from None
                        forget(error)
                    finally:
                        self._telemetry.called(method, code)
                        call.describe({"http.response.status_code": code})
            if code not in (0, HTTPStatus.TOO_MANY_REQUESTS):
                break
            pause = _pause(asked, attempt)
            if code and (attempt == PATIENCE - 1 or time.monotonic() - began + pause > LONGEST_PATIENCE_SECONDS):
                break
            await asyncio.sleep(pause)
        return code, raw


async def _lines(response: aiohttp.ClientResponse) -> AsyncIterator[bytes]:
    """Yield the lines of an answer as they arrive, however long they are."""
    rest = b""
    async for block in response.content.iter_any():
        *lines, rest = (rest + block).split(b"\n")
        for line in lines:
            yield line


def _pause(asked: str, attempt: int) -> float:
    """Return the seconds that the API server asks for, or else a time that doubles, and some more, so that clients do not meet again."""
    seconds = max(float(asked) if asked.isdigit() else 0.0, 0.25 * 2**attempt)
    return jittered(min(seconds, LONGEST_PAUSE_SECONDS), 0.5)


def _path(resource: Resource[ViewT], namespace: str, name: str = "") -> str:
    """Return the path of an object; without a name, of a list, and without a namespace too, of a list of all."""
    place = f"/namespaces/{namespace}" if namespace else ""
    return f"{resource.prefix}{place}/{resource.plural}" + (f"/{name}" if name else "")


def _page(resource: Resource[ViewT], status: int, body: bytes) -> Page[ViewT | dict[str, Any]]:
    if status >= 400:
        raise cluster_error(status, body)
    return read_page(resource.view, body)


def _checked(status: int, body: bytes) -> dict[str, Any]:
    if status >= 400:
        raise cluster_error(status, body)
    found: dict[str, Any] = from_json(body)
    return found
