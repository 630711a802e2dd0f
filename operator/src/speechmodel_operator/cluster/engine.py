"""The engine that makes plans true on a cluster."""

import logging
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from kubernetes.utils import parse_quantity
from speechmodel_api.field_problems import InvalidSpec
from speechmodel_api.reasons import Reason
from speechmodel_api.tracing import traceparent
from speechmodel_plan import names
from speechmodel_plan.deletion import PURGE_LIMIT
from speechmodel_plan.events import failure_events
from speechmodel_plan.observed import Observed, Run, Trouble
from speechmodel_plan.plan import ClaimIntent, Done, Plan, Report, StageRun
from speechmodel_plan.reconcile import Gone, reconcile
from speechmodel_plan.status import decides_the_same, failed_status
from speechmodel_plan.task import Owner

from speechmodel_operator.cluster import observe, waiting
from speechmodel_operator.cluster.api import CLAIMS, JOBS, MODELS, SERVICES, Api
from speechmodel_operator.cluster.attempts import attempt
from speechmodel_operator.cluster.cache import Rehearsal, Runs, WriteNeeded
from speechmodel_operator.cluster.canary import read_canary
from speechmodel_operator.cluster.errors import (
    AlreadyExists,
    ClaimSizeRefused,
    ClusterError,
    NameConflict,
    NoAnswer,
    Refused,
)
from speechmodel_operator.cluster.events import EventReader
from speechmodel_operator.cluster.policies import Policies
from speechmodel_operator.cluster.progress import ProgressReader
from speechmodel_operator.cluster.servers import Servers
from speechmodel_operator.cluster.snapshot import Snapshot, read_snapshot, spec_of
from speechmodel_operator.cluster.status import post_events, write_status
from speechmodel_operator.cluster.views import Claim, Manifest, Model, ObjectView
from speechmodel_operator.cluster.writer import Writer
from speechmodel_operator.resources import claim, jobs, labels, workers
from speechmodel_operator.resources.accessories import service_name
from speechmodel_operator.resources.jobs import Images
from speechmodel_operator.telemetry import Telemetry
from speechmodel_operator.upgrades import Upgrades

log = logging.getLogger(__name__)


class ClusterEngine:
    """One SpeechModel."""

    def __init__(
        self,
        api: Api,
        images: Images,
        owner: Owner,
        *,
        progress_interval: timedelta,
        telemetry: Telemetry | None = None,
        rehearsal: Rehearsal | None = None,
        upgrades: Upgrades | None = None,
        policies: Policies | None = None,
    ) -> None:
        self._telemetry = telemetry or Telemetry()
        self._policies = policies
        self._known: Api = api
        """Source of the claim, the Deployment and the Services: the API server, or the watches after an event."""
        self._rehearsal = rehearsal
        self._live, self._images, self._owner, self._now = api, images, owner, api.now
        self._api: Api = api
        """Source and destination of the current step: the API server, or the rehearsal."""
        self._progress = ProgressReader(api, progress_interval)
        self._events = EventReader(api)
        self._snapshot: Snapshot | None = None
        """The snapshot of the current step, replaced whole."""
        self._purge_failing_since: datetime | None = None
        self._writer = Writer(owner)
        self._servers = Servers(owner, images, self._writer, upgrades or Upgrades())

    async def react(self) -> timedelta | None:
        """Take a step after an event, as `reconcile` does, on what the watches reported.

        If that would change more than the wording of the status, the model is read again first. Its Jobs and pods are read too unless
        all Jobs have ended: the watches may be late.
        """
        if self._rehearsal is None:
            return await reconcile(self)
        try:
            self._api = self._known = self._rehearsal
            with suppress(WriteNeeded, Gone):
                return await reconcile(self)
            self._api = self._live
            return await reconcile(self)
        finally:
            self._api = self._known = self._live

    async def resync(self) -> timedelta | None:
        """Take a step without an event for a model at rest.

        If the cache has the current version of the model, the step uses the cache; otherwise the watches lost something and everything
        is read live.
        """
        if self._rehearsal is not None:
            model = await self._api.get(MODELS, self._owner.namespace, self._owner.name)
            if model is not None and self._rehearsal.knows(model):
                return await self.react()
        return await reconcile(self)

    async def observe(self) -> Observed | None:
        """Try to apply the namespace's NetworkPolicies, then read the model and its children."""
        if self._policies is not None:
            await self._policies.ensure(self._owner)
        self._snapshot = await read_snapshot(self._api, self._owner, self._known, self._ended_runs)
        if self._snapshot is None:
            if self._rehearsal is not None and self._api is not self._rehearsal:
                self._rehearsal.gone(self._owner.uid)
            return None
        progress, now = await self._progress.read(self._snapshot), self._now()
        event_messages = await self._events.read(self._snapshot, now)
        canary = await read_canary(self._snapshot.canary, self._snapshot.pods, now, event_messages)
        seen = self._snapshot.observed(
            self._servers.deployment,
            progress,
            self._progress.interval,
            event_messages,
            now,
            self._servers.applied_generation,
            canary,
            self._images.ca_bundle,
        )
        self._servers.follow(self._snapshot, seen.server, canary.server if canary else None)
        return seen

    async def apply(self, plan: Plan) -> Done:
        """Apply the plan, starting with our finalizer, so that every published object can be removed later."""
        here = self._current()
        self._writer.begin(
            self._api, here.model.metadata, (intent.model.version for intent in (plan.serving, plan.canary) if intent)
        )
        if plan.finalizer and not here.has_finalizer:
            here = await self._set_finalizer(here, present=True)
        if plan.deleting:
            await self._remove(here, plan.stop)
            await self._remove(here, plan.discard)
            await self._servers.remove(here)
            if plan.abandon_purge:
                await self._writer.delete(JOBS, here.purge)
            return Done(purge_refused=await self._purge(here, plan))
        # each on its own: a Job that is rejected, or whose webhook is down, must not keep a server from its replicas, nor the status
        # from being written
        _, stop_failure = await attempt(self._remove(here, plan.stop))
        created, claim_failure = await attempt(self._ensure_claim(here, plan.claim))
        if created is not None:
            self._snapshot = replace(here, claim=created)
            return Done(claim=observe.claim_of(created, self._owner.uid))
        held, start_failure = await attempt(self._start(here, plan.start))
        # a user waits for the new run, and nobody for this
        _, discard_failure = await attempt(self._remove(here, plan.discard))
        if start_failure is not None and start_failure.reason is Reason.QUOTA_EXCEEDED and plan.discard:
            held, start_failure = await attempt(self._start(here, plan.start))  # a quota of Jobs has room now
        (problems, put_off), size_failure = await self._servers.ensure(here, plan), None
        if claim_failure is not None and claim_failure.reason is Reason.CLAIM_SIZE_REFUSED:  # the stages go on
            claim_failure, size_failure = None, claim_failure
        stages = stop_failure or claim_failure or start_failure
        failures = replace(problems, stages=stages, beside=problems.beside or size_failure or discard_failure)
        not_started = stop_failure is not None or start_failure is not None
        return Done(failures, not_started=not_started, held=held, put_off=put_off)

    async def report(self, report: Report) -> None:
        """Write the status and post the Events, then remove our finalizer if it is no longer needed."""
        here, api = self._current(), self._api
        before = here.model.status
        ends = report.finalizer or not here.has_finalizer
        if api is not self._live and ends and report.status != before and decides_the_same(before, report.status):
            # no later step depends on it, and the API server compares the resourceVersion of the watch
            api = self._live
        model = await write_status(api, here.model, report.status) or here.model
        self._telemetry.reported(self._owner, before, report.status, report.recorded)
        await post_events(api, model, report.events, self._now())
        if not report.finalizer and here.has_finalizer:
            await self._set_finalizer(replace(here, model=model), present=False)
        self._snapshot = None  # thousands of models at rest must not keep theirs
        self._servers.end_step()

    async def report_failure(self, failure: Trouble) -> None:
        """Write a step that failed unexpectedly into the condition Ready; when even that fails, log it."""
        try:
            model = await self._api.get(MODELS, self._owner.namespace, self._owner.name)
            if model is None or model.metadata.uid != self._owner.uid or _corrected(model, failure):
                return
            status = failed_status(model.status, model.metadata.generation, failure, self._now())
            written = await write_status(self._api, model, status)
            self._telemetry.reported(self._owner, model.status, status)
            if written is not None:
                await post_events(self._api, written, failure_events(model.status, status), self._now())
        except (ClusterError, NoAnswer) as error:
            log.warning("%s: could not write the status: %s", self._owner, error)
        except Exception:
            log.exception("%s: could not write the status", self._owner)

    def _ended_runs(self) -> Runs | None:
        """Return the Jobs and the pods that need not be read again in a step that follows a rehearsal."""
        if self._rehearsal is None or self._known is not self._rehearsal or self._api is self._rehearsal:
            return None
        return self._rehearsal.ended_runs(self._owner)

    def _current(self) -> Snapshot:
        if self._snapshot is None:
            raise RuntimeError("a plan is applied and reported after an observation only")
        return self._snapshot

    async def _start(self, here: Snapshot, run: StageRun | None) -> Trouble | None:
        """Create the Job of a run. Return the reason why it is suspended from the start, if it is."""
        if run is None:
            return None
        if run.workers > 1:
            name, served = names.workers_service(self._owner.name), here.spec.serving
            if served is not None and service_name(self._owner, served) == name:
                raise NameConflict("Service", name, field="serving.service.name")
            await self._ensure_workers_service()
        one_node = here.claim is None or "ReadWriteMany" not in here.claim.spec.access_modes
        inherited, parent = labels.inherited(here.model.metadata.labels), traceparent()
        manifest = jobs.stage_job(self._images, self._owner, here.spec, run, inherited, parent, one_node=one_node)
        if self._rehearsal is not None and self._api is not self._rehearsal:  # a rehearsal asks for nothing
            self._rehearsal.asked_for(self._owner.uid, run.name)
        try:
            created = await self._writer.create(JOBS, manifest, self._owns)
        except (Refused, NameConflict):
            self._answered(run)
            raise
        if created is not None:
            self._answered(run)
            log.info("%s: started %s", self._owner, run.name, extra={"stage": run.stage.value, "job": run.name})
        return waiting.suspended(created) if created is not None else None

    def _answered(self, run: StageRun) -> None:
        if self._rehearsal is not None:
            self._rehearsal.answered(self._owner.uid, run.name)

    async def _ensure_workers_service(self) -> None:
        """Create the Service of the workers. It stays for later attempts, until the SpeechModel is deleted."""
        await self._writer.create(SERVICES, workers.service(self._owner), self._owns)

    def _owns(self, existing: ObjectView) -> bool:
        return existing.metadata.owned_by(self._owner.uid)

    async def _remove(self, here: Snapshot, runs: Iterable[Run]) -> None:
        for run in runs:
            await self._writer.delete(JOBS, here.jobs.get(run.name))

    async def _ensure_claim(self, here: Snapshot, intent: ClaimIntent | None) -> Claim | None:
        """Create the claim and return it, or make it as it is wanted."""
        if intent is None:
            return None
        wanted = claim.workspace_claim(self._owner, here.spec, intent.name, owned=intent.owned)
        if here.claim is None:
            created = await self._writer.create(
                CLAIMS, wanted, lambda found: observe.created_for(found, self._owner.name)
            )
            if created is None:
                log.info(
                    "%s: the claim %s is there already, or is being deleted; looking again", self._owner, intent.name
                )
            return created
        if here.claim.deleting:
            return None
        metadata = here.claim.metadata
        patch: dict[str, object] = {}
        if metadata.owned_by(self._owner.uid) != intent.owned:
            owners = [labels.owner_reference(self._owner)] if intent.owned else None
            patch["metadata"] = {"ownerReferences": owners, "resourceVersion": metadata.resource_version}
        if patch:
            await self._api.merge_patch(CLAIMS, self._owner.namespace, intent.name, patch)
        await self._resize(here, wanted)
        return None

    async def _resize(self, here: Snapshot, wanted: Manifest) -> None:
        """Expand the bound claim to the size that is wanted. Raises ClaimSizeRefused where that is not possible."""
        assert here.claim is not None
        name, asked = here.claim.metadata.name, here.claim.spec.resources.requests.storage
        size, field = wanted["spec"]["resources"]["requests"]["storage"], "training.storage.volumeClaimTemplate.storage"
        difference = parse_quantity(size) - parse_quantity(asked)  # type: ignore[no-untyped-call] # the client has no types
        template = here.spec.training.storage.volume_claim_template
        if difference < 0 and template is not None and "storage" in template.model_fields_set:
            raise ClaimSizeRefused(
                f"the claim {name} has {asked} and cannot shrink to {size}; set {field} to {asked} or more"
            )
        if difference <= 0 or here.claim.status.phase != "Bound":  # the size of a claim can change once it is bound
            return
        patch = {"spec": {"resources": wanted["spec"]["resources"]}}
        try:
            await self._writer.unless_refused(
                CLAIMS, name, lambda: self._api.merge_patch(CLAIMS, self._owner.namespace, name, patch)
            )
        except Refused as error:
            raise ClaimSizeRefused(
                f"the claim {name} cannot grow from {asked} to {size}: {error}; use a StorageClass with "
                f"allowVolumeExpansion, or set {field} to {asked}"
            ) from error

    async def _purge(self, here: Snapshot, plan: Plan) -> Trouble | None:
        """Create the Job that removes published objects. Return the reason if the API server rejects it."""
        if plan.purge is None or here.purge is not None:
            return None
        inherited = labels.inherited(here.model.metadata.labels)
        manifest = jobs.purge_job(self._images, self._owner, here.spec, plan.purge, inherited)
        try:
            await self._api.create(JOBS, self._owner.namespace, manifest)
        except AlreadyExists:
            return None
        except ClusterError as error:
            self._purge_failing_since = self._purge_failing_since or self._now()
            late = self._now() - self._purge_failing_since >= PURGE_LIMIT
            if not (late or isinstance(error, Refused)):
                raise
            # the namespace is being deleted, a policy forbids the Job, or a webhook does not answer
            return Trouble(error.reason, str(error), final=True)
        return None

    async def _set_finalizer(self, here: Snapshot, *, present: bool) -> Snapshot:
        metadata = here.model.metadata
        others = [name for name in metadata.finalizers if name != labels.FINALIZER]
        finalizers = [*others, labels.FINALIZER] if present else others
        patch = {"metadata": {"finalizers": finalizers, "resourceVersion": metadata.resource_version}}
        model = await self._api.merge_patch(MODELS, self._owner.namespace, self._owner.name, patch)
        if model is None and present:  # what would be published now would never be removed
            raise Gone
        self._snapshot = replace(here, model=model or here.model)
        return self._snapshot


def _corrected(model: Model, failure: Trouble) -> bool:
    """Return True when the spec that a step could not read has been edited since, and can be read now."""
    if failure.reason != Reason.INVALID_SPEC:
        return False
    try:
        spec_of(model)
    except InvalidSpec:
        return False
    return True
