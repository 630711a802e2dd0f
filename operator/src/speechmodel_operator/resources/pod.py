"""Pods: restricted, without Kubernetes credentials, on a read-only root, placed where the workspace is."""

import hashlib
import json
from typing import Any

from speechmodel_api.base import Document
from speechmodel_api.credentials import OPTIONAL_KEYS, REQUIRED_KEYS
from speechmodel_api.spec import LocalObjectReference, PodTemplate, Resources, SpeechModelSpec
from speechmodel_api.stages import INPUT_VARIABLE, RESULT_VARIABLE, StageName

Manifest = dict[str, Any]

USER = 65532
WORKSPACE_MOUNT = "/workspace"
DATASET_MOUNT = "/dataset"
STAGE_CONTAINER = "stage"
LIGHT = {"requests": {"cpu": "100m", "memory": "256Mi"}}
"""What every stage but train asks for; nothing is limited, they stream."""


def pod_spec(template: PodTemplate, containers: list[Manifest], volumes: list[Manifest], **more: object) -> Manifest:
    """A restricted pod with the scheduling that the template asks for."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "fsGroupChangePolicy": "OnRootMismatch",
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "containers": containers,
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes],
        **_scheduling(template),
        **more,
    }


def container(name: str, image: str, pull_policy: str, command: list[str], **more: object) -> Manifest:
    """A restricted container; /tmp is writable."""
    mounts = more.pop("volumeMounts", [])
    env = more.pop("env", [])
    assert isinstance(mounts, list)
    assert isinstance(env, list)
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "command": command,
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "env": [{"name": "HOME", "value": "/tmp"}, *env],  # noqa: S108 - an emptyDir of the pod's own
        "volumeMounts": [{"name": "tmp", "mountPath": "/tmp"}, *mounts],  # noqa: S108 - the same
        "terminationMessagePolicy": "File",
        **more,
    }


def program_env(document: Document) -> list[Manifest]:
    """How a stage program gets its input and where it puts its result."""
    text = document.model_dump_json(by_alias=True, exclude_none=True)
    return [
        {"name": INPUT_VARIABLE, "value": text.replace("$(", "$$(")},
        {"name": RESULT_VARIABLE, "value": "/dev/termination-log"},
    ]


def credentials(secret: LocalObjectReference | None) -> list[Manifest]:
    """The Secret's keys as environment variables; the operator itself never reads them."""
    if secret is None:
        return []
    return [
        {"name": key, "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": key in OPTIONAL_KEYS}}}
        for key in (*REQUIRED_KEYS, *OPTIONAL_KEYS)
    ]


def resources(given: Resources) -> Manifest:
    """As in a container."""
    return given.model_dump(by_alias=True, exclude_defaults=True)


def stage_resources(stage: StageName, spec: SpeechModelSpec) -> Manifest:
    """The template's for train, with its GPUs; little for the others."""
    return resources(spec.training.pod_template.resources) if stage is StageName.TRAIN else LIGHT


def settings_hash(stage: StageName, spec: SpeechModelSpec) -> str:
    """Of all that shapes a stage's pod besides its key and the images: an unfinished Job made with others is replaced.

    Images are left out, and so are fields at their defaults: an upgrade of the operator does not stop a training.
    """
    training = spec.training
    parts: dict[str, Any] = {
        "template": training.pod_template.model_dump(
            mode="json", exclude_defaults=True, exclude=set() if stage is StageName.TRAIN else {"resources"}
        ),
        "claim": training.storage.claim_name,
        "grace": training.termination_grace_period_seconds,
    }
    if stage is StageName.TRAIN:
        parts["checkpoints"] = training.checkpoints.model_dump(mode="json", exclude_defaults=True)
    if stage is StageName.PUBLISH:
        s3 = spec.publish.s3
        parts["s3"] = [s3.region, s3.secret_ref.name if s3.secret_ref else None]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]


def _scheduling(template: PodTemplate) -> Manifest:
    """Where a pod may run. Every pod that mounts the workspace carries training's: the volume binds where the first of them lands,
    and must land where training can run."""
    fields = template.model_dump(
        by_alias=True,
        exclude_defaults=True,
        mode="json",
        include={
            "node_selector",
            "tolerations",
            "affinity",
            "runtime_class_name",
            "priority_class_name",
            "image_pull_secrets",
        },
    )
    for toleration, given in zip(fields.get("tolerations", []), template.tolerations, strict=False):
        toleration["operator"] = given.operator.value
    return fields
