"""The operator's settings. Each is an environment variable SPEECHMODEL_<NAME>; the chart's values set them."""

import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator
from pydantic.alias_generators import to_camel
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from speechmodel_api.log_format import LogFormat

PREFIX = "SPEECHMODEL_"


class SettingsError(Exception):
    """A setting is missing or not valid; the message names the variable."""


class PolicyOwner(BaseModel):
    """The role of the release that owns the NetworkPolicies, so that they are deleted with it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["ClusterRole", "Role"]
    """A Role is one in the namespace of each policy."""
    name: str


class PolicySettings(BaseModel):
    """The parts of the NetworkPolicies that depend on the release."""

    model_config = ConfigDict(alias_generator=to_camel, frozen=True, extra="forbid")

    name: str
    """Full name of the release, with which the names of the policies begin."""
    namespace: str
    """Namespace of the operator."""
    operator_labels: dict[str, str]
    """Labels that select the operator's pods."""
    owner: PolicyOwner | None = None
    """None if the release has no roles; nothing then deletes the policies with it."""
    server_from: tuple[dict[str, Any], ...] = ()
    """Peers that may call the servers; empty means all."""
    metrics_from: tuple[dict[str, Any], ...] = ()
    """Peers that may scrape the servers besides those."""
    wyoming_from: tuple[dict[str, Any], ...] = ()
    """Peers that may call the port of Wyoming; empty means those of `server_from`."""
    collector_ports: tuple[int, ...] = ()
    """Ports of the collector of traces in the cluster; empty without traces."""


class Settings(BaseSettings):
    """The choices of the person who installs the operator."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore", use_attribute_docstrings=True)

    image_pipeline: str = "docker.io/speechops/pipeline:0.1.0"
    """Image of prepare, convert, evaluate, publish, fetch and purge. Change it for a mirror or a private registry."""
    image_training: str = "docker.io/speechops/training:0.1.0"
    """Image of train. Change it for the CUDA build."""
    image_coqui: str = "docker.io/speechops/coqui:0.1.0"
    """Image of train with training.engine CoquiSTT."""
    image_inference: str = "docker.io/speechops/inference:0.1.0"
    """Image of the server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Pull policy of these images. Always is useful only with tags that move."""
    image_pull_secrets: Annotated[tuple[str, ...], NoDecode] = ()
    """Names of Secrets for pulling these images, separated by commas. They must exist in the namespace of each SpeechModel."""
    ca_bundle_config_map: str = ""
    """Name of the ConfigMap with the CAs that pods trust when they call an S3 service. It must exist in the namespace of each
    SpeechModel. Empty means the public CAs."""
    ca_bundle_key: str = "trust-bundle.pem"
    """Key of the ConfigMap with the certificates in PEM."""
    namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to watch, separated by commas; empty means all. With namespaces given, Roles in them are enough."""
    namespace_selector: str = ""
    """Label selector of the namespaces to watch, as in `kubectl get -l`; empty means those in `namespaces`. It needs a ClusterRole."""
    lease: Annotated[str, Field(pattern="^([a-z0-9.-]+/[a-z0-9.-]+)?$")] = ""
    """Namespace and name of the Lease that one of several operators holds, as namespace/name; empty for a single operator."""
    network_policies: Annotated[PolicySettings | None, NoDecode] = None
    """The NetworkPolicies for the pods of SpeechModels, as JSON; empty means that the operator writes none."""
    progress_seconds: Annotated[float, Field(ge=1, le=300)] = 10
    """Seconds between two readings of a training pod's log. Raise it for hundreds of models."""
    server_upgrades_at_once: Annotated[int, Field(ge=1)] = 10
    """Number of Deployments that are replaced at the same time because the operator was upgraded or these settings changed. What a
    user edits is replaced at once."""
    watch_seconds: Annotated[float, Field(ge=1, le=3600)] = 120
    """Seconds after which a watch is opened again. A connection that is open but brings nothing is noticed after that."""
    liveness_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, which fails when a reconciliation has stalled, and of /readyz; 0 disables it."""
    metrics_port: Annotated[int, Field(ge=0, le=65535)] = 8081
    """Port of /metrics; 0 disables it."""
    log_format: LogFormat = LogFormat.TEXT
    """Format of the log of the operator and of every pod that it creates: text, or json with the model and the stage."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest severity that is logged."""

    @field_validator("image_pull_secrets", "namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("network_policies", mode="before")
    @classmethod
    def _decode(cls, value: object) -> object:
        if isinstance(value, str):
            return json.loads(value) if value else None
        return value

    @field_validator("namespace_selector")
    @classmethod
    def _one_way(cls, value: str, info: ValidationInfo) -> str:
        if value and info.data.get("namespaces"):
            raise ValueError(f"{PREFIX}NAMESPACES is set too; set one of them")
        return value

    @classmethod
    def from_environment(cls) -> "Settings":
        """Return the settings; raise SettingsError with the name of the first variable that is not valid."""
        try:
            return cls()
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper()
            raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from error
