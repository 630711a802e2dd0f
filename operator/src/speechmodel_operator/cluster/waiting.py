"""Why Jobs, Deployments and their pods make no progress, and which of them have waited for long. Pure."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime

from speechmodel_api.pods import resources_field
from speechmodel_api.reasons import Reason
from speechmodel_plan.observed import RunState, Trouble

from speechmodel_operator.cluster import pods, views
from speechmodel_operator.cluster.errors import refusal
from speechmodel_operator.cluster.views import Deployment, Job, Pod
from speechmodel_operator.resources import labels
from speechmodel_operator.resources.workers import JOB_NAME

NO_POD_AFTER_SECONDS = 20


def suspended(job: Job) -> Trouble | None:
    """Return why a Job is suspended. This operator never does that: it deletes Jobs."""
    if not job.spec.suspend or job.deleting or job.finished is not None:
        return None
    if queue := job.metadata.labels.get(labels.QUEUE):
        return Trouble(Reason.QUEUED_BY_KUEUE, f"Job {job.metadata.name} waits in the queue {queue} of Kueue")
    message = f"Job {job.metadata.name} was suspended by something else; set its spec.suspend to false, or delete it"
    return Trouble(Reason.JOB_SUSPENDED, message)


def podless(jobs: Iterable[Job], found: Iterable[Pod], now: datetime) -> tuple[Job, ...]:
    """Return the stage Jobs that wait for a pod longer than usual."""
    pods_of = Counter(pod.metadata.labels.get(JOB_NAME) for pod in found)
    return tuple(
        job
        for job in jobs
        if pods_of[job.metadata.name] < job.spec.completions
        and not job.deleting
        and job.finished is None
        and _lacks_pods(job, now)
    )


def keeps_waiting(claim: views.Claim, found: Iterable[Pod], now: datetime) -> bool:
    """Return True if pods have had no node for long and the workspace claim, which has no volume yet, may be why."""
    without_volume = claim.status.phase == "Pending" and not claim.deleting
    return without_volume and any(pods.unbound_for_long(pod, now) for pod in found if JOB_NAME in pod.metadata.labels)


def first_trouble(found: Iterable[Pod], now: datetime, event_messages: Mapping[str, str]) -> Trouble | None:
    """Return the first reason why one of these pods makes no progress. `event_messages` are those about pods, by uid."""
    troubles = (pods.trouble(pod, now, event_messages.get(pod.metadata.uid, "")) for pod in found)
    return next((trouble for trouble in troubles if trouble), None)


def unbound(
    workers: Sequence[Pod], claim: views.Claim | None, now: datetime, event_messages: Mapping[str, str]
) -> Trouble | None:
    """Return that pods wait for the workspace claim, in the words of what makes its volume, or else of the scheduler."""
    if claim is None or not keeps_waiting(claim, workers, now):
        return None
    waits = f"the claim {claim.metadata.name} is not bound"
    scheduler = first_trouble(workers, now, event_messages)
    why = [event_messages.get(claim.metadata.uid, ""), scheduler.message if scheduler else ""]
    advice = f"`kubectl describe pvc {claim.metadata.name}` shows why"
    return Trouble(Reason.VOLUME_PENDING, f"{waits}: {next(filter(None, why), advice)}")


def too_few_pods(job: Job, state: RunState, existing: int, ready: int, now: datetime, rejection: str) -> Trouble | None:
    """Return why pods are missing, or that some workers do not run yet."""
    if state not in (RunState.PENDING, RunState.RUNNING):
        return None
    name, wanted = job.metadata.name, job.spec.completions
    if existing < wanted and _lacks_pods(job, now):
        if rejection:
            return _rejected(f"the pod of Job {name}", rejection, job, Reason.NO_POD)
        has = f"{existing} of {wanted} pods" if existing else "no pod"
        return Trouble(Reason.NO_POD, f"Job {name} has {has}; `kubectl describe job {name}` shows the reason")
    if ready < wanted > 1:
        return Trouble(
            Reason.WAITING_FOR_WORKERS, f"{ready} of {wanted} pods of Job {name} run; training begins with all"
        )
    return None


def blocked(deployment: Deployment) -> Trouble | None:
    """Return why the Deployment's own controller makes no progress."""
    conditions = {condition.type: condition for condition in deployment.status.conditions}
    failure, progressing = conditions.get("ReplicaFailure"), conditions.get("Progressing")
    if failure is not None and failure.status == "True":
        return _rejected("a server pod", failure.message, deployment, Reason.ROLLOUT_BLOCKED)
    if progressing is not None and progressing.status == "False":
        name = deployment.metadata.name
        advice = f"`kubectl describe deployment {name}` and the logs of its pods show why"
        return Trouble(Reason.ROLLOUT_BLOCKED, f"{progressing.message}; {advice}")
    return None


def _lacks_pods(job: Job, now: datetime) -> bool:
    """Return True when a Job has been allowed to have pods for longer than they need to appear."""
    return not held(job) and (now - released(job)).total_seconds() >= NO_POD_AFTER_SECONDS


def _rejected(pod: str, message: str, creator: views.ObjectView, otherwise: Reason) -> Trouble:
    """Return why the API server rejected a pod of a Job or a Deployment, with the field that corrects its resources."""
    reason = refusal(message) or otherwise
    field = resources_field(creator.metadata.labels.get(labels.STAGE, ""))
    remedy = f"; set the requests and limits in {field}" if reason is Reason.RESOURCES_REFUSED else ""
    return Trouble(reason, f"{pod} was rejected: {message}{remedy}")


def held(job: Job) -> bool:
    """Return True from the suspension of a Job until the controller of Jobs has seen that the suspension ended."""
    return job.spec.suspend or any(
        condition.type == "Suspended" and condition.status == "True" for condition in job.status.conditions
    )


def released(job: Job) -> datetime:
    """Return the time since when a Job may have pods: its creation, or the end of its last suspension."""
    created = creation_time(job)
    return max(created, job.status.start_time or created)


def creation_time(thing: views.ObjectView) -> datetime:
    """Return the time at which the API server created an object."""
    created = thing.metadata.creation_timestamp
    assert created is not None  # the API server sets it
    return created
