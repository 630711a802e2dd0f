"""What the pods of a Job or a Deployment say: exit codes, results, and why something stands still. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Any

from speechmodel_api.times import parse_time
from speechmodel_plan.observed import STUCK, Trouble

Object = dict[str, Any]

FATAL_WAITING = {
    "ErrImagePull",
    "ImagePullBackOff",
    "InvalidImageName",
    "ErrImageNeverPull",
    "CreateContainerConfigError",
    "CreateContainerError",
    "RunContainerError",
    "CrashLoopBackOff",
}
"""Reasons of a waiting container that do not pass by themselves."""
STUCK_AFTER = timedelta(seconds=60)
"""How long a pod may stay Terminating beyond its grace period before somebody is told."""


def newest(pods: Iterable[Object]) -> Object | None:
    """The pod made last."""
    return max(pods, key=lambda pod: str(pod["metadata"]["creationTimestamp"]), default=None)


def executing(pod: Object) -> bool:
    """Whether something of the pod may still run."""
    return pod.get("status", {}).get("phase") not in ("Succeeded", "Failed")


def running(pod: Object) -> bool:
    """Whether a container of it runs."""
    return bool(pod.get("status", {}).get("phase") == "Running")


def started_at(pod: Object, container: str) -> datetime | None:
    """When a container of it began."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == container:
            state = status.get("state", {})
            began = (state.get("running") or state.get("terminated") or {}).get("startedAt")
            return parse_time(began) if began else None
    return None


def terminated(pod: Object, container: str) -> Object | None:
    """The terminated state of a container: exitCode, reason, message, finishedAt."""
    for status in pod.get("status", {}).get("containerStatuses", []):
        if status["name"] == container:
            found: Object | None = status.get("state", {}).get("terminated")
            return found
    return None


def trouble(pod: Object, now: datetime) -> Trouble | None:
    """Why a pod does not get on."""
    status = pod.get("status", {})
    if stuck := _stuck(pod, now):
        return stuck
    for condition in status.get("conditions", []):
        if condition["type"] == "PodScheduled" and condition["status"] == "False":
            return Trouble(condition.get("reason") or "Unschedulable", condition.get("message") or "no node was found")
    for container in (*status.get("initContainerStatuses", []), *status.get("containerStatuses", [])):
        waiting = container.get("state", {}).get("waiting") or {}
        if waiting.get("reason") in FATAL_WAITING:
            return Trouble(waiting["reason"], _waiting_message(container, waiting))
    return None


def out_of_memory(pod: Object, container: str) -> Trouble | None:
    """The kernel ended the container at its memory limit: another try would meet the same end."""
    ended = terminated(pod, container)
    if ended is None or ended.get("reason") != "OOMKilled":
        return None
    limits: Object = next(
        (c.get("resources", {}).get("limits", {}) for c in pod["spec"]["containers"] if c["name"] == container), {}
    )
    limit = limits.get("memory", "of the node")
    advice = "raise resources.limits.memory, or lower batchSize or hiddenUnits"
    return Trouble("OOMKilled", f"the memory limit {limit} was not enough; {advice}", final=True)


def _waiting_message(container: Object, waiting: Object) -> str:
    last = (container.get("lastState", {}).get("terminated") or {}).get("message")
    said = last or waiting.get("message") or "the kubelet gave no message"
    return f"container {container['name']}: {said}"


def _stuck(pod: Object, now: datetime) -> Trouble | None:
    deleted = pod["metadata"].get("deletionTimestamp")
    if deleted is None or now - parse_time(deleted) < STUCK_AFTER:  # deletionTimestamp includes the grace period
        return None
    node, name = pod["spec"].get("nodeName", "?"), pod["metadata"]["name"]
    ways = "bring the node back, or remove it with `kubectl delete node`, or force-delete the pod once you know that it is off"
    return Trouble(STUCK, f"pod {name} on node {node} does not end; {ways}")
