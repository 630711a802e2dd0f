"""What each stage program is given and what it gives back.

A stage program reads one input document (JSON) from the environment variable `STAGE_INPUT`, writes progress records
(progress.py) to stdout, logs for people to stderr, and one `StageResult` (JSON, at most `RESULT_LIMIT` bytes) to the file named
by `STAGE_RESULT`, in Kubernetes the container's termination log. It ends with one of exit_codes.py.

The workspace is a folder on the claim; below it every stage owns folders named after keys:

    data/<prepare key>/          clips/*.wav, train.csv, dev.csv, test.csv, alphabet.txt, registry.csv, report.json
    checkpoints/<lineage>/       what the trainer resumes from
    exports/<train key>/         output_graph.pb, training.csv
    exports/<convert key>/       output_graph.pbmm
    reports/<evaluate key>/      report.json, selftest.wav

A finished folder holds a `manifest.json` (Manifest), written last: a stage that finds its own complete one gives the recorded
output again and exits 0.
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from speechmodel_api.base import Document
from speechmodel_api.spec import Checkpoints, DatasetFormat, Hyperparameters, InvalidSamplePolicy, S3Location, Split

INPUT_VARIABLE = "STAGE_INPUT"
RESULT_VARIABLE = "STAGE_RESULT"
RESULT_LIMIT = 2000
"""Bytes of UTF-8; the kubelet cuts termination logs at 4096 and shares 12 kB among a pod's containers."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A sha256 in hexadecimal."""
Key = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""See keys.py."""


class StageName(StrEnum):
    """The stages in the order in which they run."""

    PREPARE = "prepare"
    TRAIN = "train"
    CONVERT = "convert"
    EVALUATE = "evaluate"
    PUBLISH = "publish"


class StageInput(Document):
    """What every stage on the workspace is told."""

    key: Key
    """The stage's own key: names its folder."""
    attempt: Annotated[int, Field(ge=1)]
    """Fencing number: of two writers of one owner the one with the higher attempt is right."""
    owner: str = ""
    """uid of the SpeechModel; another owner takes over whatever the attempt, since its predecessor was deleted."""
    workspace: PurePosixPath
    """The model's folder on the claim; absolute."""


class Decoding(Document):
    """How the runtime's beam search decodes: part of what is measured and of what is served."""

    beam_width: Annotated[int, Field(ge=1)] = 500
    """Beams kept; 500 is the DeepSpeech 0.9.3 default."""


class PrepareInput(StageInput):
    """prepare: a folder of recordings and transcripts -> a dataset of 16 kHz mono 16-bit clips in three parts."""

    stage: Literal[StageName.PREPARE] = StageName.PREPARE
    source: PurePosixPath
    """Folder that holds the dataset; read only."""
    format: DatasetFormat
    language: str
    """Sub-folder of `original/` and language tag."""
    split: Split
    alphabet: tuple[str, ...] = ()
    """Given labels; empty: derived from the transcripts."""
    invalid_sample_policy: InvalidSamplePolicy = InvalidSamplePolicy.REJECT


class PrepareOutput(Document):
    """What prepare found."""

    dataset_digest: Digest
    """Over every clip's audio digest, transcript and part, and the alphabet: two equal digests train the same."""
    alphabet_digest: Digest
    labels: int
    """Labels in the alphabet, the blank not counted."""
    train_clips: int
    dev_clips: int
    test_clips: int
    audio_seconds: float
    rejected: int = 0
    """Rows left out; report.json says which and why."""
    normalised: int = 0
    """Transcripts that a rule changed; report.json says which and how."""
    note: str = ""
    """One sentence for people when rows were rejected: how many, and the first of them by name."""


class TrainInput(StageInput):
    """train: a dataset -> checkpoints of a lineage, and the exported graph."""

    stage: Literal[StageName.TRAIN] = StageName.TRAIN
    data_key: Key
    dataset_digest: Digest
    lineage: Key
    """Names the checkpoint folder; equal lineages continue each other."""
    language: str
    max_epochs: Annotated[int, Field(ge=1)]
    hyperparameters: Hyperparameters
    checkpoints: Checkpoints


class TrainOutput(Document):
    """What training came to."""

    epoch: int
    """Epochs that the exported weights' lineage has finished."""
    step: int
    loss: float
    """Mean CTC loss per clip over the last epoch."""
    dev_loss: float | None = None
    """None without dev clips."""
    exported_epoch: int
    """The epoch whose weights were exported: the best on dev, or the last without dev clips."""
    trained_epochs: int
    """Epochs that were trained towards this target; 0 means that there was nothing left to train."""
    graph_sha256: Digest
    graph_bytes: int


class ConvertInput(StageInput):
    """convert: a frozen graph (.pb) -> a memory-mapped one (.pbmm)."""

    stage: Literal[StageName.CONVERT] = StageName.CONVERT
    train_key: Key
    graph_sha256: Digest
    data_key: Key
    """Whose clips the converted model is tried on."""


class ConvertOutput(Document):
    """The converted file."""

    model_sha256: Digest
    size_bytes: int


class EvaluateInput(StageInput):
    """evaluate: WER and CER of the converted file on the test clips, with the runtime that serves it."""

    stage: Literal[StageName.EVALUATE] = StageName.EVALUATE
    convert_key: Key
    model_sha256: Digest
    data_key: Key
    dataset_digest: Digest
    decoding: Decoding


class EvaluateOutput(Document):
    """The figures; the transcript of every clip lies in report.json."""

    clips: int
    """Test clips; 0 when the split left none."""
    wer: float | None = None
    """Word errors / reference words over all clips; None without test clips."""
    cer: float | None = None
    """Character errors / reference characters over all clips; None without test clips."""
    report_sha256: Digest
    selftest_sha256: Digest
    """Of selftest.wav, the clip that a server must transcribe before it calls itself ready."""


class PublishInput(StageInput):
    """publish: model and report -> S3, content-addressed and read back."""

    stage: Literal[StageName.PUBLISH] = StageName.PUBLISH
    convert_key: Key
    model_sha256: Digest
    evaluate_key: Key
    report_sha256: Digest
    version: Key
    decoding: Decoding
    language: str
    target: S3Location
    base: str
    """Key prefix of this model: `<prefix>/<namespace>/<name>/<uid>`, without a slash at the end."""


class PublishOutput(Document):
    """Where the version lies."""

    version: Key
    uri: str
    """`s3://<bucket>/<base>/<model sha256>/output_graph.pbmm`."""
    version_uri: str
    """`s3://<bucket>/<base>/<model sha256>/<version>/version.json`: a VersionManifest."""
    version_sha256: Digest
    """Of version.json."""


class VersionManifest(Document):
    """`version.json` beside a published model: all that a server needs to know. Immutable."""

    version: Key
    language: str
    decoding: Decoding
    model_uri: str
    model_sha256: Digest
    model_bytes: int
    selftest_uri: str
    selftest_sha256: Digest
    selftest_text: str
    """What the runtime heard in the self-test clip when it was evaluated; may be empty for a model that learned nothing yet."""
    report_uri: str
    wer: float | None = None
    cer: float | None = None


class FetchInput(Document):
    """fetch: a published version -> a local folder, verified. Runs as the inference pod's init container.

    The folder then holds `output_graph.pbmm`, `selftest.wav` and, written last, `version.json`.
    """

    stage: Literal["fetch"] = "fetch"
    target: S3Location
    version_uri: str
    version_sha256: Digest
    folder: PurePosixPath


class PurgeInput(Document):
    """purge: removes every object below a prefix. Runs when a SpeechModel with deletionPolicy Delete goes."""

    stage: Literal["purge"] = "purge"
    target: S3Location
    base: str
    """The deleted model's `<prefix>/<namespace>/<name>/<uid>`; only keys below `<base>/` are touched."""


class PurgeOutput(Document):
    """What was removed."""

    objects: int


class StageError(Document):
    """Why a stage failed."""

    reason: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")]
    """CamelCase, fit for a condition: InvalidDataset, UploadFailed, ..."""
    message: str
    """One sentence: what happened, to which file or field, and what to do."""


Output = TypeVar("Output", bound=Document)


class StageResult(Document, Generic[Output]):
    """The termination log: either an output or an error."""

    output: Output | None = None
    error: StageError | None = None


class ManifestFile(Document):
    """One file of a finished folder."""

    size_bytes: int
    sha256: Digest


class Manifest(Document, Generic[Output]):
    """`manifest.json`: what a finished folder must hold, and the output that its stage gave."""

    files: dict[str, ManifestFile]
    """By path relative to the folder."""
    output: Output
