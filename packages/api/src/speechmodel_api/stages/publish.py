"""Inputs and outputs of the programs that move a version: publish, fetch before a server, and purge."""

from pathlib import PurePosixPath
from typing import Literal

from speechmodel_api.base import Document
from speechmodel_api.phrase_network import PublishedPhrases
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Digest, Key, StageInput, StageName
from speechmodel_api.stages.decoders import (
    Decoding,
    GrammarDecoder,
    NativeEngine,
    Rejection,
    TextConfidence,
    WeighedScorer,
)
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.stages.train import TrainOutput
from speechmodel_api.tflite import PublishedTflite, TfliteFile


class PublishInput(StageInput):
    """publish: upload the model and its report to S3 by content, and read them back."""

    stage: Literal[StageName.PUBLISH] = StageName.PUBLISH
    train_key: Key | None = None
    """Key that names the folder of the training history. None publishes no history."""
    data_key: Key | None = None
    """Key that names the folder of the dataset, for the speakers of takes. None publishes none."""
    convert_key: Key
    model_sha256: Digest
    evaluate_key: Key
    report_sha256: Digest
    version: Key
    dataset: PrepareOutput | None = None
    """The dataset that the model was trained on, for the card. None publishes no card."""
    training: TrainOutput | None = None
    """The training of the model, for the card. None publishes no card."""
    decoding: Decoding
    grammar: GrammarDecoder | None = None
    """How evaluate decoded with the grammar. None for free text."""
    rejection: Rejection | None = None
    """How evaluate rejected foreign speech in free text. None when it did not."""
    confidence: TextConfidence | None = None
    """How evaluate found the confidences of free text. None when it found none."""
    scorer: WeighedScorer | None = None
    """The scorer that evaluate decoded with. None without one."""
    native: NativeEngine | None = None
    """The engine Native as evaluate compared it. None publishes no network for it."""
    tflite: TfliteFile | None = None
    """The TFLite file as convert made it. None publishes none."""
    language: str
    public_keys: tuple[str, ...] | None = None
    """Public keys in PEM, one of which belongs to the private key in SIGNING_KEY. None signs nothing."""
    target: S3Location
    base: str
    """S3 prefix of this SpeechModel: `<prefix>/<namespace>/<name>/<uid>`, without a slash at the
    end."""


class PublishOutput(Document):
    """Addresses of the published version."""

    version: Key
    uri: str
    """`s3://<bucket>/<base>/<model sha256>/output_graph.pbmm`."""
    version_uri: str
    """`s3://<bucket>/<base>/<model sha256>/<version>/version.json`, a VersionManifest."""
    version_sha256: Digest
    """Digest of version.json."""
    page_uri: str | None = None
    """`s3://<bucket>/<base>/<model sha256>/<version>/report.html`. None for an evaluation from before there was one."""
    tflite: PublishedTflite | None = None
    """`s3://<bucket>/<base>/<its sha256>/output_graph.tflite`. None unless the manifest asks for it."""
    phrases: PublishedPhrases | None = None
    """`s3://<bucket>/<base>/<its sha256>/phrases.onnx`. None unless it decodes the grammar."""
    signed_by: Digest | None = None
    """Digest of the public key that verifies the signature. None for a version that is not signed."""


class FetchInput(Document):
    """fetch: download a published version to a local folder and verify it.

    It runs as the init container of server pods. The folder then holds `output_graph.pbmm`,
    `selftest.wav` and `version.json`, which is written last. It holds `acoustic.onnx` for a version
    that rejects (it is the phrase network if that decodes the grammar), `acoustic.int8.onnx` for one that the engine Native
    can decode or free text with confidences, `grammar.zip` for one with a grammar, and `lm.scorer` for one with a scorer,
    `model.sig` if it was verified, and `versions.json` if the versions were listed. `verified.json` tells the server of the
    same pod that the digests were compared.
    """

    stage: Literal["fetch"] = "fetch"
    target: S3Location
    version_uri: str
    version_sha256: Digest
    public_keys: tuple[str, ...] | None = None
    """Public keys in PEM, one of which must verify the signature of the version. None verifies none."""
    list_versions: bool | None = None
    """True to list the published versions too, for a server that keeps takes. None lists none."""
    folder: PurePosixPath
    cache: PurePosixPath | None = None
    """Folder that server pods share, to keep the files of versions in; `folder` then has links to them. None for none."""


class PurgeInput(Document):
    """purge: delete every object below a prefix, after a deletion with deletionPolicy Delete."""

    stage: Literal["purge"] = "purge"
    target: S3Location
    base: str
    """S3 prefix of the deleted SpeechModel. Only keys below `<base>/` are deleted."""


class PurgeOutput(Document):
    """Result of purge."""

    objects: int
    """Number of deleted objects."""
