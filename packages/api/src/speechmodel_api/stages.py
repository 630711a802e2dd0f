"""Input and output documents of the stage programs.

A stage program reads one input document (JSON) from the environment variable `STAGE_INPUT`. It
writes progress records (progress.py) to stdout and its log to stderr. It writes one `StageResult`
(JSON, at most `RESULT_LIMIT` bytes) to the file that `STAGE_RESULT` names, which is the termination
log of the container in Kubernetes. It exits with one of the codes in exit_codes.py.

Every stage owns folders of the workspace that are named after keys (workspace.py). A finished
folder holds a `manifest.json` (Manifest), which is written last. A stage that finds a complete
folder of its own key reports the recorded output and exits 0.
"""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import Field

from speechmodel_api.augmentation import AS_BEFORE
from speechmodel_api.base import Document
from speechmodel_api.dataset_spec import (
    Annotations,
    DatasetFormat,
    InvalidSamplePolicy,
    Negatives,
    Numbers,
    Split,
    Synthesis,
)
from speechmodel_api.decoding_spec import ForeignSpeech, GrammarSource, Scorer
from speechmodel_api.learning import LearningSettings
from speechmodel_api.measures import ErrorRate
from speechmodel_api.schema import S3Location
from speechmodel_api.tflite import PublishedTflite, TfliteFile
from speechmodel_api.training_spec import (
    Augmentations,
    Checkpoints,
    EarlyStop,
    Hyperparameters,
    Precision,
    ReduceOnPlateau,
    Schedule,
    ScheduleType,
)

INPUT_VARIABLE = "STAGE_INPUT"
RESULT_VARIABLE = "STAGE_RESULT"
TERMINATION_LOG = "/dev/termination-log"
"""The file whose content Kubernetes shows in the status of a container that ended."""
RESULT_LIMIT = 2000
"""Largest size of a StageResult in bytes of UTF-8. The kubelet cuts a termination log at 4096
bytes, and those of a pod's containers at 12 kB together."""

Digest = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]
"""A SHA-256 digest in hexadecimal."""
Key = Annotated[str, Field(pattern="^[0-9a-f]{8}$")]
"""A key as keys.py computes it."""


class StageName(StrEnum):
    """The stages in the order in which they run."""

    PREPARE = "prepare"
    DOWNLOAD = "download"
    TRAIN = "train"
    CONVERT = "convert"
    EVALUATE = "evaluate"
    PUBLISH = "publish"
    COMPARE = "compare"


class Kept(Document):
    """The parts of a workspace that stay when it is put in order."""

    folders: tuple[str, ...]
    """Folders that the spec refers to, relative to the workspace."""
    models: tuple[Digest, ...] = ()
    """Digests of models that are served."""
    seconds: Annotated[int, Field(ge=0)]
    """Time for which other folders stay after they were first found unused."""


class VolumeUse(Document):
    """The use of the volume that holds the workspace."""

    used_bytes: int
    free_bytes: int


class StageInput(Document):
    """Input of a stage that works on the workspace."""

    key: Key
    """Key of the stage, which names its folder."""
    attempt: Annotated[int, Field(ge=1)]
    """Fencing number: of two writers with the same owner, the one with the higher attempt wins."""
    owner: str = ""
    """UID of the SpeechModel. A new owner always takes over, because its predecessor was
    deleted."""
    workspace: PurePosixPath
    """Absolute path of the folder of this model on the claim."""
    kept: Kept | None = None
    """The parts of the workspace that stay when it is put in order before the stage. None leaves it as it is."""


class Decoding(Document):
    """Settings of the decoder, which are measured and served together with the model."""

    beam_width: Annotated[int, Field(ge=1)] = 500
    """Number of beams to keep in free text. 500 is the default of DeepSpeech 0.9.3."""
    grammar: GrammarSource = GrammarSource.FREE_TEXT
    """Origin of the phrases that the model may answer with."""
    phrases: tuple[str, ...] = ()
    """Phrases and templates without an intent, for a grammar of phrases."""
    intents: dict[str, tuple[str, ...]] = {}
    """Phrases and templates by the name of their intent, for a grammar of phrases. Empty in documents from before
    there were intents."""
    lists: dict[str, tuple[str, ...]] = {}
    """Values of the lists that the templates refer to, by name."""
    foreign_speech: ForeignSpeech = ForeignSpeech.TRANSCRIBE
    """The answer to speech that is unlike the dataset, in free text. Transcribe with a grammar."""
    scorer: Scorer | None = None
    """Language model for free text. None with a grammar."""


class Calibration(Document):
    """How the score of a phrase becomes a decision and a confidence. 0 is the best score."""

    threshold: float
    """Scores below it are rejected: 1 % of the right answers of the dev clips are there."""
    offset: float
    """Logit of the confidence of a phrase is offset - slope * log(0.001 - score)."""
    slope: float
    word_offset: float
    """The same for a word and its own score."""
    word_slope: float
    speech_time: bool = False
    """True for scores that are the log probability of the phrase for each character, times the seconds of
    speech for each character. False for the log probability alone, as in versions from before."""


class GrammarDecoder(Document):
    """The files and numbers by which a model is decoded with a grammar, as evaluate measured them."""

    acoustic_sha256: Digest
    """Digest of acoustic.onnx, which convert made."""
    grammar_sha256: Digest
    """Digest of grammar.zip, the compiled grammar."""
    calibration: Calibration


class Rejection(Document):
    """The file and the number by which foreign speech is rejected in free text."""

    acoustic_sha256: Digest
    """Digest of acoustic.onnx, whose frames score the text."""
    threshold: float
    """Texts whose log probability for each character is below it are rejected: 1 % of the right texts
    of the dev clips are there."""


class WeighedScorer(Document):
    """A scorer with the weights that free text is decoded with."""

    scorer_sha256: Digest
    alpha: float
    """Weight of the language model."""
    beta: float
    """Reward of each word."""


class NativeEngine(Document):
    """The network of the engine Native, and how its answers compare with those of the engine DeepSpeech."""

    quantised_sha256: Digest
    clips: int
    """Clips that both engines answered."""
    differences: int
    """Clips that they answered differently. The report names them."""


class PrepareInput(StageInput):
    """prepare: turn recordings with transcripts into 16 kHz mono 16-bit clips in three parts."""

    stage: Literal[StageName.PREPARE] = StageName.PREPARE
    source: PurePosixPath
    """Folder that holds the dataset: a claim, mounted read-only, or the folder that the bucket is
    downloaded to."""
    bucket: S3Location | None = None
    """Bucket that holds the dataset. None for a claim."""
    pinned: bool = False
    """True when `dataset.revision` names the state of the buckets. Otherwise a finished dataset is made
    again after a change of a bucket's listing."""
    format: DatasetFormat
    language: str
    """BCP 47 tag, which also names the folder below `original/`."""
    split: Split
    alphabet: tuple[str, ...] = ()
    """Labels in order. If empty, they are derived from the transcripts."""
    invalid_sample_policy: InvalidSamplePolicy = InvalidSamplePolicy.REJECT
    name_pattern: str = ""
    """Pattern of the file names. If empty, the layout is found."""
    annotations: Annotations = Annotations.REJECT
    numbers: Numbers = Numbers.REJECT
    speech_level: float | None = None
    """Loudness that the speech of every clip is brought to, in dBFS. None leaves clips as they
    are."""
    negatives: Negatives = Negatives(built_in=False)
    """Its `source` is always None: the two fields below replace it. Documents from before negatives existed lack this
    field."""
    other_speech: PurePosixPath | None = None
    """Folder of `dataset.negatives.source`: a claim, mounted read-only, or the folder that its bucket is downloaded to.
    None without one."""
    other_speech_bucket: S3Location | None = None
    """Bucket of `dataset.negatives.source`, whose keys are in variables with the prefix NEGATIVES_. None for a claim."""
    synthesize: Synthesis | None = None
    """Synthetic takes to add to training. None for none."""


class PrepareOutput(Document):
    """Digests and sizes of the prepared dataset."""

    dataset_digest: Digest
    """Digest of the audio, transcript and part of every clip, and of the alphabet. Equal digests
    train equal models."""
    alphabet_digest: Digest
    labels: int
    """Number of labels in the alphabet, without the CTC blank."""
    train_clips: int
    dev_clips: int
    test_clips: int
    seen_clips: int = 0
    """Number of clips that are held out of speakers in training, to measure known voices."""
    audio_seconds: float
    """Length of all clips together, in seconds."""
    negatives: int = 0
    """Number of negatives, in training and in their own part. The clips do not include them."""
    synthesized: int = 0
    """Number of synthetic takes in training. The clips do not include them."""
    rejected: int = 0
    """Number of rejected rows. report.json lists each with its reason."""
    normalised: int = 0
    """Number of transcripts that a rule changed. report.json lists each with its rules."""
    speakers: int | None = None
    """Number of known speakers. 0 when nothing names them, None before they were counted."""
    speakers_guessed: bool = False
    """True when the speakers are guessed from the names of files or folders."""
    speakers_digest: Digest | None = None
    """Digest of the speaker of every clip. None when no speaker is known, and before it was recorded."""
    unseen_test_speakers: int | None = None
    """Number of speakers in the test part who are not in the training part."""
    speech_level: float | None = None
    """Loudness of the speech in every clip, in dBFS. None for recordings as they are."""
    listing_digest: Digest | None = None
    """Digest of key, size and ETag of every object in the buckets of the dataset and of other speech. None if both are
    on claims."""
    given_alphabet: tuple[str, ...] | None = None
    """Characters of `dataset.alphabet`. Empty when the alphabet is derived, None before it was recorded."""
    annotations: Annotations | None = None
    """How text in brackets is used. None before it was recorded."""
    numbers: Numbers | None = None
    """How digits are used. None before it was recorded."""
    note: str = ""
    """Sentence for people that counts the rejected rows and the recordings without a row, and
    quotes the first of each. Empty without any."""


class DownloadInput(StageInput):
    """download: download the checkpoint that training begins with."""

    stage: Literal[StageName.DOWNLOAD] = StageName.DOWNLOAD
    bucket: S3Location
    folder: PurePosixPath
    """Folder of the workspace for the files. Earlier downloads from the same bucket and prefix are in it."""


class DownloadOutput(Document):
    """Size of a downloaded checkpoint."""

    objects: int
    """Number of objects below the prefix."""
    size_bytes: int
    listing_digest: Digest
    """Digest of key, size and ETag of every object."""


class TrainInput(StageInput):
    """train: train on a prepared dataset, save checkpoints and export the frozen graph."""

    stage: Literal[StageName.TRAIN] = StageName.TRAIN
    data_key: Key
    dataset_digest: Digest
    lineage: Key
    """Key that names the checkpoint folder. Runs with the same lineage continue each other."""
    language: str
    max_epochs: Annotated[int, Field(ge=1)] | None = None
    """None to choose it from the dataset, as every hyperparameter that is None."""
    hyperparameters: Hyperparameters
    schedule: Schedule = Schedule(type=ScheduleType.CONSTANT)
    """A document without it is from before schedules existed."""
    init_from: PurePosixPath | None = None
    """Path of the checkpoint that training begins with. None for random weights."""
    drop_layers: int = 0
    """Layers of that checkpoint, counted from the output, that begin with random weights."""
    early_stop: EarlyStop | None = None
    reduce_on_plateau: ReduceOnPlateau | None = None
    augmentation: Augmentations = AS_BEFORE
    """Auto, or the entries of `training.augmentation`. A document without it is from before the
    field existed."""
    checkpoints: Checkpoints
    precision: Precision = Precision.AUTO
    workers: Annotated[int, Field(ge=1)] = 1
    """Number of programs that train together on this document. For more than one, the environment variable
    TF_CONFIG names the address of each, and which of them a program is. The first gives the TrainOutput."""


class TrainOutput(Document):
    """Result of training, and the digest of the exported graph."""

    epoch: int
    """Finished epochs of the lineage."""
    step: int
    """Finished optimizer steps of the lineage."""
    loss: float
    """Mean CTC loss per training clip in the last epoch."""
    dev_loss: float | None = None
    """Mean CTC loss per dev clip after the last epoch. None without dev clips."""
    dev_wer: float | None = None
    """Word error rate on the dev clips after the last epoch, by greedy decoding. None without dev clips, and from a
    trainer from before it was measured."""
    exported_epoch: int
    """Epoch whose weights were exported: the one with the lowest dev loss, or the last without dev
    clips."""
    trained_epochs: int
    """Number of epochs trained for this key. 0 means that maxEpochs had already been reached."""
    stopped_early: bool = False
    """True when the dev loss did not improve any more before maxEpochs was reached."""
    settings: LearningSettings | None = None
    """Values that training used. None from a trainer from before they were reported."""
    graph_sha256: Digest
    graph_bytes: int


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


class ConvertOutput(Document):
    """Digests and size of the memory-mapped graph and of the acoustic model."""

    model_sha256: Digest
    size_bytes: int
    acoustic_sha256: Digest | None = None
    """Digest of acoustic.onnx, the same network for decoding by a grammar. None for conversions from
    before there was one."""
    quantised_sha256: Digest | None = None
    """Digest of acoustic.int8.onnx, the same network in 8-bit integers. None for conversions from before
    there was one."""
    tflite: TfliteFile | None = None
    """The same network for TFLite. None unless the manifest asks for it."""


class EvaluateInput(StageInput):
    """evaluate: measure WER and CER on the test clips, with the runtime of the server, and what its
    grammar accepts and rejects.
    """

    stage: Literal[StageName.EVALUATE] = StageName.EVALUATE
    train_key: Key | None = None
    """Key that names the folder of the training history, for report.html. None shows no curves."""
    convert_key: Key
    model_sha256: Digest
    acoustic_sha256: Digest | None = None
    """Needed unless the model is decoded as free text."""
    quantised_sha256: Digest | None = None
    """Network of the engine Native, which is compared with the other one. None compares nothing."""
    data_key: Key
    dataset_digest: Digest
    decoding: Decoding
    source: PurePosixPath | None = None
    """Folder of the dataset, mounted read-only, if decoding has a scorer, or text for one, in it. None without."""
    language: str = ""
    """BCP 47 tag, by which the text of a scorer is normalised."""


class GrammarFigures(Document):
    """Counts of test clips by the answer that a grammar, or rejection in free text, gives."""

    right: int
    """Phrases that were recognised. Every transcript is a phrase in free text."""
    wrong: int
    """Phrases that were taken for another one."""
    rejected: int
    """Phrases for which the answer was nothing."""
    foreign: int = 0
    """Clips of anything but phrases: negatives, and transcripts outside of the grammar."""
    accepted: int = 0
    """Foreign clips for which the answer was a text."""
    calibration_error: float | None = None
    """Expected calibration error of the confidences, from 0 to 1. None without clips that fit a
    phrase."""

    @property
    def phrases(self) -> int:
        """Clips of phrases."""
        return self.right + self.wrong + self.rejected


class EvaluateOutput(Document):
    """Error rates on the test clips. report.json holds the transcript of every clip."""

    clips: int
    """Number of test clips. 0 when the split left none."""
    wer: float | None = None
    """Word errors divided by reference words over all clips of phrases, as the model is served: with
    its grammar if it has one. None without test clips."""
    cer: float | None = None
    """Character errors divided by reference characters over the same clips. None without test
    clips."""
    wer_unseen_speakers: ErrorRate | None = None
    """Word error rate on test clips of speakers who are not in training. None without any."""
    wer_seen_speakers: ErrorRate | None = None
    """Word error rate on held-out clips of speakers who are in training. None without any."""
    free_text_wer: float | None = None
    """Word error rate without the grammar, or without rejection. None for a model with neither, and
    without test clips."""
    grammar: GrammarDecoder | None = None
    """The files and numbers that decode with the grammar. None for free text."""
    rejection: Rejection | None = None
    """The file and the number that reject foreign speech in free text. None when it is transcribed, and
    with a grammar."""
    scorer: WeighedScorer | None = None
    """The scorer with its weights, given or tuned. None without one."""
    native: NativeEngine | None = None
    """The engine Native. None with a scorer, and for conversions without its network."""
    figures: GrammarFigures | None = None
    """Counts of test clips by the answer with the grammar or the rejection. None with neither, and without test
    clips."""
    report_sha256: Digest
    page_sha256: Digest | None = None
    """Digest of report.html. None for evaluations from before there was one."""
    selftest_sha256: Digest
    """Digest of selftest.wav, the clip that a server transcribes before it reports ready."""


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
    signed_by: Digest | None = None
    """Digest of the public key that verifies the signature. None for a version that is not signed."""


class CompareInput(StageInput):
    """compare: measure a published version on the test clips of a new one, as it is served."""

    stage: Literal[StageName.COMPARE] = StageName.COMPARE
    data_key: Key
    dataset_digest: Digest
    evaluate_key: Key
    """Key of the evaluation of the new version, whose report names the clips."""
    report_sha256: Digest
    version: Key
    """The published version."""
    target: S3Location
    """Where the version is."""
    version_uri: str
    version_sha256: Digest
    public_keys: tuple[str, ...] | None = None
    """Public keys in PEM, one of which must verify the signature of the version. None verifies none."""


class CompareOutput(Document):
    """Error rate of the published version on the test clips that the new one was measured on."""

    version: Key
    version_sha256: Digest
    clips: int
    wer: float | None = None
    """Word errors divided by reference words. None without test clips."""


class FetchInput(Document):
    """fetch: download a published version to a local folder and verify it.

    It runs as the init container of server pods. The folder then holds `output_graph.pbmm`,
    `selftest.wav` and `version.json`, which is written last. It holds `acoustic.onnx` for a version
    that rejects, `acoustic.int8.onnx` for one that the engine Native can decode, `grammar.zip` for
    one with a grammar, and `lm.scorer` for one with a scorer, `model.sig` if it was verified, and
    `versions.json` if the versions were listed. `verified.json` tells the server of the same pod that
    the digests were compared.
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


class StageError(Document):
    """Reason and explanation of a failure."""

    reason: Annotated[str, Field(pattern="^[A-Z][A-Za-z0-9]*$")]
    """One CamelCase word for a condition, such as InvalidDataset (reasons.py)."""
    message: str
    """One sentence that says what happened, to which file or field, and what to do."""


Output = TypeVar("Output", bound=Document)


class StageResult(Document, Generic[Output]):
    """Content of the termination log: either an output or an error."""

    output: Output | None = None
    error: StageError | None = None
    storage: VolumeUse | None = None
    """Use of the workspace's volume at the end. None without a workspace, and when it cannot be read."""


class ManifestFile(Document):
    """One file of a finished folder."""

    size_bytes: int
    sha256: Digest


class Manifest(Document, Generic[Output]):
    """`manifest.json`: the files that a finished folder holds, and the output of its stage."""

    files: dict[str, ManifestFile]
    """Files by path relative to the folder."""
    output: Output
