"""Why a container of a pod does not run: the kubelet's reason, the error that its program reported, or its memory. Pure."""

import math
from datetime import datetime, timedelta

from kubernetes.utils import parse_quantity
from pydantic import ValidationError
from speechmodel_api.pods import resources_field
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import StageError, StageName, StageResult
from speechmodel_plan.observed import Trouble

from speechmodel_operator.cluster.views import ContainerStatus, Pod, Terminated
from speechmodel_operator.resources import labels

WAITING = {
    "ErrImagePull": Reason.IMAGE_PULL_FAILED,
    "ImagePullBackOff": Reason.IMAGE_PULL_FAILED,
    "InvalidImageName": Reason.IMAGE_PULL_FAILED,
    "ErrImageNeverPull": Reason.IMAGE_PULL_FAILED,
    "RegistryUnavailable": Reason.IMAGE_PULL_FAILED,
    "CreateContainerConfigError": Reason.CREATE_CONTAINER_CONFIG_ERROR,
    "CreateContainerError": Reason.CREATE_CONTAINER_ERROR,
    "RunContainerError": Reason.RUN_CONTAINER_ERROR,
    "CrashLoopBackOff": Reason.CRASH_LOOP_BACK_OFF,
}
"""Our reason for the kubelet's reason of a waiting container, if it does not start by itself."""
LOST_CONTAINER = ("Unknown", "ContainerStatusUnknown")
"""Reasons of the kubelet for a container that ended because its node did."""
LOOP_ENDS_AFTER = timedelta(minutes=10)
"""Running time after which a crash is the first one again. The kubelet's back-off begins again after it as well."""


def trouble(pod: Pod, now: datetime) -> Trouble | None:
    """Return the reason why a container does not run, or crashes again and again."""
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    return next((found for status in statuses if (found := _trouble(pod, status, now))), None)


def out_of_memory(pod: Pod, container: str) -> Trouble | None:
    """Return the trouble of a container that was killed because memory ran out."""
    return _out_of_memory(pod, container, pod.state(container).terminated)


def _trouble(pod: Pod, status: ContainerStatus, now: datetime) -> Trouble | None:
    waiting = status.state.waiting
    reason = WAITING.get(waiting.reason) if waiting else None
    if reason is Reason.CRASH_LOOP_BACK_OFF or _crashed_again(status, now):
        return _crash(pod, status)
    if waiting is None or reason is None:
        return None
    missing = reason is Reason.CREATE_CONTAINER_CONFIG_ERROR and "secret" in waiting.message.lower()
    message = waiting.message or "the kubelet reported no message"
    return Trouble(
        Reason.CREDENTIALS_MISSING if missing else reason, f"container {status.name}: {waiting.reason}: {message}"
    )


def _crashed_again(status: ContainerStatus, now: datetime) -> bool:
    """Return True for a container that has crashed twice in a row, until it is ready or has run for a while.

    Between two back-offs it runs for a moment, which must not look as if it had recovered. The end of its node is no crash.
    """
    state, ended = status.state, _ended(status)
    crashes = status.restart_count + (state.terminated is not None)
    if status.ready or state.waiting is not None or ended is None or crashes < 2 or ended.reason in LOST_CONTAINER:
        return False
    lasted = ended.finished_at - ended.started_at if ended.finished_at and ended.started_at else timedelta()
    began = state.running.started_at if state.running else None
    runs = now - began if began else timedelta()
    return max(lasted, runs) < LOOP_ENDS_AFTER


def _crash(pod: Pod, status: ContainerStatus) -> Trouble:
    """Return the reason of a crash: the error that a stage program, such as fetch, reported, or what the kubelet knows.

    The kubelet's message is left out, because it has the time until the next start, which changes each time.
    """
    ended = _ended(status)
    if ended is not None and (error := _reported(ended)):
        return Trouble(error.reason, f"container {status.name}: {error.message}")
    if killed := _out_of_memory(pod, status.name, ended):
        return killed
    last = ended.message or f"it exits again and again, last with code {ended.exit_code}" if ended else "it exits"
    return Trouble(Reason.CRASH_LOOP_BACK_OFF, f"container {status.name}: CrashLoopBackOff: {last}")


def _ended(status: ContainerStatus) -> Terminated | None:
    """Return the last end of a container."""
    return status.state.terminated or status.last_state.terminated


def _reported(ended: Terminated) -> StageError | None:
    try:
        return StageResult[StageError].model_validate_json(ended.message or "").error
    except ValidationError:
        return None


def _out_of_memory(pod: Pod, container: str, ended: Terminated | None) -> Trouble | None:
    """Return the trouble of a container that was killed. It is final with a limit, which another attempt would exceed too;
    without one, the node had no memory left.
    """
    if ended is None or ended.reason != "OOMKilled":
        return None
    component = pod.metadata.labels.get(labels.STAGE, "")
    field, train = resources_field(component), component == StageName.TRAIN
    found = (each for each in (*pod.spec.init_containers, *pod.spec.containers) if each.name == container)
    limit = next((each.resources.limits.get("memory") for each in found), None)
    smaller = ", or lower hyperparameters.batchSize or hiddenUnits" if train else ""
    if limit is not None:
        remedy = f"set {field}.limits.memory to {_doubled(limit)}{smaller}"
        return Trouble(
            Reason.OUT_OF_MEMORY, f"container {container} exceeded its memory limit {limit}; {remedy}", final=True
        )
    remedy = f"if that happens again, set {field}.requests.memory to what it needs, so that its node has room{smaller}"
    killed = f"container {container}, which has no memory limit, was killed because node {pod.spec.node_name} had no memory left"
    return Trouble(Reason.OUT_OF_MEMORY, f"{killed}; {remedy}")


def _doubled(limit: str) -> str:
    """Return twice the limit, in MiB or GiB."""
    mebibytes = math.ceil(2 * float(parse_quantity(limit)) / 2**20)  # type: ignore[no-untyped-call] # the client has no types
    return f"{mebibytes // 1024}Gi" if mebibytes % 1024 == 0 else f"{mebibytes}Mi"
