"""Input and output of convert."""

from typing import Annotated, Literal

from pydantic import Field

from speechmodel_api.base import Document
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Digest, Key, StageInput, StageName
from speechmodel_api.tflite import TfliteFile


class PublishedModel(Document):
    """A file with a network of a published version."""

    target: S3Location
    """The bucket."""
    uri: str
    sha256: Digest
    size_bytes: int


class ConvertInput(StageInput):
    """convert: convert the frozen graph (.pb) to a memory-mapped one (.pbmm), and to an acoustic
    model for ONNX Runtime.
    """

    stage: Literal[StageName.CONVERT] = StageName.CONVERT
    train_key: Key
    graph_sha256: Digest
    data_key: Key
    """Key of the dataset whose clips the converted model is tried on."""
    beam_width: Annotated[int, Field(ge=1)] | None = None
    """Beam width of the trial. None for the graph's own."""
    tflite: bool = False
    """Also convert to TFLite."""
    published: PublishedModel | None = None
    """The same network in a bucket, from which the graph is made again if it is not in the workspace. None if no version has it."""
    phrase_head_sha256: Digest | None = None
    """Digest of phrase_head.npz, from which phrases.onnx is made. None makes none."""
    published_phrases: PublishedModel | None = None
    """phrases.onnx in the same bucket, which is taken if the head is not in the workspace. None if the version does not decode
    by it."""


class ConvertOutput(Document):
    """Digests and size of the memory-mapped graph, and digests of the networks for ONNX Runtime."""

    model_sha256: Digest
    size_bytes: int
    acoustic_sha256: Digest | None = None
    """Digest of acoustic.onnx, the same network for decoding by a grammar. None for conversions from
    before there was one."""
    quantised_sha256: Digest | None = None
    """Digest of acoustic.int8.onnx, the same network in 8-bit integers. None for conversions from before
    there was one."""
    phrases_sha256: Digest | None = None
    """Digest of phrases.onnx, the phrase network. None if training made no head for one, and for conversions from before
    there was one."""
    tflite: TfliteFile | None = None
    """The same network for TFLite. None unless the manifest asks for it."""
