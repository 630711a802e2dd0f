"""The base of every type of this package: camelCase on the wire, snake_case in Python, immutable."""

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel


class ApiModel(BaseModel):
    """A part of the SpeechModel resource.

    Unknown fields are dropped, as the API server does: an older operator must be able to read what a newer CRD lets in.
    Attribute docstrings become the descriptions that `kubectl explain` shows.
    """

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="ignore",
        frozen=True,
        use_attribute_docstrings=True,
    )


class Document(ApiModel):
    """What programs say to each other: stage inputs and outputs, progress records, manifests.

    Jobs outlive operator upgrades, so readers ignore what they do not know and documents only ever gain optional fields.
    """
