"""Jobs: one for each attempt of a stage, and the one that removes published objects."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from speechmodel_api.credentials import CA_BUNDLE, NEGATIVES
from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.log_format import LogFormat
from speechmodel_api.pods import GPUS_VARIABLE, gpus
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages.contract import StageName
from speechmodel_api.stages.publish import PurgeInput
from speechmodel_plan import names
from speechmodel_plan.deletion import PURGE_LIMIT
from speechmodel_plan.plan import StageRun
from speechmodel_plan.stages import stage_named
from speechmodel_plan.stages.stage import Image, Stage
from speechmodel_plan.task import Owner

from speechmodel_operator.resources import labels, workers
from speechmodel_operator.resources.pod import (
    DATASET_MOUNT,
    INITIAL_MOUNT,
    LIGHT,
    NEGATIVES_MOUNT,
    STAGE_CONTAINER,
    WORKSPACE_MOUNT,
    CaBundle,
    Manifest,
    container,
    credentials,
    environment,
    log_env,
    on_x86_64,
    pod_spec,
    private_key,
    program,
    program_env,
    resources,
    trace_env,
)

PURGE_KEPT_SECONDS = 600
"""Time for which a finished purge Job is kept for its log."""
PURGE_DEADLINE_SECONDS = int(PURGE_LIMIT.total_seconds()) - 10
"""Slightly less than the planner waits for the purge."""
MODEL_UID = f"{labels.MODEL}-uid"
"""Annotation of the purge Job, which has no owner."""


@dataclass(frozen=True)
class Images:
    """The images that the operator was installed with."""

    pipeline: str
    training: str
    coqui: str
    inference: str
    pull_policy: str
    pull_secrets: tuple[str, ...] = ()
    """Names of Secrets for pulling them, which must exist in the namespace of each SpeechModel."""
    log_format: LogFormat = LogFormat.TEXT
    """Format of the log of the programs in them."""
    tracing: tuple[tuple[str, str], ...] = ()
    """Environment variables by which the programs in them send traces. Empty if they send none."""
    ca_bundle: CaBundle | None = None
    """The CAs that the programs in them trust when they call an S3 service; None for the public ones."""

    def of(self, image: Image) -> str:
        """Return the image of a stage."""
        return {Image.PIPELINE: self.pipeline, Image.TRAINING: self.training, Image.COQUI: self.coqui}[image]


def stage_job(
    images: Images,
    owner: Owner,
    spec: SpeechModelSpec,
    run: StageRun,
    inherited: Mapping[str, str],
    traceparent: str | None = None,
    *,
    one_node: bool = True,
) -> Manifest:
    """Return the Job of one attempt of a stage. The Job carries `inherited` labels, and its pods do not. Its program continues
    the trace of `traceparent`. Several workers run on one node if the workspace claim cannot be mounted on more.
    """
    training, stage, document = spec.training, stage_named(run.stage), run.document
    claim = training.storage.claim_name or names.claim_name(owner.name)
    mounts: list[Manifest] = [{"name": "workspace", "mountPath": WORKSPACE_MOUNT}]
    volumes: list[Manifest] = [{"name": "workspace", "persistentVolumeClaim": {"claimName": claim}}]
    volume_of = {claim: "workspace"}
    for volume, path, source in _read_only(stage, spec):
        if source not in volume_of:  # a claim is one volume of the pod, wherever its folders are mounted
            volume_of[source] = volume
            volumes.append({"name": volume, "persistentVolumeClaim": {"claimName": source, "readOnly": True}})
        mounts.append({"name": volume_of[source], "mountPath": path, "readOnly": True})
    bundle = _ca_bundle(images, spec) if run.bucket or run.negatives else None
    if bundle is not None:
        volumes.append(bundle.volume)
        mounts.append(bundle.mount)
    secret = credentials(run.bucket.secret_ref) if run.bucket else []
    secret += credentials(run.negatives.secret_ref, NEGATIVES) if run.negatives else []
    if run.stage is StageName.PUBLISH:
        secret += private_key(spec.publish.signing)
    wanted = gpus(training.pod_template.resources) if stage.needs.accelerator else ()
    module, image = stage.program_for(spec)
    stage_container = container(
        STAGE_CONTAINER,
        images.of(image),
        images.pull_policy,
        program(module),
        env=[
            *environment(training.env),
            *log_env(images.log_format, owner, run.stage.value, run.name),
            *trace_env(images.tracing, owner, run.stage.value, run.name, traceparent),
            *program_env(document),
            *secret,
            *([bundle.env] if bundle else []),
            *workers.environment(owner, run),
            *([{"name": GPUS_VARIABLE, "value": ",".join(wanted)}] if wanted else []),
        ],
        mounts=mounts,
        # the end of the log is the termination message of a program that crashed
        terminationMessagePolicy="FallbackToLogsOnError",
        resources=(
            resources(training.pod_template.resources, {})
            if stage.needs.accelerator
            else resources(training.stage_resources, LIGHT)
        ),
        **workers.ports(run),
    )
    pod = pod_spec(
        training.pod_template,
        [stage_container],
        volumes,
        images.pull_secrets,
        restartPolicy="Never",
        terminationGracePeriodSeconds=training.termination_grace_period_seconds,
        **workers.placed(owner, run),
    )
    # TensorFlow and libdeepspeech need it, and the workspace may bind to the node of the first stage
    pod = on_x86_64(pod)
    if one_node and run.workers > 1:
        pod["affinity"] = workers.together(pod.get("affinity", {}), run)
    found = labels.common(owner, run.stage.value)
    found |= {labels.KEY: document.key, labels.ATTEMPT: str(document.attempt)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": labels.metadata(owner, run.name, run.stage.value)
        | {
            "labels": dict(inherited) | found,
            "annotations": {labels.SETTINGS: run.settings, labels.INHERITED_AS: labels.inherited_as(inherited)},
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            **(workers.job_fields(run) if run.workers > 1 else {"podFailurePolicy": _failure_policy()}),
            "template": {
                "metadata": {
                    "labels": labels.of_template(training.pod_template.labels)
                    | found
                    | workers.labelled(run)
                    | _restoring(run),
                    "annotations": dict(training.pod_template.annotations),
                },
                "spec": pod,
            },
        },
    }


def _ca_bundle(images: Images, spec: SpeechModelSpec) -> CaBundle | None:
    """Return the CAs of the chart, unless the manifest names a file of its own: a pod waits for each ConfigMap that it mounts."""
    return None if CA_BUNDLE in {variable.name for variable in spec.training.env} else images.ca_bundle


def _restoring(run: StageRun) -> dict[str, str]:
    return {labels.RESTORES: run.restores} if run.restores else {}


def _read_only(stage: Stage[Any], spec: SpeechModelSpec) -> Iterator[tuple[str, str, str]]:
    """Yield volume, path and claim of each folder that the stage reads beside the workspace, if it is on a claim."""
    negatives, initial = spec.dataset.negatives.source, spec.training.init_from
    if stage.reads_dataset(spec) and (claim := spec.dataset.source.persistent_volume_claim) is not None:
        yield "dataset", DATASET_MOUNT, claim.claim_name
    if stage.needs.negatives and negatives and (claim := negatives.persistent_volume_claim) is not None:
        yield "negatives", NEGATIVES_MOUNT, claim.claim_name
    if stage.needs.checkpoint and initial and (claim := initial.persistent_volume_claim) is not None:
        yield "initial", INITIAL_MOUNT, claim.claim_name


def purge_job(
    images: Images, owner: Owner, spec: SpeechModelSpec, document: PurgeInput, inherited: Mapping[str, str]
) -> Manifest:
    """Return the Job that removes what a deleted SpeechModel published. It has no owner, or it would be deleted as well. It carries
    `inherited` labels, as those of stages do.
    """
    bundle = _ca_bundle(images, spec)
    purge_container = container(
        STAGE_CONTAINER,
        images.pipeline,
        images.pull_policy,
        program("speechmodel_pipeline.purge"),
        env=[
            *environment(spec.training.env),
            *log_env(images.log_format, owner, labels.PURGE),
            *trace_env(images.tracing, owner, labels.PURGE),
            *program_env(document),
            *credentials(spec.publish.s3.secret_ref),
            *([bundle.env] if bundle else []),
        ],
        mounts=[bundle.mount] if bundle else [],
        resources=resources(spec.training.stage_resources, LIGHT),
    )
    # it mounts no claim: it may run on any node, even when those for training are gone
    template = spec.training.pod_template
    volumes = tuple(volume for volume in template.volumes if volume.persistent_volume_claim is None)
    mounts = tuple(mount for mount in template.volume_mounts if mount.name in {volume.name for volume in volumes})
    anywhere: Manifest = {"affinity": None, "node_selector": {}, "runtime_class_name": None}
    template = template.model_copy(update=anywhere | {"volumes": volumes, "volume_mounts": mounts})
    pod = pod_spec(
        template, [purge_container], [bundle.volume] if bundle else [], images.pull_secrets, restartPolicy="Never"
    )
    metadata = labels.metadata(owner, names.purge_name(owner.name, owner.uid), labels.PURGE, owned=False)
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": metadata
        | {
            "labels": dict(inherited) | metadata["labels"],
            "annotations": {MODEL_UID: owner.uid, labels.INHERITED_AS: labels.inherited_as(inherited)},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": PURGE_DEADLINE_SECONDS,
            "ttlSecondsAfterFinished": PURGE_KEPT_SECONDS,
            "template": {"metadata": {"labels": metadata["labels"]}, "spec": pod},
        },
    }


def _failure_policy() -> Manifest:
    """Rules in this order: failures that would recur with the same key, disruptions, and stops with everything saved."""
    final = [code.value for code in ExitCode if code.final or code is ExitCode.ARTEFACT_MISSING]
    return {
        "rules": [
            {"action": "FailJob", "onExitCodes": {"containerName": STAGE_CONTAINER, "operator": "In", "values": final}},
            {"action": "Ignore", "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}]},
            {
                "action": "Ignore",
                "onExitCodes": {"containerName": STAGE_CONTAINER, "operator": "In", "values": [ExitCode.STOPPED.value]},
            },
        ]
    }
