"""The phrase network of a version, by which its grammar is decoded."""

from typing import Annotated

from pydantic import Field

from speechmodel_api.base import ApiModel


class PublishedPhrases(ApiModel):
    """The phrase network as a file, and where it is."""

    sha256: Annotated[str, Field(max_length=256)]
    """SHA-256 digest of the file, in hexadecimal."""
    size_bytes: int
    """Size of the file, in bytes."""
    uri: Annotated[str, Field(max_length=2048)]
    """Address of the file, as s3://bucket/key."""
