"""Base classes of every type in this package: immutable, snake_case, and camelCase in JSON."""

from typing import Any, Self

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of the SpeechModel resource.

    Unknown fields are dropped, as the API server does, so that an older operator can read an object
    that a newer CRD accepts. Attribute docstrings become the descriptions that `kubectl explain` shows (crd.py).
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        defer_build=True,  # a program uses few of these types
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return the model itself, because it never changes. pydantic copies each default that is a model."""
        return self


class Document(ApiModel):
    """A JSON document that programs exchange: stage input and output, progress record or manifest.

    Jobs outlive operator upgrades, so readers ignore unknown fields, and documents only ever gain
    optional ones.
    """
