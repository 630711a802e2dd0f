"""The TFLite file of a version, for deepspeech-tflite 0.9.3 and stt."""

from typing import Annotated

from pydantic import Field

from speechmodel_api.base import ApiModel


class TfliteFile(ApiModel):
    """The model as a TFLite file."""

    sha256: Annotated[str, Field(max_length=256)]
    """SHA-256 digest of the file, in hexadecimal."""
    size_bytes: int
    """Size of the file, in bytes."""


class PublishedTflite(TfliteFile):
    """The model as a TFLite file, and where it is."""

    uri: Annotated[str, Field(max_length=2048)]
    """Address of the file, as s3://bucket/key."""
