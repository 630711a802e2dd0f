"""The state of pods: the newest one, and the reason why one makes no progress. Pure."""

from collections.abc import Iterable
from datetime import datetime, timedelta

from speechmodel_api.reasons import Reason
from speechmodel_plan.observed import Trouble

from speechmodel_operator.cluster.views import ContainerStatus, Pod

FATAL_WAITING = {
    Reason.ERR_IMAGE_PULL,
    Reason.IMAGE_PULL_BACK_OFF,
    Reason.INVALID_IMAGE_NAME,
    Reason.ERR_IMAGE_NEVER_PULL,
    Reason.CREATE_CONTAINER_CONFIG_ERROR,
    Reason.CREATE_CONTAINER_ERROR,
    Reason.RUN_CONTAINER_ERROR,
    Reason.CRASH_LOOP_BACK_OFF,
}
"""Reasons of a waiting container that need a change by a user."""
STUCK_AFTER = timedelta(seconds=60)
"""Time beyond its grace period that a pod may stay Terminating before it is reported."""


def newest(pods: Iterable[Pod]) -> Pod | None:
    """Return the pod that was created last."""
    dated = [(pod.metadata.creation_timestamp, pod) for pod in pods if pod.metadata.creation_timestamp]
    return max(dated, key=lambda each: each[0])[1] if dated else None


def executing(pod: Pod) -> bool:
    """Return True while a container of the pod may still run."""
    return pod.status.phase not in ("Succeeded", "Failed")


def started_at(pod: Pod, container: str) -> datetime | None:
    """Return the time at which a container of the pod started."""
    state = pod.state(container)
    began = state.running or state.terminated
    return began.started_at if began else None


def trouble(pod: Pod, now: datetime) -> Trouble | None:
    """Return the reason why a pod makes no progress."""
    if stuck := _stuck(pod, now):
        return stuck
    for condition in pod.status.conditions:
        if condition.type == "PodScheduled" and condition.status == "False":
            reason = condition.reason or Reason.UNSCHEDULABLE
            return Trouble(reason, condition.message or "the scheduler found no node")
    for container in (*pod.status.init_container_statuses, *pod.status.container_statuses):
        waiting = container.state.waiting
        if waiting and waiting.reason in FATAL_WAITING:
            return Trouble(waiting.reason, _waiting_message(container))
    return None


def out_of_memory(pod: Pod, container: str) -> Trouble | None:
    """Return the trouble of a container that exceeded its memory limit. Another attempt would fail in the same way."""
    ended = pod.state(container).terminated
    if ended is None or ended.reason != Reason.OOM_KILLED:
        return None
    limits = (each.resources.limits for each in pod.spec.containers if each.name == container)
    limit = next(limits, {}).get("memory", "of the node")
    advice = "raise resources.limits.memory, or lower batchSize or hiddenUnits"
    return Trouble(Reason.OOM_KILLED, f"the container exceeded the memory limit {limit}; {advice}", final=True)


def _waiting_message(container: ContainerStatus) -> str:
    last = container.last_state.terminated
    waiting = container.state.waiting
    message = (last.message if last else None) or (waiting.message if waiting else "")
    return f"container {container.name}: {message or 'the kubelet reported no message'}"


def _stuck(pod: Pod, now: datetime) -> Trouble | None:
    deleted = pod.metadata.deletion_timestamp  # includes the grace period
    if deleted is None or now - deleted < STUCK_AFTER:
        return None
    ways = "bring the node back, remove it with `kubectl delete node`, or force-delete the pod once you know that the node is off"
    return Trouble(
        Reason.POD_STUCK, f"pod {pod.metadata.name} on node {pod.spec.node_name} is still terminating; {ways}"
    )
