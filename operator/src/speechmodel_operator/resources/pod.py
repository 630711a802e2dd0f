"""Pods: restricted, without Kubernetes credentials, on a read-only root, placed where the workspace is."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from speechmodel_api.base import Document
from speechmodel_api.credentials import CA_BUNDLE, OPTIONAL_KEYS, S3_KEYS, SIGNING_KEY
from speechmodel_api.log_format import FIELDS_VARIABLE, LogFormat
from speechmodel_api.pods import EnvVar, PodTemplate, Resources
from speechmodel_api.schema import LocalObjectReference
from speechmodel_api.spec import Signing, SpeechModelSpec
from speechmodel_api.stages.contract import INPUT_VARIABLE, RESULT_VARIABLE, TERMINATION_LOG, StageName
from speechmodel_api.tracing import PARENT
from speechmodel_plan.stages import STAGES
from speechmodel_plan.task import Owner

Manifest = dict[str, Any]

USER = 65532
WORKSPACE_MOUNT = "/workspace"
DATASET_MOUNT = "/dataset"
NEGATIVES_MOUNT = "/negatives"
INITIAL_MOUNT = "/initial"
STAGE_CONTAINER = "stage"
LIGHT = {"requests": {"cpu": "100m", "memory": "256Mi"}}
"""Requests of every program but the trainer if the spec has none. There are no default limits (decision 46)."""


CA_VOLUME = "ca-bundle"
CA_MOUNT = "/ca-bundle"


@dataclass(frozen=True)
class CaBundle:
    """The CAs that programs trust when they call an S3 service, instead of the public ones."""

    config_map: str
    """Name of the ConfigMap, which must exist in the namespace of each SpeechModel."""
    key: str
    """Key with the certificates in PEM."""

    @property
    def env(self) -> Manifest:
        """The variable that names the file to boto3."""
        return {"name": CA_BUNDLE, "value": f"{CA_MOUNT}/ca.crt"}

    @property
    def mount(self) -> Manifest:
        """The mount of the file's folder."""
        return {"name": CA_VOLUME, "mountPath": CA_MOUNT, "readOnly": True}

    @property
    def volume(self) -> Manifest:
        """The volume. A pod waits until the ConfigMap and the key exist."""
        return {
            "name": CA_VOLUME,
            "configMap": {"name": self.config_map, "items": [{"key": self.key, "path": "ca.crt"}]},
        }


def pod_spec(
    template: PodTemplate,
    containers: list[Manifest],
    volumes: list[Manifest],
    pull_secrets: Sequence[str] = (),
    init_containers: Sequence[Manifest] = (),
    **more: object,
) -> Manifest:
    """Return a restricted pod with the scheduling and the volumes that the template asks for.

    `pull_secrets` come after those of the template. Every container has the template's mounts.
    """
    given_volumes, mounts = _given_volumes(template, volumes)
    scheduling = _scheduling(template)
    given = [secret.name for secret in template.image_pull_secrets]
    if pulls := dict.fromkeys((*given, *pull_secrets)):
        scheduling["imagePullSecrets"] = [{"name": name} for name in pulls]
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
        **({"initContainers": [_mounting(each, mounts) for each in init_containers]} if init_containers else {}),
        "containers": [_mounting(each, mounts) for each in containers],
        "volumes": [{"name": "tmp", "emptyDir": {}}, *volumes, *given_volumes],
        **scheduling,
        **more,
    }


def on_x86_64(pod: Manifest) -> Manifest:
    """Return the pod with a selector of x86-64 nodes, unless its own nodeSelector names an architecture."""
    return pod | {"nodeSelector": {"kubernetes.io/arch": "amd64", **pod.get("nodeSelector", {})}}


def program(module: str) -> list[str]:
    """Return the arguments that start a program's module. The image's entry point, tini, forwards signals to it."""
    return ["python", "-m", module]


def container(
    name: str,
    image: str,
    pull_policy: str,
    arguments: list[str],
    *,
    env: Sequence[Manifest] = (),
    mounts: Sequence[Manifest] = (),
    **more: object,
) -> Manifest:
    """Return a restricted container in which only /tmp is writable."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": pull_policy,
        "args": arguments,
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
    """Return the variables by which a program receives its input and learns where to write its result."""
    text = document.model_dump_json(by_alias=True, exclude_none=True)
    return [
        {"name": INPUT_VARIABLE, "value": text.replace("$(", "$$(")},
        {"name": RESULT_VARIABLE, "value": TERMINATION_LOG},
    ]


def log_env(log_format: LogFormat, owner: Owner, stage: str, job: str = "") -> list[Manifest]:
    """Return the variable by which a program logs JSON with these fields; nothing for text."""
    if log_format is LogFormat.TEXT:
        return []
    fields = {"namespace": owner.namespace, "model": owner.name, "stage": stage} | ({"job": job} if job else {})
    return [{"name": FIELDS_VARIABLE, "value": json.dumps(fields)}]


def trace_env(
    tracing: Sequence[tuple[str, str]], owner: Owner, stage: str, job: str = "", traceparent: str | None = None
) -> list[Manifest]:
    """Return the variables by which a program sends traces that name the model; nothing if traces are off."""
    if not tracing:
        return []
    names = {"k8s.namespace.name": owner.namespace, "speechmodel.model": owner.name, "speechmodel.stage": stage}
    names |= {"k8s.job.name": job} if job else {}
    variables = [*tracing, ("OTEL_RESOURCE_ATTRIBUTES", ",".join(f"{name}={value}" for name, value in names.items()))]
    variables += [(PARENT, traceparent)] if traceparent else []
    return [{"name": name, "value": value} for name, value in variables]


def credentials(secret: LocalObjectReference | None, prefix: str = "") -> list[Manifest]:
    """Return the Secret's keys as environment variables. `prefix` is put before their names. The operator never reads
    them.
    """
    if secret is None:
        return []
    return [_from_secret(secret, key, prefix, optional=key in OPTIONAL_KEYS) for key in S3_KEYS]


def private_key(signing: Signing | None) -> list[Manifest]:
    """Return the private key as an environment variable. The operator itself never reads it."""
    return [_from_secret(signing.private_key_secret_ref, SIGNING_KEY, optional=False)] if signing else []


def _from_secret(secret: LocalObjectReference, key: str, prefix: str = "", *, optional: bool) -> Manifest:
    """Return a key of the Secret as the environment variable of the same name, after `prefix`."""
    return {
        "name": f"{prefix}{key}",
        "valueFrom": {"secretKeyRef": {"name": secret.name, "key": key, "optional": optional}},
    }


def environment(given: Sequence[EnvVar]) -> list[Manifest]:
    """Return the variables of a manifest, in which `$(NAME)` stays what it is."""
    return [{"name": variable.name, "value": variable.value.replace("$(", "$$(")} for variable in given]


def resources(given: Resources, default: Manifest) -> Manifest:
    """Return the resources of a container: those given, or the default if there are none."""
    return given.model_dump(by_alias=True, exclude_defaults=True) or default


def settings_hashes(spec: SpeechModelSpec, ca_bundle: CaBundle | None = None) -> dict[StageName, str]:
    """Return a hash of the pod settings of each stage. An unfinished Job whose hash differs is replaced.

    Images and keys are excluded, and so are fields at their defaults: an upgrade of the operator does not stop a training. The CAs
    count for stages that use a bucket alone, which cannot go on with the wrong ones.
    """
    training = spec.training
    template = training.pod_template.model_dump(mode="json", exclude_defaults=True)
    light = {name: value for name, value in template.items() if name != "resources"}
    if given := training.stage_resources.model_dump(mode="json", exclude_defaults=True):
        light["resources"] = given
    found = {}
    for stage in STAGES:
        parts: dict[str, Any] = {
            "template": template if stage.needs.accelerator else light,
            "claim": training.storage.claim_name,
            "grace": training.termination_grace_period_seconds,
            **stage.settings(spec),
        }
        if training.env:
            parts["env"] = [[variable.name, variable.value] for variable in training.env]
        if ca_bundle is not None and (stage.bucket(spec) or stage.negatives_bucket(spec)):
            parts["caBundle"] = [ca_bundle.config_map, ca_bundle.key]
        found[stage.name] = hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:8]
    return found


def _given_volumes(template: PodTemplate, ours: Sequence[Manifest]) -> tuple[list[Manifest], list[Manifest]]:
    """Return the volumes and the mounts of the template. A claim is one volume of the pod, so the mounts of one that the pod has
    already refer to that volume: the kubelet waits for ever for the second one on some drivers.
    """
    claims = {
        each["persistentVolumeClaim"]["claimName"]: each["name"] for each in ours if "persistentVolumeClaim" in each
    }
    volumes: list[Manifest] = []
    name_of: dict[str, str] = {}
    for volume in template.volumes:
        claim = volume.persistent_volume_claim
        name_of[volume.name] = claims.setdefault(claim.claim_name, volume.name) if claim else volume.name
        if name_of[volume.name] == volume.name:
            kind = volume.model_dump(by_alias=True, exclude_defaults=True, mode="json")
            volumes.append(kind | {"name": volume.name})
    mounts = [
        mount.model_dump(by_alias=True, exclude_defaults=True) | {"name": name_of[mount.name]}
        for mount in template.volume_mounts
    ]
    return volumes, mounts


def _mounting(made: Manifest, mounts: Sequence[Manifest]) -> Manifest:
    """Return the container with these mounts after its own."""
    return made | {"volumeMounts": [*made["volumeMounts"], *mounts]}


def _scheduling(template: PodTemplate) -> Manifest:
    """Return where a pod may run.

    Every pod that mounts the workspace carries training's settings: the volume binds where the first of them is scheduled, and
    training must be able to run there.
    """
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
        },
    )
    for toleration, given in zip(fields.get("tolerations", []), template.tolerations, strict=False):
        toleration["operator"] = given.operator.value
    return fields
