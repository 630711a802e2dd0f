"""`SpeechModel.status`: the observed state of a speech recogniser.

Attribute docstrings are the descriptions that `kubectl explain` shows. No field has a default: a
field that is not known yet is absent.
"""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.learning import LearningSettings
from speechmodel_api.measures import ErrorRate
from speechmodel_api.phrase_network import PublishedPhrases
from speechmodel_api.serving_spec import Canary, Engine
from speechmodel_api.stages.contract import StageName
from speechmodel_api.tflite import PublishedTflite
from speechmodel_api.times import Time

Message = Annotated[str, Field(max_length=4096)]
Short = Annotated[str, Field(max_length=256)]

HISTORY_LENGTH = 20
"""Number of published versions that the status keeps."""


class Phase(StrEnum):
    """Summary of the conditions for people. No code reads it."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    DOWNLOADING = "Downloading"
    TRAINING = "Training"
    CONVERTING = "Converting"
    EVALUATING = "Evaluating"
    PUBLISHING = "Publishing"
    COMPARING = "Comparing"
    DEPLOYING = "Deploying"
    READY = "Ready"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(StrEnum):
    """Types of conditions. All but the last two have positive polarity: True is the desired state."""

    DATASET_READY = "DatasetReady"
    TRAINED = "Trained"
    PUBLISHED = "Published"
    PROMOTED = "Promoted"
    SERVING = "Serving"
    READY = "Ready"
    RECONCILING = "Reconciling"
    """Present and True while the operator works towards the spec (kstatus)."""
    STALLED = "Stalled"
    """Present and True while the operator cannot go on before a person acts (kstatus)."""


class Condition(ApiModel):
    """One aspect of the current state of the SpeechModel, as in every Kubernetes API."""

    type: Annotated[str, Field(max_length=64)]
    """Type of the condition: DatasetReady, Trained, Published, Promoted, Serving, Ready, Reconciling or
    Stalled."""
    status: Literal["True", "False", "Unknown"]
    """Status of the condition: True, False or Unknown. True is the desired state, except for Reconciling
    and Stalled, which are absent in the desired state."""
    observed_generation: int | None = None
    """Value of metadata.generation that the condition was computed for. If it is lower than the
    current one, the condition does not reflect the latest edit yet."""
    last_transition_time: Time
    """Last time at which the status changed. Changes of the reason or the message do not count."""
    reason: Annotated[str, Field(max_length=256, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Reason for the current status, as one CamelCase word that programs can compare."""
    message: Message
    """Human-readable explanation of the reason. If the user must act, it says what to do."""


class StageState(StrEnum):
    """State of the newest run of a stage."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    WAITING = "Waiting"
    """The run failed and is retried at retryAt, or it was stopped by a suspension or an edit."""
    FAILED = "Failed"
    """The run failed and is not retried until the spec or speechops.dev/retry changes."""


class StageStatus(ApiModel):
    """Record of the newest run of a stage. The stage runs again only when the spec asks for a key
    that has not succeeded."""

    name: StageName
    """Name of the stage: prepare, download, train, convert, evaluate, publish or compare."""
    key: Short
    """Hash of everything that determines the result of the run. A stage that succeeded for a key
    does not run for it again."""
    state: StageState
    """State of the run: Running, Succeeded, Waiting or Failed. A waiting stage is retried at
    retryAt, or was stopped by a suspension or an edit. A failed stage is retried after an edit of
    the spec or a new value of the annotation speechops.dev/retry."""
    attempt: int
    """Number of the newest attempt, which is also the last part of its Job's name. It only
    increases, and distinguishes an old trainer from a new one."""
    failures: int
    """Number of consecutive failures. A success or a finished epoch resets the count. The stage
    fails when it reaches spec.training.maxAttempts."""
    job: Short | None = None
    """Name of the Job of the newest attempt."""
    claim_uid: Short | None = Field(default=None, alias="claimUID")
    """UID of the workspace claim that holds the files of the run. If the workspace is now another
    claim, the files are created again when a later stage needs them."""
    started_at: Time | None = None
    """Time at which the newest Job was created."""
    finished_at: Time | None = None
    """Time at which the run succeeded, failed or was stopped. Absent before the first attempt
    ends."""
    retry_at: Time | None = None
    """Earliest time of the next attempt. Absent unless the stage waits after a failure."""
    active_seconds: int | None = None
    """Total running time of the finished attempts for this key, in seconds. It is compared with
    spec.training.activeDeadlineSeconds."""
    pod_seconds: int | None = None
    """Total running time of the pods of these attempts, in seconds: that of each attempt times the
    number of its workers."""
    epoch: int | None = None
    """Number of finished epochs when failures was last reset. Set for the stage train only."""
    settings: Short | None = None
    """Hash of the pod settings of the newest Job. When they are edited, an unfinished Job is
    replaced and a failed stage is retried."""
    retry_token: Short | None = None
    """Value of the annotation speechops.dev/retry at the newest attempt. Another value retries a
    failed stage."""
    image_failures: int | None = None
    """Number of attempts in a row whose image could not be pulled. The wait before the next attempt
    doubles with each, from five minutes to an hour. Absent after an image was pulled, a retry was
    requested or the stage's input changed."""
    reason: Short | None = None
    """Reason why the stage waits or failed, as one CamelCase word. Absent after a success."""
    message: Message | None = None
    """Human-readable explanation of the reason. Absent after a success."""
    output: Annotated[
        dict[str, Any] | None, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = None
    """Result of the newest success, such as digests, numbers of clips and error rates. Its fields
    depend on the stage."""


class TrainingStatus(ApiModel):
    """Progress of training. It is updated after every epoch, and within long epochs too."""

    epoch: int
    """Number of finished epochs of the current weights."""
    loss: float | None = None
    """Mean CTC loss per training clip in the last finished epoch. During the first epoch, the mean
    over the steps so far."""
    dev_loss: float | None = None
    """Mean CTC loss per dev clip after the last finished epoch. Absent without dev clips."""
    dev_wer: float | None = None
    """Word error rate on the dev clips after the last finished epoch, by greedy decoding without grammar or
    scorer. 0 is best. Absent without dev clips."""
    clips_per_second: float | None = None
    """Training clips per second in the current epoch. After training, the last value."""
    cpu_utilization: float | None = None
    """Share of the trainer's CPU time that it used since the previous report, from 0 to 1, with CoquiSTT that of
    all its processes. Of several workers, that of the first. Absent while no attempt trains."""
    gpu_utilization: float | None = None
    """Share of time, from 0 to 1, in which the trainer's GPU was busy, sampled at the last report (up to
    1 s). With several GPUs in a pod, that of the first, which alone is used; with several workers, that of the first
    worker. Absent without GPUs, with parts of a GPU (MIG), and while no attempt trains."""
    pod_seconds: int | None = None
    """Cost of training: the running time of all attempts together, in seconds, each times the number
    of its workers. Waiting for a node does not count. Absent until training has ended."""
    settings: LearningSettings | None = None
    """Values that training uses. Those that the spec does not set were chosen from the dataset."""
    progress_time: Time | None = None
    """Time at which the trainer reported this progress."""
    estimated_completion_time: Time | None = None
    """Estimated time at which the last epoch will be finished, from the mean speed of the current attempt. Absent until its
    first step (with CoquiSTT, its first epoch) is made, and while no attempt trains."""
    warning: Message | None = None
    """Describes how the training differs from the spec, such as a GPU that it does not use, or a batchSize above the
    number of clips. Absent otherwise."""


class Promotion(ApiModel):
    """The decision whether a version is served."""

    promoted: bool
    """True when the version was chosen to be served."""
    reason: Short
    """Reason for the decision, as one CamelCase word, as in the condition Promoted."""
    message: Message
    """Human-readable explanation, with the figures that decided."""


class ModelStatus(ApiModel):
    """A published version of the model."""

    version: Short
    """Identifies the model file together with its decoding settings, as 8 hexadecimal digits."""
    wer: float | None = None
    """Word error rate on the test clips, as the model is served: word errors divided by reference
    words. 0 is best, and values above 1 are possible. Absent without test clips."""
    cer: float | None = None
    """Character error rate on the test clips: character errors divided by reference characters. 0
    is best. Absent without test clips."""
    wer_unseen_speakers: ErrorRate | None = None
    """Word error rate on clips of speakers who are not in training: what strangers can expect.
    Absent when no speaker is known or all of them are in training."""
    wer_seen_speakers: ErrorRate | None = None
    """Word error rate on held-out clips of speakers who are in training. Absent when no speaker is
    known."""
    free_text_wer: float | None = None
    """Word error rate on the test clips without the grammar, or without rejection. Absent for a model with
    neither."""
    rejected: float | None = None
    """Share of the test clips, from 0 to 1, for which the answer is nothing. With a grammar, only clips
    of its phrases count. Absent for a model without grammar and rejection."""
    false_accepts: float | None = None
    """Share of the negatives, and of test clips that are no phrase of the grammar, from 0 to 1, for
    which the answer is a text. Absent without such clips."""
    false_accepts_recorded: float | None = None
    """The same share for recordings of other speech alone (`dataset.negatives.path` or `source`). The built-in
    negatives are synthetic voices, and say little about people. Absent without such recordings."""
    calibration_error: float | None = None
    """Mean difference between the confidence and the share of right answers on the test clips
    (expected calibration error), from 0 to 1. Absent for free text that was evaluated
    before it had confidences."""
    uri: Annotated[str, Field(max_length=2048)]
    """Address of the model file (.pbmm), as s3://bucket/key."""
    sha256: Short
    """SHA-256 digest of the model file, in hexadecimal."""
    size_bytes: int
    """Size of the model file, in bytes."""
    tflite: PublishedTflite | None = None
    """The same model as a TFLite file. Absent unless publish.tflite is true."""
    phrases: PublishedPhrases | None = None
    """The phrase network (.onnx), which decodes the grammar. If the volume of the workspace is lost, it is taken from here
    too. Absent for free text, and for versions whose grammar the network of the model file decodes."""
    version_uri: Annotated[str, Field(max_length=2048)]
    """Address of version.json, as s3://bucket/key. Servers read this description of the version
    when they start."""
    version_sha256: Short
    """SHA-256 digest of version.json, in hexadecimal. Servers verify it."""
    signed_by: Short | None = None
    """SHA-256 digest of the public key in PEM that verifies the signature of the version, in hexadecimal.
    Absent for a version that is not signed."""
    report: Annotated[str, Field(max_length=2048)] | None = None
    """Address of report.html, as s3://bucket/key. It shows how the version was trained and measured.
    Absent for versions that were published before this report existed."""
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """URL of the S3 service that holds the version. Absent for AWS."""
    region: Short
    """Region of the bucket that holds the version."""
    secret_name: Annotated[str, Field(max_length=253)] | None = None
    """Name of the Secret that servers use to read the version. Absent if it was published without a
    Secret."""
    published_at: Time
    """Time at which the version was published."""
    data_digest: Short | None = None
    """SHA-256 digest of the dataset that it was trained on. Absent for versions from before it was
    recorded."""
    test_clips: Short | None = None
    """Hash of the test clips that the error rates are of. Versions with the same value were measured on
    the same clips. Absent for versions from before it was recorded."""
    epochs: int | None = None
    """Number of epochs that were trained. Absent for versions from before it was recorded."""
    arm64_engines: tuple[Engine, ...] | None = None
    """Values of serving.settings.engine with which servers of the version run on arm64 too. With another value
    they need libdeepspeech and are placed on x86-64 nodes. Absent for versions from before it was recorded,
    whose servers are placed anywhere."""
    promotion: Promotion | None = None
    """Decision whether the version is served. Absent for versions from before it was recorded, and until
    it is made."""

    @property
    def place(self) -> tuple[str, str | None]:
        """The location that identifies the publication. One version may be published in several places."""
        return self.version_uri, self.endpoint


class ServingStatus(ApiModel):
    """The state of the server pods."""

    version: Short | None = None
    """Version that every replica serves. It changes only when all replicas are updated and ready,
    so during a rollout it names the previous version."""
    ready_replicas: int
    """Number of server pods that are ready to transcribe."""


class CanaryState(StrEnum):
    """State of a canary."""

    RUNNING = "Running"
    PASSED = "Passed"
    FAILED = "Failed"


class CanaryServer(ApiModel):
    """The requests that a server of the canary has answered, as it reported last."""

    pod: Annotated[str, Field(max_length=253)]
    """Name of the pod of the server."""
    process_start: float
    """Time at which the server program started, in seconds since 1970. Its counts began at 0 then."""
    requests: int
    """Number of requests that it has answered."""
    failed: int
    """Number of them that failed."""


class CanaryStatus(ApiModel):
    """The newest canary of spec.serving.canary."""

    version: Short
    """Version that the canary tries."""
    state: CanaryState
    """State of the canary: Running, Passed or Failed. A canary that an edit or a pin ended is not shown."""
    settings: Canary
    """Value of spec.serving.canary that it runs with, or that decided."""
    retry_token: Short | None = None
    """Value of the annotation speechops.dev/retry when the canary began. Another value tries a failed
    version again."""
    started_at: Time | None = None
    """Time at which all its servers were ready for the first time. Absent before."""
    requests: int
    """Number of requests that its servers have answered, those of servers that are gone included."""
    failed: int
    """Number of them that failed."""
    servers: tuple[CanaryServer, ...] = ()
    """Counts of the servers that there are, from which the next counts are subtracted."""
    message: Message | None = None
    """The figures that decided. Absent while it runs."""


class StorageStatus(ApiModel):
    """Use of the volume that holds the workspace, at the end of the last stage."""

    used_bytes: int
    """Bytes in use on the whole volume, including files of other programs."""
    free_bytes: int
    """Bytes of the volume that are free."""


class SpeechModelStatus(ApiModel):
    """Observed state of a speech recogniser. The operator writes it; edits are overwritten."""

    observed_generation: int | None = None
    """Value of metadata.generation that the status was computed for. If it is lower than the
    current one, the status does not reflect the latest edit yet."""
    phase: Phase | None = None
    """Summary of the conditions in one word, for people. Programs should read the conditions."""
    progress: Short | None = None
    """Finished epochs and all epochs to train, such as 12/75. Absent before training starts."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """Current conditions. DatasetReady, Trained and Published follow the stages. Promoted is True
    when every replica serves the newest version, and Serving when at least one replica is ready. Ready
    is True when a version is served, also while a newer one is made, or is published if serving is not
    requested. While the spec is not in effect, Reconciling is present, or Stalled if a person must act."""
    workers_ready: Short | None = None
    """Number of training pods that run, and of all training pods, such as 3/4. Training begins when all of
    them run. Absent unless training.numWorkers is above 1 and training is running."""
    training: TrainingStatus | None = None
    """Newest progress of training. Absent before the trainer first reports."""
    storage: StorageStatus | None = None
    """Use of the workspace's volume. Absent before the first stage ends."""
    stages: Annotated[
        tuple[StageStatus, ...],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """Newest run of each stage, for every stage that has run."""
    latest_version: Short | None = None
    """Version that was published last. The servers may still use an earlier one."""
    model: ModelStatus | None = None
    """Version to be served. While an edit is being trained, and after a version that was not promoted,
    this is the previous version. Absent before the first version is promoted."""
    serving: ServingStatus | None = None
    """State of the server pods. Absent unless there is a Deployment."""
    canary: CanaryStatus | None = None
    """Newest canary. Absent without spec.serving.canary, and before the first one."""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """Address of the server inside the cluster. Absent unless there is a Deployment."""
    history: Annotated[tuple[ModelStatus, ...], Field(max_length=HISTORY_LENGTH)] = ()
    """Published versions, newest first, and why each was or was not promoted. The status keeps at most 20,
    the served one always among them. The objects of older versions stay in the bucket."""

    def condition(self, type: ConditionType) -> Condition | None:  # noqa: A002 - the field's name in every Kubernetes API
        """Return the condition of a type, or None before it is first reported."""
        return next((condition for condition in self.conditions if condition.type == type), None)

    @property
    def served(self) -> ModelStatus | None:
        """The version in `model`, as `history` has it.

        An operator of an earlier release replaces the version field by field, so those that it does not know keep what they said of
        another version. It replaces the history whole.
        """
        model = self.model
        return next((entry for entry in self.history if model and entry.place == model.place), model)

    @property
    def in_effect(self) -> bool:
        """True once the spec is in effect: Ready, and neither Reconciling nor Stalled."""
        true = {condition.type for condition in self.conditions if condition.status == "True"}
        return ConditionType.READY in true and not true & {ConditionType.RECONCILING, ConditionType.STALLED}

    def stage(self, name: StageName) -> StageStatus | None:
        """Return the newest run of a stage, or None before its first one."""
        return next((stage for stage in self.stages if stage.name == name), None)
