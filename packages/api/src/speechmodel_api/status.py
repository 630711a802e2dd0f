"""`SpeechModel.status`: what the operator observed and did. Nothing has a default: what is not known is not there."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field

from speechmodel_api.base import ApiModel
from speechmodel_api.stages import StageName
from speechmodel_api.times import Time

Message = Annotated[str, Field(max_length=4096)]
Short = Annotated[str, Field(max_length=256)]

HISTORY_LENGTH = 20


class Phase(StrEnum):
    """For people: no code reads it."""

    PENDING = "Pending"
    PREPARING = "Preparing"
    TRAINING = "Training"
    CONVERTING = "Converting"
    EVALUATING = "Evaluating"
    PUBLISHING = "Publishing"
    DEPLOYING = "Deploying"
    READY = "Ready"
    SUSPENDED = "Suspended"
    FAILED = "Failed"
    DELETING = "Deleting"


class ConditionType(StrEnum):
    """Positive polarity: True is good."""

    DATASET_READY = "DatasetReady"
    TRAINED = "Trained"
    PUBLISHED = "Published"
    PROMOTED = "Promoted"
    SERVING = "Serving"
    READY = "Ready"


class Condition(ApiModel):
    """As in every Kubernetes API."""

    type: Annotated[str, Field(max_length=64)]
    """DatasetReady, Trained, Published, Promoted, Serving or Ready."""
    status: Literal["True", "False", "Unknown"]
    """Whether it holds."""
    observed_generation: int | None = None
    """The generation of the spec that this was said of."""
    last_transition_time: Time
    """When status last changed."""
    reason: Annotated[str, Field(max_length=256, pattern="^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$")]
    """Why, in one CamelCase word."""
    message: Message
    """Why, for people, and what to do."""


class StageState(StrEnum):
    """Where a stage stands."""

    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    WAITING = "Waiting"
    """Failed and to be tried again at retryAt, or stopped by suspend or by an edit."""
    FAILED = "Failed"
    """Failed for good: waits for an edit or the annotation speechops.dev/retry."""


class StageStatus(ApiModel):
    """The newest run of a stage. `state` Succeeded with the key that the spec asks for is what keeps a stage from running again."""

    name: StageName
    """prepare, train, convert, evaluate or publish."""
    key: Short
    """What it ran for: see docs/architecture.md, Keys."""
    state: StageState
    """Where it stands."""
    attempt: int
    """Number of its newest Job; also the fencing number of the trainer."""
    failures: int
    """Failures in a row without an epoch gained."""
    job: Short | None = None
    """Its newest Job."""
    claim_uid: Short | None = Field(default=None, alias="claimUID")
    """The workspace claim that its files lie on."""
    started_at: Time | None = None
    """When its newest Job was created."""
    finished_at: Time | None = None
    """When it succeeded or failed."""
    retry_at: Time | None = None
    """When it is tried again."""
    active_seconds: int | None = None
    """How long finished attempts for this key ran in all."""
    epoch: int | None = None
    """train: finished epochs when the failures were last counted anew."""
    settings: Short | None = None
    """Hash of the pod settings that its newest Job was made with; a failure waits for an edit of them too."""
    retry_token: Short | None = None
    """The value of the annotation speechops.dev/retry that was last obeyed."""
    reason: Short | None = None
    """Why it failed or waits."""
    message: Message | None = None
    """The same in a sentence."""
    output: Annotated[
        dict[str, Any] | None, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = None
    """What it gave: a stage output document."""


class TrainingStatus(ApiModel):
    """The newest progress of training."""

    epoch: int
    """Finished epochs."""
    loss: float | None = None
    """Mean CTC loss per training clip of the last finished epoch."""
    dev_loss: float | None = None
    """The same on the dev clips."""
    progress_time: Time | None = None
    """When the trainer said so."""
    estimated_completion_time: Time | None = None
    """When maxEpochs will be reached at the present speed."""


class ModelStatus(ApiModel):
    """A published version."""

    version: Short
    """Names the pair of a model and its decoding settings."""
    wer: float | None = None
    """Word error rate on the test clips, 0 is best."""
    cer: float | None = None
    """Character error rate on the test clips."""
    uri: Annotated[str, Field(max_length=2048)]
    """s3:// address of the .pbmm."""
    sha256: Short
    """Of the .pbmm."""
    size_bytes: int
    """Of the .pbmm."""
    version_uri: Annotated[str, Field(max_length=2048)]
    """s3:// address of version.json, which servers start from."""
    version_sha256: Short
    """Of version.json."""
    endpoint: Annotated[str, Field(max_length=1024)] | None = None
    """S3 service that it was published to; AWS unless given."""
    region: Short
    """Its region."""
    secret_name: Annotated[str, Field(max_length=253)] | None = None
    """Secret that opens its bucket, from which servers read."""
    published_at: Time
    """When publish ended."""


class ServingStatus(ApiModel):
    """What the Deployment serves."""

    version: Short | None = None
    """The version that every replica serves; changes only when all are updated and ready."""
    ready_replicas: int
    """Pods that answer."""


class SpeechModelStatus(ApiModel):
    """What the operator observed and did."""

    observed_generation: int | None = None
    """The generation of the spec that this status is about."""
    phase: Phase | None = None
    """One word for people."""
    progress: Short | None = None
    """Epochs: finished/wanted."""
    conditions: Annotated[
        tuple[Condition, ...],
        Field(
            max_length=16, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"]}
        ),
    ] = ()
    """DatasetReady, Trained, Published, Promoted, Serving and Ready."""
    training: TrainingStatus | None = None
    """The newest progress of training."""
    stages: Annotated[
        tuple[StageStatus, ...],
        Field(
            max_length=8, json_schema_extra={"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}
        ),
    ] = ()
    """The newest run of each stage."""
    latest_version: Short | None = None
    """The version published last."""
    model: ModelStatus | None = None
    """The version that is to be served."""
    serving: ServingStatus | None = None
    """What is served now."""
    url: Annotated[str, Field(max_length=2048)] | None = None
    """Where the server is reached inside the cluster."""
    history: Annotated[tuple[ModelStatus, ...], Field(max_length=HISTORY_LENGTH)] = ()
    """Published versions, newest first."""

    def condition(self, type: ConditionType) -> Condition | None:  # noqa: A002 - the field's name in every Kubernetes API
        """Return the condition of a type, or None before it is first reported."""
        return next((condition for condition in self.conditions if condition.type == type), None)

    def stage(self, name: StageName) -> StageStatus | None:
        """The newest run of a stage."""
        return next((stage for stage in self.stages if stage.name == name), None)
