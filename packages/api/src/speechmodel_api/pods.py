"""Settings of pods: scheduling, resources, volumes and metadata, with the names that they have in a pod."""

import re
from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from speechmodel_api.base import ApiModel
from speechmodel_api.schema import LabelKey, LabelValue, LocalObjectReference, ObjectName, Quantity, cel
from speechmodel_api.volumes import VOLUME_RULES, VolumeMounts, Volumes, refuse_unmatched


class TolerationOperator(StrEnum):
    """Defines how a toleration is compared with the value of a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Effect of a taint on pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint that the pods tolerate. A taint is tolerated when its key, value and effect match."""

    key: LabelKey | None = None
    """Key of the taint that the toleration applies to. If empty, the operator must be Exists, and
    every taint is tolerated."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Comparison with the value of the taint. Equal requires the same value, and Exists accepts any
    value. Defaults to Equal."""
    value: LabelValue | None = None
    """Value of the taint that the toleration applies to. Leave it empty when the operator is
    Exists."""
    effect: TaintEffect | None = None
    """Effect of the taint that the toleration applies to: NoSchedule, PreferNoSchedule or
    NoExecute. If empty, every effect is tolerated."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time in seconds that a pod stays on a node after a taint with the effect NoExecute appears.
    0 evicts the pod at once. If not set, the pod stays."""


ResourceMap = Annotated[dict[Annotated[str, Field(max_length=253)], Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """Compute resources of a container, as in a pod."""

    requests: ResourceMap = {}
    """Resources that the scheduler reserves for the container, by name, such as cpu and memory. If
    a resource has only a limit, the request equals the limit."""
    limits: ResourceMap = {}
    """Largest amounts that the container may use, by resource name. A container that exceeds its
    memory limit is killed. Request GPUs here, such as nvidia.com/gpu: "1"."""


GPUS_VARIABLE = "SPEECHMODEL_GPUS"
"""Environment variable of a trainer: the GPU resources that its container asks for, separated by commas."""
_GPU = re.compile(r"gpu|/mig-")


def gpus(resources: Resources) -> tuple[str, ...]:
    """Return the names of the GPU resources that a container asks for, such as nvidia.com/gpu or nvidia.com/mig-1g.10gb."""
    asked = {**resources.requests, **resources.limits}
    return tuple(name for name, amount in sorted(asked.items()) if "/" in name and _GPU.search(name) and amount != "0")


STAGE_RESOURCES = "training.stageResources"
"""Field with the resources of every program that is neither train nor part of a server pod."""
_OTHER_RESOURCES = {
    "train": "training.podTemplate.resources",
    "server": "serving.podTemplate.resources",
    "canary": "serving.podTemplate.resources",
    "fetch": "serving.podTemplate.resources",
}


def resources_field(component: str) -> str:
    """Return the field of the spec that sets the resources of a program: of a stage, server, canary, fetch or purge."""
    return _OTHER_RESOURCES.get(component, STAGE_RESOURCES)


OWN_PREFIX = "SPEECHMODEL_"
_OWN_RULE = f"!self.name.startsWith('{OWN_PREFIX}')"
_OWN_MESSAGE = (
    f"the name must not start with {OWN_PREFIX}, which the operator sets; for a server, set serving.settings instead"
)


class EnvVar(ApiModel, json_schema_extra=cel(_OWN_RULE, _OWN_MESSAGE)):
    """An environment variable to add to pods."""

    name: Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
    """Name of the variable. Names that start with SPEECHMODEL_ are rejected, because the operator sets
    them. In servers, serving.settings has the settings behind them."""
    value: Annotated[str, Field(max_length=4096)] = ""
    """Value of the variable. Everyone who may read the SpeechModel can read it, so it is no place
    for a password. Defaults to an empty string."""

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        if self.name.startswith(OWN_PREFIX):
            raise ValueError(_OWN_MESSAGE)
        return self


Environment = Annotated[tuple[EnvVar, ...], Field(max_length=32)]


class PodTemplate(ApiModel, json_schema_extra=VOLUME_RULES):
    """Scheduling, resources, volumes and metadata of pods. Security settings and service accounts
    cannot be changed."""

    resources: Resources = Resources()
    """Compute resources of the trainer's container (training), or of the server's container and of
    the init container that downloads the version (serving). If empty, the containers of a server pod
    request 100m CPU and 256Mi memory each, and a trainer requests nothing. A namespace whose
    ResourceQuota counts requests or limits needs them here, or a LimitRange with defaults."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels that a node must have for the pods to be scheduled on it. If empty, any node is
    eligible."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Node taints that the pods tolerate. If empty, the pods are not scheduled on tainted nodes."""
    affinity: Annotated[
        dict[str, Any] | None, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = None
    """Node affinity, pod affinity and pod anti-affinity, in the format of a pod's `spec.affinity`.
    The API server checks it when the pods are created, not here."""
    runtime_class_name: ObjectName | None = None
    """Name of the RuntimeClass that runs the pods, such as nvidia. It must exist in the cluster.
    Defaults to the container runtime's default."""
    priority_class_name: ObjectName | None = None
    """Name of the PriorityClass of the pods. It must exist in the cluster. Defaults to the default
    priority of the cluster."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8)] = ()
    """Secrets in the namespace of the SpeechModel that grant access to the registries of the
    images. Not needed for public registries."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels to add to the pods. They cannot replace the labels that the operator sets, and those of `speechops.dev/` are left out."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = {}
    """Annotations to add to the pods, such as those that a service mesh reads."""
    volumes: Volumes = ()
    """Volumes to add to the pods, of the kinds configMap, secret, emptyDir, persistentVolumeClaim, csi and
    ephemeral, with the fields that they have in a pod. The pods mount them only where volumeMounts says so."""
    volume_mounts: VolumeMounts = ()
    """Places of these volumes in the containers: in those of every stage (training), or in the server and the
    init container that downloads the version (serving)."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rules to manifests that do not pass through an API server."""
        del context
        refuse_unmatched(self.volumes, self.volume_mounts)
