"""Kubernetes objects -> Observed. Pure: the engine reads, this understands."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import PurePosixPath
from typing import Any

from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages import StageName
from speechmodel_api.status import SpeechModelStatus
from speechmodel_api.times import parse_time
from speechmodel_plan.observed import Claim, Identity, Observed, Purge, Run, RunState, Server, Trouble

from speechmodel_operator.cluster import pods
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import DATASET_MOUNT, STAGE_CONTAINER, WORKSPACE_MOUNT, settings_hash

Object = dict[str, Any]
STAGES = {stage.value for stage in StageName}
JOB_NAME = "batch.kubernetes.io/job-name"
NO_POD_AFTER_SECONDS = 20


def observed(
    model: Object,
    runs: tuple[Run, ...],
    claim: Claim | None,
    server: Server | None,
    purge: Purge | None,
    now: datetime,
    training_clock: timedelta,
) -> Observed:
    """Everything that a plan is made from."""
    metadata = model["metadata"]
    spec = SpeechModelSpec.of(model)
    path = spec.dataset.source.persistent_volume_claim.path
    deleted = metadata.get("deletionTimestamp")
    return Observed(
        identity=Identity(metadata["namespace"], metadata["name"], metadata["uid"]),
        generation=metadata["generation"],
        spec=spec,
        status=SpeechModelStatus.model_validate(model.get("status") or {}),
        now=now,
        workspace=PurePosixPath(WORKSPACE_MOUNT, metadata["name"]),
        dataset=PurePosixPath(DATASET_MOUNT, path),
        settings={stage: settings_hash(stage, spec) for stage in StageName},
        runs=runs,
        claim=claim,
        server=server,
        purge=purge,
        annotations=metadata.get("annotations") or {},
        deleted_at=parse_time(deleted) if deleted else None,
        training_clock=training_clock,
        finalizer=labels.FINALIZER in metadata.get("finalizers", []),
    )


def stage_runs(
    jobs: list[Object], job_pods: list[Object], progress: Mapping[str, TrainProgress | StepProgress], now: datetime
) -> tuple[Run, ...]:
    """A run for each Job of a stage, and one that is ending for each Job that is gone while its pods are not."""
    by_job: dict[str, list[Object]] = {}
    for pod in job_pods:
        if job := pod["metadata"]["labels"].get(JOB_NAME):
            by_job.setdefault(job, []).append(pod)
    runs = [
        _job_run(job, by_job.get(job["metadata"]["name"], []), progress, now)
        for job in jobs
        if job["metadata"]["labels"].get(labels.STAGE) in STAGES
    ]
    known = {run.name for run in runs}
    for name, orphans in by_job.items():
        left = [pod for pod in orphans if pods.executing(pod)]
        if name not in known and left and left[0]["metadata"]["labels"].get(labels.STAGE) in STAGES:
            runs.append(_orphan_run(name, left, now))
    return tuple(runs)


def claim_of(claim: Object | None, uid: str, maker: str | None) -> Claim | None:
    """The workspace claim; one that is being deleted is not there, nor one that was not made for `maker`, if that is given."""
    if claim is None or claim["metadata"].get("deletionTimestamp"):
        return None
    if maker is not None and not made_for(claim, maker):
        return None
    return Claim(claim["metadata"]["name"], claim["metadata"]["uid"], owned_by(claim, uid))


def server_of(
    deployment: Object | None, server_pods: list[Object], now: datetime, wanted: str | None = None
) -> Server | None:
    """The Deployment, and what keeps its pods from answering. `wanted` is the hash of what the present spec asks for: one that was
    made from another is not settled, whatever its replicas say."""
    if deployment is None or deployment["metadata"].get("deletionTimestamp"):
        return None
    spec, status = deployment["spec"], deployment.get("status", {})
    replicas = spec.get("replicas", 1)
    version = spec["template"]["metadata"]["labels"].get(labels.VERSION_SERVED, "")
    applied = deployment["metadata"].get("annotations", {}).get(labels.APPLIED)
    current = status.get("observedGeneration", 0) >= deployment["metadata"]["generation"] and wanted in (None, applied)
    counts = [status.get(name, 0) for name in ("replicas", "updatedReplicas", "readyReplicas")]
    settled = current and all(count == replicas for count in counts)
    newest = [pod for pod in server_pods if pod["metadata"]["labels"].get(labels.VERSION_SERVED) == version]
    found = next((t for pod in newest if (t := pods.trouble(pod, now))), None)
    return Server(version, replicas, status.get("readyReplicas", 0), settled, None if settled else found)


def purge_of(job: Object | None, job_pods: list[Object], now: datetime) -> Purge | None:
    """The Job that removes what was published."""
    if job is None:
        return None
    created = parse_time(job["metadata"]["creationTimestamp"])
    pod = pods.newest(p for p in job_pods if p["metadata"]["labels"].get(JOB_NAME) == job["metadata"]["name"])
    found = pods.trouble(pod, now) if pod else None
    if found and found.reason == "CreateContainerConfigError":
        return Purge(finished=False, failure=Trouble(found.reason, found.message, final=True), created_at=created)
    match _finished(job):
        case "Complete":
            return Purge(finished=True, created_at=created)
        case "Failed":
            ended = pods.terminated(pod, STAGE_CONTAINER) if pod else None
            said = (ended or {}).get("message") or _condition(job, "Failed").get("message") or "the Job failed"
            return Purge(finished=True, failure=Trouble("PurgeFailed", said, final=True), created_at=created)
    return Purge(finished=False, failure=found, created_at=created)


def made_for(thing: Object, model: str) -> bool:
    """Whether we made it for the SpeechModel of that name, this one or one before it."""
    return bool(thing["metadata"].get("labels", {}).get(labels.MODEL) == model)


def owned_by(thing: Object, uid: str) -> bool:
    """Whether an ownerReference names that uid."""
    return any(owner["uid"] == uid for owner in thing["metadata"].get("ownerReferences", []))


def _job_run(
    job: Object, job_pods: list[Object], progress: Mapping[str, TrainProgress | StepProgress], now: datetime
) -> Run:
    metadata = job["metadata"]
    name = metadata["name"]
    pod = pods.newest(job_pods)
    ended = pods.terminated(pod, STAGE_CONTAINER) if pod else None
    state = _state(job, job_pods)
    found = pods.trouble(pod, now) if pod else _no_pod(job, state, now)
    if pod and state is RunState.FAILED:
        found = pods.out_of_memory(pod, STAGE_CONTAINER)
    finished = (ended or {}).get("finishedAt") or _condition(job, _finished(job) or "").get("lastTransitionTime")
    return Run(
        name=name,
        stage=StageName(metadata["labels"][labels.STAGE]),
        key=metadata["labels"][labels.KEY],
        attempt=int(metadata["labels"][labels.ATTEMPT]),
        settings=metadata.get("annotations", {}).get(labels.SETTINGS, ""),
        state=state,
        created_at=parse_time(metadata["creationTimestamp"]),
        started_at=min((at for each in job_pods if (at := pods.started_at(each, STAGE_CONTAINER))), default=None),
        finished_at=parse_time(finished) if finished and state in (RunState.SUCCEEDED, RunState.FAILED) else None,
        exit_code=(ended or {}).get("exitCode"),
        result=(ended or {}).get("message"),
        trouble=found if state is not RunState.SUCCEEDED else None,
        progress=progress.get(name),
    )


def _orphan_run(name: str, left: list[Object], now: datetime) -> Run:
    metadata = left[0]["metadata"]
    return Run(
        name=name,
        stage=StageName(metadata["labels"][labels.STAGE]),
        key=metadata["labels"].get(labels.KEY, ""),
        attempt=int(metadata["labels"].get(labels.ATTEMPT, 0)),
        settings="",
        state=RunState.ENDING,
        created_at=parse_time(metadata["creationTimestamp"]),
        trouble=next((t for pod in left if (t := pods.trouble(pod, now))), None),
    )


def _state(job: Object, job_pods: list[Object]) -> RunState:
    if job["metadata"].get("deletionTimestamp"):
        return RunState.ENDING
    match _finished(job):
        case "Complete":
            return RunState.SUCCEEDED
        case "Failed":
            return RunState.FAILED
    return RunState.RUNNING if any(pods.running(pod) for pod in job_pods) else RunState.PENDING


def _finished(job: Object) -> str | None:
    conditions = job.get("status", {}).get("conditions") or []
    return next((c["type"] for c in conditions if c["type"] in ("Complete", "Failed") and c["status"] == "True"), None)


def _condition(job: Object, name: str) -> Object:
    conditions: list[Object] = job.get("status", {}).get("conditions") or []
    return next((c for c in conditions if c["type"] == name), {})


def _no_pod(job: Object, state: RunState, now: datetime) -> Trouble | None:
    age = (now - parse_time(job["metadata"]["creationTimestamp"])).total_seconds()
    if state is not RunState.PENDING or age < NO_POD_AFTER_SECONDS:
        return None
    name = job["metadata"]["name"]
    return Trouble(
        "NoPod", f"Job {name} has no pod after {age:.0f} s: `kubectl describe job {name}` says why (quota, admission)"
    )
