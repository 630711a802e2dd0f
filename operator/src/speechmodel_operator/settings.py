"""The operator's settings, each from an environment variable SPEECHMODEL_<NAME>; the chart's values set them."""

import os
from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

PREFIX = "SPEECHMODEL_"


class SettingsError(Exception):
    """A setting is missing or wrong; the message names the variable."""


class Settings(BaseModel):
    """What the person who installs the operator decides."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    image_pipeline: str = "docker.io/speechops/pipeline:0.1.0"
    """Image of prepare, convert, evaluate, publish, fetch and purge. Change it for a mirror or a private registry."""
    image_training: str = "docker.io/speechops/training:0.1.0"
    """Image of train. Change it for the CUDA build."""
    image_inference: str = "docker.io/speechops/inference:0.1.0"
    """Image of the server."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] = "IfNotPresent"
    """Always only makes sense with tags that move."""
    namespaces: tuple[str, ...] = ()
    """Namespaces to watch, separated by commas; empty: all. With namespaces given, Roles there are enough."""
    progress_seconds: Annotated[float, Field(ge=1, le=300)] = 10
    """How often the log of a training pod is read. Shorten it to watch small models, lengthen it for hundreds of models."""
    liveness_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, which fails when the reconcile loop stands still; 0: none."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """DEBUG also shows what kopf does."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> "Settings":
        """Read them all; SettingsError names the first wrong variable."""
        given: dict[str, object] = {
            name: environment[PREFIX + name.upper()]
            for name in cls.model_fields
            if PREFIX + name.upper() in environment
        }
        if isinstance(namespaces := given.get("namespaces"), str):
            given["namespaces"] = tuple(part.strip() for part in namespaces.split(",") if part.strip())
        try:
            return cls.model_validate(given)
        except ValidationError as error:
            first = error.errors()[0]
            name = PREFIX + str(first["loc"][0]).upper()
            raise SettingsError(f"{name}={first['input']!r}: {first['msg']}") from error
