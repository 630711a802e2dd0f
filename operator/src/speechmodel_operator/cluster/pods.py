"""The state of pods: the newest one, and the reason why one makes no progress. Pure."""

import math
import re
from collections.abc import Iterable
from datetime import datetime, timedelta

from pydantic import ValidationError
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageError, StageResult
from speechmodel_plan.observed import Trouble

from speechmodel_operator.cluster import containers
from speechmodel_operator.cluster.views import Condition, Pod
from speechmodel_operator.resources.pod import CA_VOLUME

DISRUPTIONS = {
    "PreemptionByScheduler": Reason.PREEMPTED,
    "EvictionByEvictionAPI": Reason.EVICTED,
    "TerminationByKubelet": Reason.EVICTED,
    "DeletionByTaintManager": Reason.NODE_LOST,
    "DeletionByPodGC": Reason.NODE_LOST,
}
"""Our reason for that of the pod condition DisruptionTarget."""
VOLUMES = (
    "persistentvolumeclaim",
    "persistent volume",
    "volume node affinity",
    "volume binding",
    "volumebinding",
    "storageclass",
)
"""Parts of the scheduler's message about volumes, in lower case."""
UNBOUND = (
    "unbound immediate persistentvolumeclaims",
    "persistent volumes to bind",
    "volumebinding",
    "binding volumes",
    "provisioning",
    "storageclass",
)
"""Parts of those that may be about a claim without a volume. Others are about a claim that does not exist, or about a volume."""
NO_NODE = ("", "Unschedulable", "SchedulerError")
"""Reasons of the scheduler for a pod without a node. It has others of its own, such as SchedulingGated."""
_MISSING = re.compile(
    r'\b(secret|configmap) "[^"]+" not found|references non-existent (secret|config) key', re.IGNORECASE
)
"""Messages of the kubelet about a volume of a Secret or a ConfigMap that it cannot make."""
VOLUMES_AFTER = timedelta(seconds=50)
"""Time that volumes may take to be made and mounted before it is reported. It is over when the operator looks again, a minute after the
pod was created."""
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


def trouble(pod: Pod, now: datetime, event_message: str = "") -> Trouble | None:
    """Return the reason why a pod makes no progress. `event_message` is that of Events about it, if they were read."""
    if stuck := _stuck(pod, now):
        return stuck
    if disrupted := disruption(pod):
        return disrupted
    scheduled = _condition(pod, "PodScheduled")
    if scheduled is not None and scheduled.status == "False":
        return _unscheduled(scheduled)
    if stopped := containers.trouble(pod, now):
        return stopped
    if not mounting_for_long(pod, now):
        return None
    name = pod.metadata.name
    where = f"pod {name} on node {pod.spec.node_name}"
    if names_missing(event_message):
        remedy = "; create this ConfigMap with that key in this namespace, or correct caBundle of the operator's chart"
        of_cas = f'volume "{CA_VOLUME}"' in event_message
        return Trouble(Reason.CREDENTIALS_MISSING, f"{where}: {event_message}{remedy if of_cas else ''}")
    why = event_message or f"`kubectl describe pod {name}` shows why"
    return Trouble(Reason.VOLUME_PENDING, f"{where} waits for its volumes or its network: {why}")


def mounting_for_long(pod: Pod, now: datetime) -> bool:
    """Return True for a pod with a node that waits for its volumes or its network longer than usual."""
    scheduled, started = _condition(pod, "PodScheduled"), _condition(pod, "PodReadyToStartContainers")
    if scheduled is None or scheduled.last_transition_time is None or started is None or started.status == "True":
        return False
    waits = scheduled.status == "True" and pod.status.phase == "Pending"
    return waits and now - scheduled.last_transition_time >= VOLUMES_AFTER


def unbound_for_long(pod: Pod, now: datetime) -> bool:
    """Return True for a pod that has no node for longer than usual because a claim has no volume, or for a reason that the scheduler
    does not give. It gives none for up to ten minutes while a volume is made on the node that it chose.
    """
    created, scheduled = pod.metadata.creation_timestamp, _condition(pod, "PodScheduled")
    if created is None or now - created < VOLUMES_AFTER or pod.deleting or pod.status.phase != "Pending":
        return False
    if scheduled is None:
        return True
    return scheduled.status == "False" and any(part in scheduled.message.lower() for part in UNBOUND)


def names_missing(message: str) -> bool:
    """Return True for a message about a Secret or a ConfigMap, or a key of one, that does not exist."""
    return _MISSING.search(message) is not None


def disruption(pod: Pod) -> Trouble | None:
    """Return the reason why a pod is taken away from its node, or was."""
    for condition in pod.status.conditions:
        if condition.type == "DisruptionTarget" and condition.status == "True":
            reason = DISRUPTIONS.get(condition.reason, Reason.EVICTED)
            message = pod.status.message or condition.message or condition.reason
            where = f"pod {pod.metadata.name} on node {pod.spec.node_name}"
            return Trouble(reason, f"{where}: {message}; another one continues from what was saved")
    return None


def rejection(pod: Pod) -> Trouble | None:
    """Return why the kubelet rejected a pod that the scheduler gave it. Kubernetes does not count that as a disruption.

    A node that shuts down gets no pods once the scheduler knows of it. Other nodes may reject every pod, so a rejection by them
    is a failure, which is followed by a pause.
    """
    if pod.status.phase != "Failed" or not pod.status.reason or pod.status.container_statuses:
        return None
    where = f"pod {pod.metadata.name} on node {pod.spec.node_name}"
    shuts_down = pod.status.reason == "NodeShutdown"
    message = f"{where} was rejected by its node ({pod.status.reason}): {pod.status.message}"
    return Trouble(Reason.EVICTED if shuts_down else Reason.POD_LOST, message)


def leaving(pod: Pod) -> bool:
    """Return True for a pod that goes away or has ended. Its Deployment replaces it."""
    return pod.deleting or not executing(pod) or disruption(pod) is not None


def consequence(pod: Pod) -> tuple[int, float]:
    """Return how far the end of a worker follows from that of another one, and when it ended; the cause is the least."""
    ended = next((state for status in pod.status.container_statuses if (state := status.state.terminated)), None)
    if disruption(pod) or rejection(pod):
        return 0, 0.0
    if ended is None or ended.exit_code == ExitCode.DONE:
        return 4, math.inf
    at = ended.finished_at.timestamp() if ended.finished_at else math.inf
    try:
        error = StageResult[StageError].model_validate_json(ended.message or "").error
    except ValidationError:
        error = None
    if error is not None and error.reason == Reason.WORKER_LOST:
        return 3, at
    return (2 if ended.exit_code == ExitCode.STOPPED else 1), at


def _condition(pod: Pod, type_: str) -> Condition | None:
    return next((condition for condition in pod.status.conditions if condition.type == type_), None)


def _unscheduled(condition: Condition) -> Trouble:
    """Return why a pod has no node, in the scheduler's words."""
    message = condition.message or "the scheduler found no node"
    if any(part in message.lower() for part in VOLUMES):
        return Trouble(Reason.VOLUME_PENDING, message)
    return Trouble(Reason.UNSCHEDULABLE if condition.reason in NO_NODE else condition.reason, message)


def _stuck(pod: Pod, now: datetime) -> Trouble | None:
    deleted = pod.metadata.deletion_timestamp  # includes the grace period
    if deleted is None or now - deleted < STUCK_AFTER:
        return None
    ways = "bring the node back, remove it with `kubectl delete node`, or force-delete the pod once you know that the node is off"
    return Trouble(
        Reason.POD_STUCK, f"pod {pod.metadata.name} on node {pod.spec.node_name} is still terminating; {ways}"
    )
