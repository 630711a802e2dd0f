"""Turn Kubernetes objects into the values that a plan is made from. Pure: the engine does the reading."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.reasons import Reason
from speechmodel_plan.names import RunName
from speechmodel_plan.observed import Claim, Purge, Run, RunState, Server, Trouble

from speechmodel_operator.cluster import containers, pods, views, waiting
from speechmodel_operator.cluster.views import Deployment, Job, Pod
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import STAGE_CONTAINER
from speechmodel_operator.resources.workers import INDEX, JOB_NAME

TEMPLATE_HASH = "pod-template-hash"
"""Label of a pod that tells which template of its Deployment it is from. Kubernetes sets it."""


def stage_runs(
    jobs: Iterable[Job],
    job_pods: Iterable[Pod],
    progress: Mapping[str, TrainProgress | StepProgress],
    now: datetime,
    event_messages: Mapping[str, str],
    claim: views.Claim | None = None,
    model_labels: Mapping[str, str] | None = None,
) -> tuple[Run, ...]:
    """Return a run for each stage Job, and an ending run for each deleted Job whose pods still exist. A deleted Job that only a
    finalizer of something else keeps is no run.

    `event_messages` are those about Jobs, pods and the workspace claim that wait, by uid. `model_labels` are those of the
    SpeechModel, if Jobs are to be compared with them.
    """
    by_job: dict[str, list[Pod]] = {}
    for pod in job_pods:
        if job_name := pod.metadata.labels.get(JOB_NAME):
            by_job.setdefault(job_name, []).append(pod)
    runs = [
        _job_run(job, named, by_job.get(job.metadata.name, []), progress, now, event_messages, claim, model_labels)
        for job in jobs
        if (named := RunName.read(job.metadata.name)) and not _left_behind(job, by_job.get(job.metadata.name, []), now)
    ]
    known = {run.name for run in runs}
    for name, orphans in by_job.items():
        left = [pod for pod in orphans if pods.executing(pod)]
        if name not in known and left and (named := RunName.read(name)):
            runs.append(_orphan_run(name, named, left, now, event_messages))
    return tuple(runs)


def _left_behind(job: Job, job_pods: Iterable[Pod], now: datetime) -> bool:
    """Return True for a Job that was deleted a while ago and has no pod that executes. Its controller creates no more."""
    deleted = job.metadata.deletion_timestamp
    return deleted is not None and now - deleted >= pods.STUCK_AFTER and not any(map(pods.executing, job_pods))


def claim_of(claim: views.Claim | None, uid: str) -> Claim | None:
    """Return the workspace claim, or None while it is being deleted."""
    if claim is None or claim.deleting:
        return None
    return Claim(claim.metadata.name, claim.metadata.uid, claim.metadata.owned_by(uid))


def server_of(
    deployment: Deployment | None,
    server_pods: Sequence[Pod],
    now: datetime,
    event_messages: Mapping[str, str],
    wanted: str | None = None,
    least: int | None = None,
    applied_generation: int | None = None,
) -> Server | None:
    """Return the Deployment, and the reason why its pods are not ready. `event_messages` are those about the pods, by uid.

    `wanted` is the hash of the Deployment that the current spec asks for. A Deployment that was applied with another hash is not settled.
    `least` is the number of replicas that is enough while an autoscaler adds more; without it, all must be ready. With `least`, the
    Deployment's controller must have seen `applied_generation`: later generations are those of the autoscaler.
    """
    if deployment is None or deployment.deleting:
        return None
    status, metadata = deployment.status, deployment.metadata
    version = deployment.spec.template.metadata.labels.get(labels.VERSION_SERVED, "")
    applied = metadata.annotations.get(labels.APPLIED)
    generation = metadata.generation if least is None or applied_generation is None else applied_generation
    observed = status.observed_generation >= generation
    current = observed and wanted in (None, applied)
    if least is None:
        counts = (status.replicas, status.updated_replicas, status.ready_replicas)
        steady = observed and all(count == deployment.spec.replicas for count in counts)
    else:
        enough = min(max(least, 1), deployment.spec.replicas)
        steady = observed and status.replicas == status.updated_replicas and status.ready_replicas >= enough
    settled = steady and current
    latest = _of_newest_template(
        pod
        for pod in server_pods
        if pod.metadata.labels.get(labels.VERSION_SERVED) == version and not pods.leaving(pod)
    )
    return Server(
        version,
        deployment.spec.replicas,
        status.ready_replicas,
        settled,
        None if settled else waiting.first_trouble(latest, now, event_messages) or waiting.blocked(deployment),
        complete=current
        and status.replicas == status.updated_replicas
        and (status.updated_replicas > 0 or deployment.spec.replicas == 0),
        steady=steady,
    )


def _of_newest_template(found: Iterable[Pod]) -> list[Pod]:
    """Return the pods with the template of the newest one. Those of an earlier template are going away."""
    found = list(found)
    newest = pods.newest(found)
    template = newest.metadata.labels.get(TEMPLATE_HASH) if newest else None
    return [pod for pod in found if pod.metadata.labels.get(TEMPLATE_HASH) == template] if newest else found


def purge_of(
    job: Job | None,
    job_pods: Iterable[Pod],
    now: datetime,
    event_messages: Mapping[str, str],
    model_labels: Mapping[str, str] | None = None,
) -> Purge | None:
    """Return the Job that removes published objects. `event_messages` are those about it and its pod, by uid."""
    if job is None:
        return None
    created, started, queued = waiting.creation_time(job), job.status.start_time, _queued(job)
    pod = pods.newest(pod for pod in job_pods if pod.metadata.labels.get(JOB_NAME) == job.metadata.name)
    rejection = event_messages.get(job.metadata.uid, "")
    trouble = (
        waiting.suspended(job)
        or (pods.trouble(pod, now, event_messages.get(pod.metadata.uid, "")) if pod else None)
        or waiting.too_few_pods(job, _state(job, ()), 1 if pod else 0, 1, now, rejection)
    )
    # the kubelet has tried to start the container; a volume that it cannot make yet may still appear
    stopped = containers.trouble(pod, now) if pod else None
    refused = stopped and stopped.reason in (Reason.CREDENTIALS_MISSING, Reason.CREATE_CONTAINER_CONFIG_ERROR)
    if trouble and refused and trouble == stopped:
        return Purge(False, created, Trouble(trouble.reason, trouble.message, final=True))
    end = job.finished
    if end is None:
        return Purge(False, created, trouble, started, queued, relabelled=_relabelled(job, model_labels))
    if end.type == "Complete":
        return Purge(True, created)
    ended = pod.state(STAGE_CONTAINER).terminated if pod else None
    message = (ended.message if ended else None) or end.message or "the Job failed"
    return Purge(True, created, Trouble(Reason.PURGE_FAILED, message, final=True))


def created_for(thing: views.ObjectView, model: str) -> bool:
    """Return True when the operator created it for a SpeechModel of that name, this one or an earlier one."""
    return thing.metadata.labels.get(labels.MODEL) == model


def with_stage(found: Iterable[Pod], stage: str) -> tuple[Pod, ...]:
    """Return the pods of a stage, or of the server."""
    return tuple(pod for pod in found if pod.metadata.labels.get(labels.STAGE) == stage)


def worker_index(pod: Pod) -> int:
    """Return the index of the worker in a pod. A pod of a Job that has only one is the first."""
    return int(pod.metadata.labels.get(INDEX, 0))


def _job_run(
    job: Job,
    named: RunName,
    job_pods: Sequence[Pod],
    progress: Mapping[str, TrainProgress | StepProgress],
    now: datetime,
    event_messages: Mapping[str, str],
    claim: views.Claim | None,
    model_labels: Mapping[str, str] | None,
) -> Run:
    metadata, state = job.metadata, _state(job, job_pods)
    workers = _workers(job_pods)
    # the other workers end before the first one, which still saves and exports
    ready = sum(pod.state(STAGE_CONTAINER).running is not None or pod.status.phase == "Succeeded" for pod in workers)
    pod = _telling(workers, state)
    ended = pod.state(STAGE_CONTAINER).terminated if pod else None
    if state is RunState.SUCCEEDED:
        trouble = None
    elif pod and state is RunState.FAILED:
        trouble = containers.out_of_memory(pod, STAGE_CONTAINER) or pods.disruption(pod) or pods.rejection(pod)
    else:
        rejection = event_messages.get(metadata.uid, "")
        trouble = (
            waiting.suspended(job)
            or waiting.unbound(workers, claim, now, event_messages)
            or waiting.first_trouble(workers, now, event_messages)
            or waiting.too_few_pods(job, state, len(workers), ready, now, rejection)
        )
    finished = job.finished
    finished_at = (ended.finished_at if ended else None) or (finished.last_transition_time if finished else None)
    began = [at for pod in job_pods if (at := pods.started_at(pod, STAGE_CONTAINER))]
    return Run(
        name=metadata.name,
        stage=named.stage,
        key=named.key,
        attempt=named.attempt,
        settings=metadata.annotations.get(labels.SETTINGS, ""),
        state=state,
        created_at=waiting.released(job),
        started_at=min(began, default=None),
        finished_at=finished_at if state in (RunState.SUCCEEDED, RunState.FAILED) else None,
        exit_code=ended.exit_code if ended else None,
        result=ended.message if ended else None,
        trouble=trouble,
        progress=progress.get(metadata.name),
        workers=job.spec.completions,
        workers_ready=ready,
        relabelled=state is RunState.PENDING and _relabelled(job, model_labels),
    )


def _workers(job_pods: Iterable[Pod]) -> tuple[Pod, ...]:
    """Return the newest pod of each worker, by index."""
    by_index: dict[int, list[Pod]] = {}
    for pod in job_pods:
        by_index.setdefault(worker_index(pod), []).append(pod)
    newest = (pods.newest(by_index[index]) for index in sorted(by_index))
    return tuple(pod for pod in newest if pod is not None)


def _telling(workers: Sequence[Pod], state: RunState) -> Pod | None:
    """Return the pod that says how the run ended: the first worker, and after a failure the one that caused it.

    When one is lost, the others report WorkerLost or are stopped.
    """
    if state is not RunState.FAILED:
        return workers[0] if workers else None
    return min(workers, key=pods.consequence, default=None)


def _orphan_run(
    name: str, named: RunName, left: Sequence[Pod], now: datetime, event_messages: Mapping[str, str]
) -> Run:
    return Run(
        name=name,
        stage=named.stage,
        key=named.key,
        attempt=named.attempt,
        settings="",
        state=RunState.ENDING,
        created_at=waiting.creation_time(left[0]),
        trouble=waiting.first_trouble(left, now, event_messages),
    )


def _state(job: Job, job_pods: Iterable[Pod]) -> RunState:
    if job.deleting:
        return RunState.ENDING
    if job.finished is not None:
        if job.finished.type == "Complete":
            return RunState.SUCCEEDED
        return RunState.ENDING if any(pods.executing(pod) for pod in job_pods) else RunState.FAILED
    return RunState.RUNNING if any(pod.status.phase == "Running" for pod in job_pods) else RunState.PENDING


def _relabelled(job: Job, model_labels: Mapping[str, str] | None) -> bool:
    """Return True for a suspended Job that was created with other labels than the SpeechModel hands down now.

    Those that a webhook added to the Job do not count. A Job of an earlier release does not say what it was created with, so only
    labels that the SpeechModel has are compared: Kueue may have added its default queue.
    """
    if model_labels is None or not job.spec.suspend or job.deleting or job.finished is not None:
        return False
    wanted = labels.inherited(model_labels)
    created_with = job.metadata.annotations.get(labels.INHERITED_AS)
    if created_with is None:
        return any(job.metadata.labels.get(name) != value for name, value in wanted.items())
    return created_with != labels.inherited_as(wanted)


def _queued(job: Job) -> bool:
    """Return True until the controller of Jobs has seen that Kueue admitted a Job. The start time is that of an earlier admission
    until then.
    """
    return labels.QUEUE in job.metadata.labels and (waiting.held(job) or job.status.start_time is None)
