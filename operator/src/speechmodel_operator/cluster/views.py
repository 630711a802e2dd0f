"""Typed views of Kubernetes objects: the fields that the operator reads, parsed once at the border."""

from collections.abc import Mapping
from typing import Annotated, Any, Generic, Self, TypeVar

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel
from speechmodel_api.status import SpeechModelStatus

Manifest = Mapping[str, Any]
"""An object, or a patch of one, as it is sent."""


class View(BaseModel):
    """A part of an object as the API server returns it."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="ignore", frozen=True)

    @classmethod
    def read(cls, item: Manifest | Self) -> Self:
        """Return the view of an object, which may be read already. A null field counts as absent. Raises ValidationError.

        Nulls are rare, so they are removed only if validation fails: looking for them in every object takes longer than reading it.
        """
        if isinstance(item, cls):
            return item
        try:
            return cls.model_validate(item)
        except ValidationError:
            return cls.model_validate(_without_nulls(item))

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return the view itself, because it never changes. pydantic copies each default that is a model."""
        return self


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


class OwnerReference(View):
    """The owner of an object."""

    uid: str
    kind: str = ""


class Metadata(View):
    """The metadata of every object."""

    name: str
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    creation_timestamp: AwareDatetime | None = None
    deletion_timestamp: AwareDatetime | None = None
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    def owned_by(self, uid: str) -> bool:
        """Return True when an owner reference has that uid."""
        return any(owner.uid == uid for owner in self.owner_references)


class ObjectView(View):
    """An object with metadata."""

    metadata: Metadata

    @property
    def deleting(self) -> bool:
        """True once the object was deleted, while finalizers or a grace period keep it."""
        return self.metadata.deletion_timestamp is not None


ViewT = TypeVar("ViewT", bound=ObjectView)


class ListMetadata(View):
    """The metadata of a list."""

    resource_version: str
    next_page: Annotated[str, Field(alias="continue")] = ""


class NetworkPolicy(ObjectView):
    """A NetworkPolicy."""

    spec: Mapping[str, Any] = {}


class Page(View, Generic[ViewT]):
    """A list of objects, or one page of it.

    The views are made directly from JSON: Python objects of all fields, which no view has, take longer than the rest. If one object
    cannot be read in that way, all are as the API server sent them.
    """

    metadata: ListMetadata
    items: tuple[ViewT, ...] | tuple[Manifest, ...] = Field(union_mode="left_to_right")


class Condition(View):
    """A condition of any object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: AwareDatetime | None = None


class Model(ObjectView):
    """A SpeechModel. Its spec is parsed by the caller, because one of a newer release may be invalid here."""

    spec: Mapping[str, Any]
    status: SpeechModelStatus = SpeechModelStatus()


class JobSpec(View):
    """The spec of a Job."""

    suspend: bool = False
    completions: int = 1


class JobStatus(View):
    """The status of a Job."""

    conditions: tuple[Condition, ...] = ()
    start_time: AwareDatetime | None = None


class Job(ObjectView):
    """A Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def finished(self) -> Condition | None:
        """The condition Complete or Failed once it is true."""
        ends = (c for c in self.status.conditions if c.type in ("Complete", "Failed") and c.status == "True")
        return next(ends, None)


class Waiting(View):
    """The reason why a container is not running."""

    reason: str = ""
    message: str = ""


class Running(View):
    """A running container."""

    started_at: AwareDatetime | None = None


class Terminated(View):
    """The exit of a container."""

    exit_code: int
    reason: str = ""
    message: str | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None


class ContainerState(View):
    """The state of a container. At most one field is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(View):
    """The state of a container and of the one before its last restart."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class ContainerResources(View):
    """The limits of a container, by resource name."""

    limits: Mapping[str, str] = {}


class ContainerPort(View):
    """A port of a container."""

    name: str = ""
    container_port: int


class Container(View):
    """A container of a pod's spec."""

    name: str
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()


class PodSpec(View):
    """The node and the containers of a pod."""

    node_name: str = "?"
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()


class PodStatus(View):
    """The status of a pod."""

    phase: str = "Unknown"
    reason: str = ""
    message: str = ""
    pod_ip: Annotated[str, Field(alias="podIP")] = ""
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(ObjectView):
    """A pod."""

    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def state(self, container: str) -> ContainerState:
        """Return the state of a container; an empty one before the kubelet has reported it."""
        found = (status.state for status in self.status.container_statuses if status.name == container)
        return next(found, ContainerState())

    @property
    def ready(self) -> bool:
        """True while the pod receives requests."""
        return any(found.type == "Ready" and found.status == "True" for found in self.status.conditions)

    def port(self, name: str) -> int:
        """Return the port of that name, or 0."""
        ports = (port for container in self.spec.containers for port in container.ports)
        return next((port.container_port for port in ports if port.name == name), 0)


class TemplateMetadata(View):
    """The labels of the pods."""

    labels: Mapping[str, str] = {}


class Template(View):
    """The pod template of a Deployment."""

    metadata: TemplateMetadata


class DeploymentSpec(View):
    """The spec of a Deployment."""

    replicas: int = 1
    template: Template


class DeploymentStatus(View):
    """The status of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(ObjectView):
    """A Deployment."""

    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class ServiceSpec(View):
    """The pods that a Service selects."""

    selector: Mapping[str, str] = {}


class Service(ObjectView):
    """A Service."""

    spec: ServiceSpec


class EventView(ObjectView):
    """An Event about another object."""

    reason: str = ""
    message: str = ""
    last_timestamp: AwareDatetime | None = None


class LeaseSpec(View):
    """The holder of a Lease, and when it was renewed."""

    holder_identity: str = ""
    lease_duration_seconds: int = 15
    renew_time: AwareDatetime | None = None


class Lease(ObjectView):
    """A Lease of the coordination API."""

    spec: LeaseSpec = LeaseSpec()


class StorageRequest(View):
    """The size that a claim asks for."""

    storage: str


class ClaimResources(View):
    """The resources that a claim asks for."""

    requests: StorageRequest


class ClaimSpec(View):
    """The spec of a claim."""

    access_modes: tuple[str, ...] = ()
    resources: ClaimResources


class ClaimStatus(View):
    """The status of a claim."""

    phase: str = "Pending"


class Claim(ObjectView):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec
    status: ClaimStatus = ClaimStatus()
