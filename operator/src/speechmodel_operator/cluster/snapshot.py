"""The snapshot of a SpeechModel and its children that one step reads, parsed once and frozen."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import PurePosixPath

from speechmodel_api.field_problems import InvalidSpec, read_spec
from speechmodel_api.progress import StepProgress, TrainProgress
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.status import ModelStatus, SpeechModelStatus, StageState
from speechmodel_plan import names
from speechmodel_plan.observed import CanaryServers, Observed
from speechmodel_plan.task import Owner

from speechmodel_operator.cluster import observe
from speechmodel_operator.cluster.api import ACCESSORIES, CLAIMS, DEPLOYMENTS, JOBS, MODELS, PODS, SERVICES, Api
from speechmodel_operator.cluster.cache import Rehearsal, Runs
from speechmodel_operator.cluster.errors import Refused
from speechmodel_operator.cluster.views import Claim, Deployment, Job, Model, ObjectView, Pod, Service
from speechmodel_operator.resources import labels, serving
from speechmodel_operator.resources.accessories import accessories
from speechmodel_operator.resources.pod import (
    DATASET_MOUNT,
    INITIAL_MOUNT,
    NEGATIVES_MOUNT,
    WORKSPACE_MOUNT,
    CaBundle,
    Manifest,
    settings_hashes,
)
from speechmodel_operator.resources.workers import JOB_NAME

UNREADABLE: Mapping[str, object] = {
    "language": "en",
    "dataset": {"source": {"persistentVolumeClaim": {"claimName": "unreadable"}}},
}
"""Parts of a spec that a deletion does not use."""


@dataclass(frozen=True)
class Snapshot:
    """The objects of one step. Jobs, Deployment and Services are the SpeechModel's own; the claim may be another's."""

    owner: Owner
    model: Model
    spec: SpeechModelSpec
    jobs: Mapping[str, Job]
    """By name."""
    pods: tuple[Pod, ...]
    claim: Claim | None
    deployment: Deployment | None
    canary: Deployment | None
    """The Deployment of a version that is tried."""
    services: Mapping[str, Service]
    """Those of the server, by name."""
    accessories: Mapping[str, ObjectView] | None
    """Objects beside the Deployment that are wanted or were wanted before, by kind. None if they count as they were applied last."""

    @property
    def has_finalizer(self) -> bool:
        """True while our finalizer is set."""
        return labels.FINALIZER in self.model.metadata.finalizers

    @property
    def purge(self) -> Job | None:
        """The Job that removes published objects."""
        return self.jobs.get(names.purge_name(self.owner.name, self.owner.uid))

    def observed(
        self,
        wanted: Callable[[SpeechModelSpec, ModelStatus], Manifest],
        progress: Mapping[str, TrainProgress | StepProgress],
        progress_interval: timedelta,
        event_messages: Mapping[str, str],
        now: datetime,
        applied_generation: int | None = None,
        canary: CanaryServers | None = None,
        ca_bundle: CaBundle | None = None,
    ) -> Observed:
        """Return the snapshot as a plan sees it.

        `wanted` returns the Deployment of a version for a spec. `event_messages` are those about objects, by uid.
        `applied_generation` is the generation of the Deployment after it was applied last, if that is known. `ca_bundle` has the CAs
        that stages trust.
        """
        metadata, spec, served = self.model.metadata, self.spec, self.model.status.served
        recordings, init_from = spec.dataset.source.persistent_volume_claim, spec.training.init_from
        initial = init_from.persistent_volume_claim if init_from else None
        source = spec.dataset.negatives.source
        negatives = source.persistent_volume_claim if source else None
        server_pods = observe.with_stage(self.pods, labels.SERVER)
        return Observed(
            owner=self.owner,
            generation=metadata.generation,
            spec=spec,
            status=self.model.status,
            now=now,
            workspace=PurePosixPath(WORKSPACE_MOUNT, self.owner.name),
            dataset=PurePosixPath(DATASET_MOUNT, recordings.path if recordings else ""),
            init_from=PurePosixPath(INITIAL_MOUNT, initial.path) if initial else None,
            negatives=PurePosixPath(NEGATIVES_MOUNT, negatives.path) if negatives else None,
            settings=settings_hashes(spec, ca_bundle),
            runs=observe.stage_runs(
                self.jobs.values(), self.pods, progress, now, event_messages, self.claim, metadata.labels
            ),
            claim=observe.claim_of(self.claim, self.owner.uid),
            server=observe.server_of(
                self.deployment,
                server_pods,
                now,
                event_messages,
                serving.applied_hash(wanted(spec, served)) if spec.serving and served else None,
                _least_replicas(spec),
                applied_generation,
            ),
            canary=canary,
            purge=observe.purge_of(self.purge, self.pods, now, event_messages, metadata.labels),
            annotations=metadata.annotations,
            deleted_at=metadata.deletion_timestamp,
            progress_interval=progress_interval,
            finalizer=self.has_finalizer,
        )


async def read_snapshot(api: Api, owner: Owner, known: Api, ended_runs: Callable[[], Runs | None]) -> Snapshot | None:
    """Read the SpeechModel, and its children by label, filtered by owner; None when it is gone.

    Only the model, Jobs and pods decide what may run, so the others are read from `known`, which may be the watches. `ended_runs`
    returns the Jobs and the pods if they need not be read. It is called after the model is read, so that they are not older.
    """
    model = await api.get(MODELS, owner.namespace, owner.name)
    if model is None or model.metadata.uid != owner.uid:
        return None
    spec = spec_of(model)
    runs = ended_runs()
    if runs is None or _lacks_running(model, runs):
        runs = await _read_runs(api, owner, model)
    jobs, pods = runs
    claim = await _read_claim(known, owner, spec)
    status, serving = model.status, spec.serving
    served = status.serving is not None or (serving is not None and status.model is not None)
    deployment = await _read_servers(api, known, owner, names.deployment_name(owner.name), expected=served)
    # also when neither spec nor status mentions a canary: the last step may have ended before it could write the status
    tried = status.canary is not None or (served and serving is not None and serving.canary is not None)
    canary = await _read_servers(api, known, owner, names.canary_name(owner.name), expected=tried)
    services = await known.find(SERVICES, owner.namespace, owner.name)
    purge = names.purge_name(owner.name, owner.uid)
    return Snapshot(
        owner=owner,
        model=model,
        spec=spec,
        jobs={j.metadata.name: j for j in jobs if j.metadata.owned_by(owner.uid) or j.metadata.name == purge},
        pods=pods,
        claim=claim,
        deployment=deployment,
        canary=canary,
        services={s.metadata.name: s for s in services if s.metadata.owned_by(owner.uid) and _of_server(s)},
        accessories=await _read_accessories(api, owner, spec, status, deployment) if deployment else {},
    )


def spec_of(model: Model) -> SpeechModelSpec:
    """Return the spec. Raises InvalidSpec.

    The deletion of a model needs `publish` alone, and the operator would otherwise keep it for ever by its finalizer.
    """
    try:
        return read_spec(model.spec)
    except InvalidSpec:
        if not model.deleting:
            raise
        return read_spec({**UNREADABLE, "publish": model.spec.get("publish")})


def _lacks_running(model: Model, runs: Runs) -> bool:
    """Return True when the Job of a running stage is not among these: another operator created it, and the watch is late."""
    known = {job.metadata.name for job in runs[0] if job.metadata.owned_by(model.metadata.uid)}
    return any(stage.state is StageState.RUNNING and stage.job not in known for stage in model.status.stages)


async def _read_runs(api: Api, owner: Owner, model: Model) -> Runs:
    """Read the Jobs before the pods, so that a Job that has ended is never seen beside its pod from before that.

    A Job that has lost its label is in no list. Its name is in the status while its stage is Running, and in its pods.
    """
    jobs = await api.find(JOBS, owner.namespace, owner.name)
    pods = await api.find(PODS, owner.namespace, owner.name)
    named = {stage.job for stage in model.status.stages if stage.state is StageState.RUNNING and stage.job}
    named |= {name for pod in pods if (name := pod.metadata.labels.get(JOB_NAME))}
    purge = names.purge_name(owner.name, owner.uid)  # it has no owner
    named |= {purge} if model.deleting else set()
    unlisted = sorted(named - {job.metadata.name for job in jobs})
    read = [job for name in unlisted if (job := await api.get(JOBS, owner.namespace, name))]
    found = [job for job in read if job.metadata.owned_by(owner.uid) or job.metadata.name == purge]
    return (*jobs, *found), await api.find(PODS, owner.namespace, owner.name) if found else pods


async def _read_servers(api: Api, known: Api, owner: Owner, name: str, *, expected: bool) -> Deployment | None:
    """Read a Deployment of the SpeechModel. One that has lost its label is in no watch, so it is read live if it is expected."""
    found = await known.get(DEPLOYMENTS, owner.namespace, name)
    if found is None and expected:
        found = await api.get(DEPLOYMENTS, owner.namespace, name)
    return found if found is not None and found.metadata.owned_by(owner.uid) else None


async def _read_claim(known: Api, owner: Owner, spec: SpeechModelSpec) -> Claim | None:
    """Read the workspace claim. One that the operator creates is found by its label, which the watches know."""
    if given := spec.training.storage.claim_name:
        return await known.get(CLAIMS, owner.namespace, given)
    claims = await known.find(CLAIMS, owner.namespace, owner.name)
    return next((claim for claim in claims if claim.metadata.name == names.claim_name(owner.name)), None)


def _of_server(service: Service) -> bool:
    return service.metadata.labels.get(labels.STAGE) == labels.SERVER


async def _read_accessories(
    api: Api, owner: Owner, spec: SpeechModelSpec, status: SpeechModelStatus, deployment: Deployment
) -> Mapping[str, ObjectView] | None:
    """Read the kinds that the spec or the Deployment names. One that the operator may not read counts as absent.

    No watch has them. A rehearsal reads them while the spec is not in effect, because the last step may have failed on one.
    """
    if isinstance(api, Rehearsal) and status.in_effect:
        return None
    named = deployment.metadata.annotations.get(labels.ACCESSORIES, "").split(",")
    found = {}
    for kind in (named_kind for named_kind in ACCESSORIES if named_kind in {*named, *accessories(owner, spec)}):
        try:
            thing = await api.get(ACCESSORIES[kind], owner.namespace, names.deployment_name(owner.name))
        except Refused:
            continue
        if thing is not None and thing.metadata.owned_by(owner.uid):
            found[kind] = thing
    return found


def _least_replicas(spec: SpeechModelSpec) -> int | None:
    """Return the smallest number of replicas if something else than the spec sets their number."""
    return spec.serving.least_replicas if spec.serving and spec.serving.autoscaling else None
