"""The server's settings: environment variables, each field's name in capitals after `SPEECHMODEL_`.

No name ends like the variables that Kubernetes makes of a Service that happens to be called speechmodel (`SPEECHMODEL_PORT`,
`SPEECHMODEL_SERVICE_HOST`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field
from speechmodel_stagekit.cpus import available_cpus

PREFIX = "SPEECHMODEL_"


class Settings(BaseModel):
    """Everything that can be set. The sum of lame_duck_seconds and drain_seconds must stay below the pod's grace period."""

    model_config = ConfigDict(frozen=True)

    folder: Path = Path("/models")
    """Where fetch put output_graph.pbmm, selftest.wav and version.json."""
    name: Annotated[str, Field(min_length=1, max_length=253)] = "speechmodel"
    """The model's id in /v1/models."""
    listen: Annotated[str, Field(pattern=r"^.*:[0-9]{1,5}$")] = ":8080"
    """`address:port`; without an address, every IPv4 and IPv6 address of the machine."""
    decoders: Annotated[int, Field(ge=1, le=1024)] = Field(default_factory=available_cpus)
    """Recordings decoded at once. Lower it when other processes need the same CPUs."""
    waiting: Annotated[int, Field(ge=0, le=10_000)] = 32
    """Requests that may wait for a decoder. Raise it for bursts; each may hold max_upload_bytes of memory."""
    max_upload_bytes: Annotated[int, Field(ge=1024)] = 25 * 1024 * 1024
    """Bytes of a request body; OpenAI's limit by default."""
    max_audio_seconds: Annotated[float, Field(gt=0)] = 300.0
    """Longest recording; a longer one would hold a decoder for too long."""
    upload_seconds: Annotated[float, Field(gt=0)] = 30.0
    """Time in which a body must arrive. Raise it for clients on slow lines."""
    lame_duck_seconds: Annotated[float, Field(ge=0)] = 5.0
    """After SIGTERM: how long new requests are still served while load balancers take this server off their lists."""
    drain_seconds: Annotated[int, Field(ge=0)] = 20
    """After that: how long requests in flight may still take."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severe messages that are logged."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> Self:
        """The settings in `environment`; pydantic.ValidationError names the variable's field and what is wrong with it."""
        variables = {field: environment.get(PREFIX + field.upper()) for field in cls.model_fields}
        return cls.model_validate({field: value for field, value in variables.items() if value})
