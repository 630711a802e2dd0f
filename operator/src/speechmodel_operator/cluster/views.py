"""Typed views of Kubernetes objects: the fields that the operator reads, parsed once at the border."""

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any, Generic, Self, TypeVar

import msgspec
from msgspec import Meta, Struct, ValidationError, field
from speechmodel_api.status import SpeechModelStatus

Manifest = Mapping[str, Any]
"""An object, or a patch of one, as it is sent."""
AwareDatetime = Annotated[datetime, Meta(tz=True)]


class View(Struct, frozen=True, rename="camel", omit_defaults=True):
    """A part of an object as the API server returns it. Other fields are ignored."""

    @classmethod
    def read(cls, item: Manifest | Self) -> Self:
        """Return the view of an object, which may be read already. A null field counts as absent. Raises ValidationError.

        Nulls are rare, so they are removed only if validation fails: looking for them in every object takes longer than reading it.
        """
        if isinstance(item, cls):
            return item
        try:
            return msgspec.convert(item, cls, dec_hook=_read_status)
        except ValidationError:
            return msgspec.convert(_without_nulls(item), cls, dec_hook=_read_status)

    @classmethod
    def from_json(cls, document: bytes) -> Self:
        """Return the view of a JSON document without nulls. Raises ValidationError."""
        return msgspec.json.decode(document, type=cls, dec_hook=_read_status)

    def to_json(self) -> bytes:
        """Return the view as JSON, in the order of the class. Most fields at their defaults are left out."""
        return msgspec.json.encode(self, enc_hook=_write_status)


def _read_status(_: type, given: Any) -> SpeechModelStatus:
    """Read the only part of a view that is a type of the API."""
    return SpeechModelStatus.model_validate(given)


def _write_status(status: SpeechModelStatus) -> msgspec.Raw:
    return msgspec.Raw(status.model_dump_json(by_alias=True, exclude_defaults=True))


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(field) for name, field in value.items() if field is not None}
    return [_without_nulls(each) for each in value] if isinstance(value, list) else value


class OwnerReference(View, frozen=True):
    """The owner of an object."""

    uid: str
    kind: str = ""


class Metadata(View, frozen=True):
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


class ObjectView(View, frozen=True):
    """An object with metadata."""

    metadata: Metadata

    @property
    def deleting(self) -> bool:
        """True once the object was deleted, while finalizers or a grace period keep it."""
        return self.metadata.deletion_timestamp is not None


ViewT = TypeVar("ViewT", bound=ObjectView)


class ListMetadata(View, frozen=True):
    """The metadata of a list."""

    resource_version: str
    next_page: str = field(name="continue", default="")


class NetworkPolicy(ObjectView, frozen=True):
    """A NetworkPolicy."""

    spec: Mapping[str, Any] = {}


ItemT = TypeVar("ItemT", covariant=True)


class Page(View, Generic[ItemT], frozen=True):
    """A list of objects, or one page of it.

    The views are made directly from JSON: Python objects of all fields, which no view has, take longer than the rest.
    """

    metadata: ListMetadata
    items: tuple[ItemT, ...]


def read_page(view: type[ViewT], body: bytes) -> Page[ViewT | dict[str, Any]]:
    """Return a page of a list. If one object cannot be read as a view, all are as the API server sent them."""
    try:
        views: Page[ViewT] = msgspec.json.decode(body, type=Page[view], dec_hook=_read_status)  # type: ignore[valid-type]
        return views
    except ValidationError:
        return msgspec.json.decode(body, type=Page[dict[str, Any]])


class Condition(View, frozen=True):
    """A condition of any object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: AwareDatetime | None = None


class Model(ObjectView, frozen=True):
    """A SpeechModel. Its spec is parsed by the caller, because one of a newer release may be invalid here."""

    spec: Mapping[str, Any]
    status: SpeechModelStatus = SpeechModelStatus()


class JobSpec(View, frozen=True):
    """The spec of a Job."""

    suspend: bool = False
    completions: int = 1


class JobStatus(View, frozen=True):
    """The status of a Job."""

    conditions: tuple[Condition, ...] = ()
    start_time: AwareDatetime | None = None


class Job(ObjectView, frozen=True):
    """A Job."""

    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    @property
    def finished(self) -> Condition | None:
        """The condition Complete or Failed once it is true."""
        ends = (c for c in self.status.conditions if c.type in ("Complete", "Failed") and c.status == "True")
        return next(ends, None)


class Waiting(View, frozen=True):
    """The reason why a container is not running."""

    reason: str = ""
    message: str = ""


class Running(View, frozen=True):
    """A running container."""

    started_at: AwareDatetime | None = None


class Terminated(View, frozen=True):
    """The exit of a container."""

    exit_code: int
    reason: str = ""
    message: str | None = None
    started_at: AwareDatetime | None = None
    finished_at: AwareDatetime | None = None


class ContainerState(View, frozen=True):
    """The state of a container. At most one field is set."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(View, frozen=True):
    """The state of a container and of the one before its last restart."""

    name: str
    ready: bool = False
    restart_count: int = 0
    state: ContainerState = ContainerState()
    last_state: ContainerState = ContainerState()


class ContainerResources(View, frozen=True):
    """The limits of a container, by resource name."""

    limits: Mapping[str, str] = {}


class ContainerPort(View, frozen=True):
    """A port of a container."""

    container_port: int
    name: str = ""


class Container(View, frozen=True):
    """A container of a pod's spec."""

    name: str
    ports: tuple[ContainerPort, ...] = ()
    resources: ContainerResources = ContainerResources()


class PodSpec(View, frozen=True):
    """The node and the containers of a pod."""

    node_name: str = "?"
    init_containers: tuple[Container, ...] = ()
    containers: tuple[Container, ...] = ()


class PodStatus(View, frozen=True):
    """The status of a pod."""

    phase: str = "Unknown"
    reason: str = ""
    message: str = ""
    pod_ip: str = field(name="podIP", default="")
    conditions: tuple[Condition, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(ObjectView, frozen=True):
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


class TemplateMetadata(View, frozen=True):
    """The labels of the pods."""

    labels: Mapping[str, str] = {}


class Template(View, frozen=True):
    """The pod template of a Deployment."""

    metadata: TemplateMetadata


class DeploymentSpec(View, frozen=True):
    """The spec of a Deployment."""

    template: Template
    replicas: int = 1


class DeploymentStatus(View, frozen=True):
    """The status of a Deployment."""

    observed_generation: int = 0
    replicas: int = 0
    updated_replicas: int = 0
    ready_replicas: int = 0
    conditions: tuple[Condition, ...] = ()


class Deployment(ObjectView, frozen=True):
    """A Deployment."""

    spec: DeploymentSpec
    status: DeploymentStatus = DeploymentStatus()


class ServiceSpec(View, frozen=True):
    """The pods that a Service selects."""

    selector: Mapping[str, str] = {}


class Service(ObjectView, frozen=True):
    """A Service."""

    spec: ServiceSpec


class EventView(ObjectView, frozen=True):
    """An Event about another object."""

    reason: str = ""
    message: str = ""
    last_timestamp: AwareDatetime | None = None


class LeaseSpec(View, frozen=True):
    """The holder of a Lease, and when it was renewed."""

    holder_identity: str = ""
    lease_duration_seconds: int = 15
    renew_time: AwareDatetime | None = None


class Lease(ObjectView, frozen=True):
    """A Lease of the coordination API."""

    spec: LeaseSpec = LeaseSpec()


class StorageRequest(View, frozen=True):
    """The size that a claim asks for."""

    storage: str


class ClaimResources(View, frozen=True):
    """The resources that a claim asks for."""

    requests: StorageRequest


class ClaimSpec(View, frozen=True):
    """The spec of a claim."""

    resources: ClaimResources
    access_modes: tuple[str, ...] = ()


class ClaimStatus(View, frozen=True):
    """The status of a claim."""

    phase: str = "Pending"


class Claim(ObjectView, frozen=True):
    """A PersistentVolumeClaim."""

    spec: ClaimSpec
    status: ClaimStatus = ClaimStatus()
