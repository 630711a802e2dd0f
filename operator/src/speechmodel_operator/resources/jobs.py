"""Jobs: one for each attempt of a stage, and the one that removes what was published."""

from dataclasses import dataclass

from speechmodel_api.exit_codes import ExitCode
from speechmodel_api.spec import SpeechModelSpec
from speechmodel_api.stages import PurgeInput, StageInput, StageName
from speechmodel_plan import names
from speechmodel_plan.programs import PROGRAMS

from speechmodel_operator.resources import labels
from speechmodel_operator.resources.pod import (
    DATASET_MOUNT,
    LIGHT,
    STAGE_CONTAINER,
    WORKSPACE_MOUNT,
    Manifest,
    container,
    credentials,
    pod_spec,
    program_env,
    stage_resources,
)

PURGE_KEPT_SECONDS = 600
"""How long a finished purge Job stays for its log."""
MODEL_UID = f"{labels.MODEL}-uid"
"""Annotation of the purge Job, which has no owner."""


@dataclass(frozen=True)
class Images:
    """The images that the operator was installed with."""

    pipeline: str
    training: str
    inference: str
    pull_policy: str


def stage_job(
    images: Images,
    namespace: str,
    model: str,
    uid: str,
    spec: SpeechModelSpec,
    name: str,
    document: StageInput,
    stage: StageName,
    settings: str,
) -> Manifest:
    """The Job of one attempt of a stage."""
    training = spec.training
    claim = training.storage.claim_name or names.claim_name(model)
    mounts: list[Manifest] = [{"name": "workspace", "mountPath": WORKSPACE_MOUNT}]
    volumes: list[Manifest] = [{"name": "workspace", "persistentVolumeClaim": {"claimName": claim}}]
    if stage is StageName.PREPARE:
        source = spec.dataset.source.persistent_volume_claim.claim_name
        if source == claim:
            mounts.append({"name": "workspace", "mountPath": DATASET_MOUNT, "readOnly": True})
        else:
            mounts.append({"name": "dataset", "mountPath": DATASET_MOUNT, "readOnly": True})
            volumes.append({"name": "dataset", "persistentVolumeClaim": {"claimName": source, "readOnly": True}})
    env = program_env(document)
    if stage is StageName.PUBLISH:
        env += credentials(spec.publish.s3.secret_ref)
    program = container(
        STAGE_CONTAINER,
        images.training if stage is StageName.TRAIN else images.pipeline,
        images.pull_policy,
        ["python", "-m", PROGRAMS[stage]],
        env=env,
        volumeMounts=mounts,
        resources=stage_resources(stage, spec),
    )
    pod = pod_spec(
        training.pod_template,
        [program],
        volumes,
        restartPolicy="Never",
        terminationGracePeriodSeconds=training.termination_grace_period_seconds,
    )
    found = labels.common(model, stage.value) | {labels.KEY: document.key, labels.ATTEMPT: str(document.attempt)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "labels": found,
            "annotations": {labels.SETTINGS: settings},
            "ownerReferences": [labels.owner_reference(model, uid)],
        },
        "spec": {
            "backoffLimit": 0,
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": _failure_policy(),
            "template": {
                "metadata": {
                    "labels": dict(training.pod_template.labels) | found,
                    "annotations": dict(training.pod_template.annotations),
                },
                "spec": pod,
            },
        },
    }


def purge_job(
    images: Images, namespace: str, model: str, uid: str, spec: SpeechModelSpec, document: PurgeInput
) -> Manifest:
    """The Job that removes what a deleted SpeechModel published; it has no owner, or it would go with it."""
    found = labels.common(model, labels.PURGE)
    program = container(
        STAGE_CONTAINER,
        images.pipeline,
        images.pull_policy,
        ["python", "-m", "speechmodel_pipeline.purge"],
        env=program_env(document) + credentials(spec.publish.s3.secret_ref),
        resources=LIGHT,
    )
    # it mounts no volume: it may run on any node, also when those for training are gone
    anywhere: Manifest = {"affinity": None, "node_selector": {}, "runtime_class_name": None}
    pod = pod_spec(spec.training.pod_template.model_copy(update=anywhere), [program], [], restartPolicy="Never")
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": names.purge_name(model, uid),
            "namespace": namespace,
            "labels": found,
            "annotations": {MODEL_UID: uid},
        },
        "spec": {
            "backoffLimit": 0,
            "activeDeadlineSeconds": 110,
            "ttlSecondsAfterFinished": PURGE_KEPT_SECONDS,
            "template": {"metadata": {"labels": found}, "spec": pod},
        },
    }


def _failure_policy() -> Manifest:
    """In this order: failures that the same key would meet again; disruptions; a stop with everything saved."""
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
