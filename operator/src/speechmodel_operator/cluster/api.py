"""The handful of calls that the operator makes, with plain dictionaries: what the API server says, nothing added or lost."""

import json
from dataclasses import dataclass
from typing import Any

import aiohttp
from kubernetes.aio import client
from speechmodel_api.crd import GROUP, PLURAL, VERSION

from speechmodel_operator.cluster.errors import cluster_error

Object = dict[str, Any]

FIELD_MANAGER = "speechmodel-operator"
TIMEOUT_SECONDS = 30.0
LOG_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Resource:
    """A kind, as the API server addresses it."""

    prefix: str
    plural: str
    kind: str


MODELS = Resource(f"/apis/{GROUP}/{VERSION}", PLURAL, "SpeechModel")
JOBS = Resource("/apis/batch/v1", "jobs", "Job")
PODS = Resource("/api/v1", "pods", "Pod")
CLAIMS = Resource("/api/v1", "persistentvolumeclaims", "PersistentVolumeClaim")
SERVICES = Resource("/api/v1", "services", "Service")
DEPLOYMENTS = Resource("/apis/apps/v1", "deployments", "Deployment")
EVENTS = Resource("/api/v1", "events", "Event")


class Api:
    """Namespaced get, list, create, patch, apply, delete, and a pod's log. Raises ClusterError and its kin."""

    def __init__(self, api_client: client.ApiClient) -> None:
        self._client = api_client
        self._client.user_agent = f"{FIELD_MANAGER}/0.1.0"

    async def serves(self, group: str, version: str, plural: str) -> bool:
        """Whether the API server has this kind."""
        status, body = await self._call("GET", f"/apis/{group}/{version}")
        return status != 404 and any(found["name"] == plural for found in _object(status, body)["resources"])

    async def get(self, resource: Resource, namespace: str, name: str) -> Object | None:
        """The object, or None when there is none."""
        status, body = await self._call("GET", _path(resource, namespace, name))
        if status == 404:
            return None
        return _object(status, body)

    async def find(self, resource: Resource, namespace: str, selector: str) -> list[Object]:
        """Objects by label."""
        status, body = await self._call("GET", _path(resource, namespace), query=[("labelSelector", selector)])
        items: list[Object] = _object(status, body)["items"]
        return items

    async def create(self, resource: Resource, namespace: str, manifest: Object) -> Object:
        """POST; AlreadyExists when the name is taken."""
        query = [("fieldManager", FIELD_MANAGER)]
        return _object(*await self._call("POST", _path(resource, namespace), manifest, query=query))

    async def apply(self, resource: Resource, namespace: str, manifest: Object, *, force: bool) -> Object:
        """Server-side apply: fields that we set before and leave out now go. Conflict when not forced and others own them."""
        query = [("fieldManager", FIELD_MANAGER), ("force", str(force).lower())]
        path = _path(resource, namespace, manifest["metadata"]["name"])
        return _object(*await self._call("PATCH", path, manifest, query=query, content="application/apply-patch+yaml"))

    async def merge_patch(
        self, resource: Resource, namespace: str, name: str, patch: Object, part: str = ""
    ) -> Object | None:
        """JSON merge patch of an object or of its `/status`; None when the object is gone."""
        path = _path(resource, namespace, name) + part
        query = [("fieldManager", FIELD_MANAGER)]
        status, body = await self._call("PATCH", path, patch, query=query, content="application/merge-patch+json")
        return None if status == 404 else _object(status, body)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        """Delete this very object; its dependents go in the background. No error when it is gone or another has its name.

        The propagation policy is always said: the default of batch/v1 leaves the pods of a Job running.
        """
        options = {"propagationPolicy": "Background", "preconditions": {"uid": uid}}
        status, body = await self._call("DELETE", _path(resource, namespace, name), options)
        if status not in (404, 409):
            _object(status, body)

    async def log(self, namespace: str, pod: str, container: str, *, lines: int, limit: int) -> str:
        """The last lines of a container's log, at most `limit` bytes; empty when it cannot be had: that is never a failure."""
        query = [("container", container), ("tailLines", str(lines)), ("limitBytes", str(limit))]
        path = f"{_path(PODS, namespace, pod)}/log"
        try:
            status, body = await self._call("GET", path, query=query, seconds=LOG_TIMEOUT_SECONDS)
        except (TimeoutError, aiohttp.ClientError):  # the node is lost, or on its way
            return ""
        return body if status == 200 else ""

    async def _call(
        self,
        method: str,
        path: str,
        body: Object | None = None,
        *,
        query: list[tuple[str, str]] | None = None,
        content: str = "application/json",
        seconds: float = TIMEOUT_SECONDS,
    ) -> tuple[int, str]:
        headers = {"Accept": "application/json", "Content-Type": content}
        request = await self._client.param_serialize(
            method, path, query_params=query, header_params=headers, body=body, auth_settings=["BearerToken"]
        )
        response = await self._client.call_api(*request, _request_timeout=seconds, _preload_content=False)
        raw: bytes = await response.read()  # type: ignore[no-untyped-call] # the client is generated without types
        return response.status, raw.decode(errors="replace")


def _path(resource: Resource, namespace: str, name: str = "") -> str:
    return f"{resource.prefix}/namespaces/{namespace}/{resource.plural}" + (f"/{name}" if name else "")


def _object(status: int, body: str) -> Object:
    if status >= 400:
        raise cluster_error(status, body)
    found: Object = json.loads(body)
    return found
