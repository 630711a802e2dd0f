"""The engine that makes plans true on a cluster."""

import asyncio
import logging
import math
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial

from kubernetes.utils import parse_quantity
from speechmodel_api.progress import StepProgress, TrainProgress, last_progress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages import StageName
from speechmodel_api.status import SpeechModelStatus
from speechmodel_plan import names
from speechmodel_plan.events import Event
from speechmodel_plan.observed import Observed, Purge, Trouble
from speechmodel_plan.pipeline import StageRun
from speechmodel_plan.plan import PURGE_LIMIT, ClaimIntent, Plan, ServingIntent
from speechmodel_plan.status import failure_status, without_run

from speechmodel_operator.cluster import observe, pods
from speechmodel_operator.cluster.api import CLAIMS, DEPLOYMENTS, JOBS, MODELS, PODS, SERVICES, Api, Object, Resource
from speechmodel_operator.cluster.errors import AlreadyExists, ClusterError, Conflict, NameConflict, Refused
from speechmodel_operator.cluster.status import post_events, write_status
from speechmodel_operator.resources import claim, jobs, labels, serving
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.resources.pod import STAGE_CONTAINER

log = logging.getLogger(__name__)

LOG_LINES = 100
LOG_BYTES = 64 * 1024


class ClusterEngine:
    """One SpeechModel, known by namespace, name and uid."""

    def __init__(
        self,
        api: Api,
        images: Images,
        namespace: str,
        name: str,
        uid: str,
        *,
        progress_seconds: float,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._images, self._now = api, images, now
        self._namespace, self._name, self._uid = namespace, name, uid
        self._progress_seconds = progress_seconds
        self._progress: dict[str, TrainProgress | StepProgress] = {}
        self._read: dict[str, float] = {}
        """When the log of a pod was read last; infinity: after its end."""
        self._refused: Trouble | None = None
        self._problem: Refused | NameConflict | None = None
        self._not_started: StageRun | None = None
        self._purge_failing_since: datetime | None = None
        self._model: Object = {}
        self._jobs: dict[str, Object] = {}
        self._claim: Object | None = None
        self._deployment: Object | None = None
        self._services: list[Object] = []

    async def observe(self) -> Observed | None:
        """Read the model, and its children by label, filtered by owner; watches only wake us."""
        model = await self._api.get(MODELS, self._namespace, self._name)
        if model is None or model["metadata"]["uid"] != self._uid:
            return None
        self._model = model
        spec = SpeechModelSpec.of(model)
        selector = f"{labels.MODEL}={self._name}"
        claim_name = spec.training.storage.claim_name or names.claim_name(self._name)
        found_jobs, found_pods, self._claim, self._deployment, found_services = await asyncio.gather(
            self._api.find(JOBS, self._namespace, selector),
            self._api.find(PODS, self._namespace, selector),
            self._api.get(CLAIMS, self._namespace, claim_name),
            self._api.get(DEPLOYMENTS, self._namespace, names.deployment_name(self._name)),
            self._api.find(SERVICES, self._namespace, selector),
        )
        purge_name = names.purge_name(self._name, self._uid)
        self._jobs = {
            job["metadata"]["name"]: job
            for job in found_jobs
            if observe.owned_by(job, self._uid) or job["metadata"]["name"] == purge_name
        }
        self._services = [service for service in found_services if observe.owned_by(service, self._uid)]
        if self._deployment and not observe.owned_by(self._deployment, self._uid):
            self._deployment = None
        await self._read_progress(found_pods)
        now = self._now()
        purge = observe.purge_of(self._jobs.get(purge_name), found_pods, now)
        return observe.observed(
            model,
            observe.stage_runs(list(self._jobs.values()), found_pods, self._progress, now),
            observe.claim_of(self._claim, self._uid, None if spec.training.storage.claim_name else self._name),
            observe.server_of(self._deployment, _with_stage(found_pods, labels.SERVER), now, self._wanted_server()),
            Purge(finished=False, failure=self._refused) if self._refused else purge,
            now,
            timedelta(seconds=self._progress_seconds),
        )

    async def apply(self, plan: Plan) -> None:
        """Make it true: our finalizer first, so that nothing is published that nobody would remove."""
        self._problem, self._not_started = None, None
        if plan.finalizer and not self._has_finalizer():
            await self._set_finalizer(present=True)
        for run in (*plan.stop, *plan.discard):
            await self._delete(JOBS, self._jobs.get(run.name))
        if self._model["metadata"].get("deletionTimestamp"):
            await self._purge(plan)
            return
        # each on its own: a Job that is refused must not keep a server from its replicas, nor the status from being written
        parts: list[Callable[[], Awaitable[None]]] = [partial(self._ensure_serving, plan.serving)]
        if plan.start:
            parts.insert(0, partial(self._start, plan.start))
        if plan.claim:
            parts.insert(0, partial(self._ensure_claim, plan.claim))
        for part in parts:
            try:
                await part()
            except (Refused, NameConflict) as problem:
                self._problem = self._problem or problem

    async def report(self, plan: Plan) -> None:
        """Say what was done, and what could not be; our finalizer goes last. Raises what apply met."""
        problem, status, events = self._problem, plan.status, plan.events
        if problem is not None:
            before = SpeechModelStatus.model_validate(self._model.get("status") or {})
            generation = self._model["metadata"]["generation"]
            status = failure_status(status, generation, problem.reason, str(problem), self._now())
            if self._not_started is not None:
                status = without_run(status, self._not_started)
            if all(condition.reason != problem.reason for condition in before.conditions):
                events = (*events, Event("Warning", problem.reason, str(problem)))
        self._model = await write_status(self._api, self._model, status) or self._model
        await post_events(self._api, self._model, events, self._now())
        if not plan.finalizer and self._has_finalizer():
            await self._set_finalizer(present=False)
        if problem is not None:
            raise problem

    async def report_failure(self, reason: str, message: str) -> None:
        """Put a failed step into the condition Ready; a cluster that does not even take that is only logged."""
        try:
            model = await self._api.get(MODELS, self._namespace, self._name)
            if model is not None and model["metadata"]["uid"] == self._uid:
                before = SpeechModelStatus.model_validate(model.get("status") or {})
                generation = model["metadata"]["generation"]
                await write_status(self._api, model, failure_status(before, generation, reason, message, self._now()))
        except Exception:
            log.warning("%s/%s: could not write the status", self._namespace, self._name, exc_info=True)

    async def _start(self, run: StageRun) -> None:
        spec = SpeechModelSpec.of(self._model)
        manifest = jobs.stage_job(
            self._images,
            self._namespace,
            self._name,
            self._uid,
            spec,
            run.name,
            run.document,
            run.stage,
            run.settings,
        )
        try:
            await self._api.create(JOBS, self._namespace, manifest)
            log.info("%s/%s: started %s", self._namespace, self._name, run.name)
        except AlreadyExists:
            there = await self._api.get(JOBS, self._namespace, run.name)
            if there is not None and not observe.owned_by(there, self._uid):
                self._not_started = run
                raise NameConflict("Job", run.name) from None
        except Refused:
            self._not_started = run
            raise

    async def _ensure_claim(self, intent: ClaimIntent) -> None:
        spec = SpeechModelSpec.of(self._model)
        manifest = claim.workspace_claim(self._namespace, self._name, self._uid, spec, intent.name, owned=intent.owned)
        if self._claim is None:
            try:
                await self._api.create(CLAIMS, self._namespace, manifest)
            except AlreadyExists:
                log.info("%s/%s: claim %s is being deleted; waiting", self._namespace, self._name, intent.name)
            return
        if not observe.made_for(self._claim, self._name):
            raise NameConflict("PersistentVolumeClaim", intent.name)
        if self._claim["metadata"].get("deletionTimestamp"):
            return
        metadata = self._claim["metadata"]
        patch: Object = {}
        if observe.owned_by(self._claim, self._uid) != intent.owned:
            owners = [labels.owner_reference(self._name, self._uid)] if intent.owned else None
            patch |= {"metadata": {"ownerReferences": owners, "resourceVersion": metadata["resourceVersion"]}}
        if _grows(self._claim, manifest):
            patch |= {"spec": {"resources": manifest["spec"]["resources"]}}
        if patch:
            await self._api.merge_patch(CLAIMS, self._namespace, intent.name, patch)

    async def _ensure_serving(self, intent: ServingIntent | None) -> None:
        if intent is None:
            await self._delete(DEPLOYMENTS, self._deployment)
            for service in self._services:
                await self._delete(SERVICES, service)
            return
        spec = SpeechModelSpec.of(self._model)
        wanted = serving.deployment(self._images, self._namespace, self._name, self._uid, spec, intent.model)
        await self._ensure(DEPLOYMENTS, wanted, self._deployment)
        wanted = serving.service(self._namespace, self._name, self._uid, spec)
        there = {service["metadata"]["name"]: service for service in self._services}
        await self._ensure(SERVICES, wanted, there.pop(wanted["metadata"]["name"], None))
        for renamed in there.values():
            await self._delete(SERVICES, renamed)

    async def _ensure(self, resource: Resource, wanted: Object, there: Object | None) -> None:
        """Apply what differs. An object that is not ours keeps its fields: the first apply does not force."""
        name = wanted["metadata"]["name"]
        if there is None:
            foreign = await self._api.get(resource, self._namespace, name)
            if foreign is not None:
                raise NameConflict(resource.kind, name)
            try:
                await self._api.apply(resource, self._namespace, wanted, force=False)
            except Conflict:
                raise NameConflict(resource.kind, name) from None
            return
        if there["metadata"].get("deletionTimestamp") or not _differs(there, wanted):
            return
        wanted["metadata"]["uid"] = there["metadata"]["uid"]
        await self._api.apply(resource, self._namespace, wanted, force=True)

    def _wanted_server(self) -> str | None:
        """Hash of the Deployment that the present spec asks for, for the version that is to be served now."""
        spec, status = (
            SpeechModelSpec.of(self._model),
            SpeechModelStatus.model_validate(self._model.get("status") or {}),
        )
        if spec.serving is None or status.model is None:
            return None
        wanted = serving.deployment(self._images, self._namespace, self._name, self._uid, spec, status.model)
        digest: str = wanted["metadata"]["annotations"][labels.APPLIED]
        return digest

    async def _purge(self, plan: Plan) -> None:
        await self._delete(DEPLOYMENTS, self._deployment)
        if plan.purge is None or names.purge_name(self._name, self._uid) in self._jobs:
            return
        spec = SpeechModelSpec.of(self._model)
        manifest = jobs.purge_job(self._images, self._namespace, self._name, self._uid, spec, plan.purge)
        try:
            await self._api.create(JOBS, self._namespace, manifest)
        except AlreadyExists:
            pass
        except ClusterError as error:
            self._purge_failing_since = self._purge_failing_since or self._now()
            late = self._now() - self._purge_failing_since >= PURGE_LIMIT
            if not (late or isinstance(error, Refused)):
                raise
            # the namespace is on its way out, a policy forbids the Job, or a webhook does not answer
            self._refused = Trouble(error.reason, str(error), final=True)

    async def _delete(self, resource: Resource, thing: Object | None) -> None:
        if thing is not None and not thing["metadata"].get("deletionTimestamp"):
            metadata = thing["metadata"]
            await self._api.delete(resource, self._namespace, metadata["name"], metadata["uid"])

    def _has_finalizer(self) -> bool:
        return labels.FINALIZER in self._model["metadata"].get("finalizers", [])

    async def _set_finalizer(self, *, present: bool) -> None:
        metadata = self._model["metadata"]
        others = [f for f in metadata.get("finalizers", []) if f != labels.FINALIZER]
        patch = {
            "metadata": {
                "finalizers": [*others, labels.FINALIZER] if present else others,
                "resourceVersion": metadata["resourceVersion"],
            }
        }
        self._model = await self._api.merge_patch(MODELS, self._namespace, self._name, patch) or self._model

    async def _read_progress(self, found_pods: list[Object]) -> None:
        """The trainer's newest record, on its own clock, and once more when its pod has ended."""
        for pod in _with_stage(found_pods, StageName.TRAIN.value):
            job = pod["metadata"]["labels"].get(observe.JOB_NAME, "")
            if job not in self._jobs or not self._worth_reading(pod):
                continue
            name = pod["metadata"]["name"]
            text = await self._api.log(self._namespace, name, STAGE_CONTAINER, lines=LOG_LINES, limit=LOG_BYTES)
            if record := last_progress(text):
                self._progress[job] = record
        names_now = {pod["metadata"]["name"] for pod in found_pods}
        self._read = {name: at for name, at in self._read.items() if name in names_now}
        self._progress = {job: record for job, record in self._progress.items() if job in self._jobs}

    def _worth_reading(self, pod: Object) -> bool:
        name, now = pod["metadata"]["name"], time.monotonic()
        last = self._read.get(name, -math.inf)
        if pods.terminated(pod, STAGE_CONTAINER) is not None:
            self._read[name] = math.inf
            return last < math.inf
        due = (
            pods.running(pod) and now - last >= 0.9 * self._progress_seconds
        )  # a clock tick early rather than a whole one late
        if due:
            self._read[name] = now
        return due


def _grows(claim: Object, wanted: Object) -> bool:
    """Whether more is asked for than the claim asks for; claims never shrink."""
    now, then = (parse_quantity(each["spec"]["resources"]["requests"]["storage"]) for each in (claim, wanted))  # type: ignore[no-untyped-call] # the client has no types
    return bool(then > now)


def _differs(there: Object, wanted: Object) -> bool:
    """Whether something else is wanted than was applied last, or somebody changed what serving stands on."""
    applied = there["metadata"].get("annotations", {}).get(labels.APPLIED)
    if applied != wanted["metadata"]["annotations"][labels.APPLIED]:
        return True
    return any(there["spec"].get(field) != wanted["spec"].get(field) for field in ("replicas", "selector"))


def _with_stage(found_pods: list[Object], stage: str) -> list[Object]:
    return [pod for pod in found_pods if pod["metadata"]["labels"].get(labels.STAGE) == stage]
