"""`SpeechModel.spec`: what a user wants.

Every list, map and string has a bound: the API server refuses CEL rules over unbounded ones. Schemas only ever loosen and names
never change (docs/architecture.md). A field that has no behaviour yet is not here.
"""

from enum import StrEnum
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field

from speechmodel_api.base import ApiModel

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH = 36
"""So that `<model>-<stage>-<key>-<attempt>` stays below 63 characters."""

MOST_HELD_OUT_PERCENT = 90
"""Of the clips, for dev and test together."""
_HELD_OUT_RULE = (  # the API server checks a rule against the default {} before it fills in the fields' own defaults
    f"!has(self.devPercent) || !has(self.testPercent) || self.devPercent + self.testPercent <= {MOST_HELD_OUT_PERCENT}"
)


def cel(rule: str, message: str) -> dict[str, Any]:
    """A validation rule that the API server runs: for `json_schema_extra`."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}


def _each_once(labels: tuple[str, ...]) -> tuple[str, ...]:
    if len(set(labels)) != len(labels):
        raise ValueError("alphabet: every label once")
    return labels


ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]
"""A Kubernetes quantity such as 500m or 16Gi."""
LabelValue = Annotated[str, Field(max_length=63)]
LabelKey = Annotated[str, Field(max_length=317)]


class LocalObjectReference(ApiModel):
    """An object in the SpeechModel's own namespace."""

    name: ObjectName
    """Name of the object."""


class DatasetFormat(StrEnum):
    """How a dataset folder is laid out."""

    COMMANDS = "Commands"
    DEEPSPEECH_CSV = "DeepSpeechCSV"


class InvalidSamplePolicy(StrEnum):
    """What happens to rows that cannot be used."""

    REJECT = "Reject"
    FAIL = "Fail"


class ClaimSource(ApiModel):
    """A folder on a PersistentVolumeClaim; it is mounted read-only."""

    claim_name: ObjectName
    """PersistentVolumeClaim in the same namespace."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")] = ""
    """Folder on the claim, without a leading slash; empty: its root."""


class DatasetSource(ApiModel):
    """Where the recordings are."""

    persistent_volume_claim: ClaimSource
    """A folder on a PersistentVolumeClaim."""


class Split(
    ApiModel, json_schema_extra=cel(_HELD_OUT_RULE, "split: devPercent and testPercent leave too little to train on")
):
    """How clips are divided when the dataset does not say: by hash(seed, audio), so a clip never moves when others are added."""

    dev_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Share of the clips that chooses the best checkpoint."""
    test_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Share of the clips that WER and CER are measured on."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Another seed gives another division."""

    def model_post_init(self, context: Any, /) -> None:
        """Says what the CEL rule says, for manifests that no API server has seen."""
        del context
        if self.dev_percent + self.test_percent > MOST_HELD_OUT_PERCENT:
            raise ValueError("split: devPercent and testPercent leave too little to train on")


class Dataset(ApiModel):
    """The recordings and what to do with them."""

    source: DatasetSource
    """Where the recordings are."""
    format: DatasetFormat = DatasetFormat.COMMANDS
    """Commands: `original/<language>/*.wav` and `commands.csv` with the columns `id,<language>`.
    DeepSpeechCSV: ready-made `train.csv`, `dev.csv` and `test.csv`."""
    revision: Annotated[str, Field(max_length=64)] = "1"
    """Change it when the files changed: the dataset is read anew and a new model is trained if its content differs."""
    split: Split = Split()
    """How clips are divided into train, dev and test (Commands only)."""
    alphabet: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1)], ...],
        Field(max_length=255, json_schema_extra={"x-kubernetes-list-type": "set"}),
        AfterValidator(_each_once),
    ] = ()
    """The characters that the model can write, in order; derived from the transcripts unless given."""
    invalid_sample_policy: InvalidSamplePolicy = InvalidSamplePolicy.REJECT
    """Reject: rows that cannot be used are reported and left out. Fail: one such row fails the stage."""


class Hyperparameters(ApiModel):
    """The network and how it learns. Names and defaults are DeepSpeech 0.9.3's where it has them."""

    hidden_units: Annotated[int, Field(ge=16, le=4096)] = 2048
    """Width of the dense layers and of the LSTM (`n_hidden`). 2048 wants hundreds of hours; 128 to 256 suit a few hundred clips."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] = 16
    """Clips per optimizer step; lowered to the number of training clips when there are fewer."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] = 0.001
    """Adam's learning rate."""
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.05
    """Dropout rate after dense layers 1, 2, 3 and 5."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 4568
    """Seed of the weights, the order of clips and dropout."""


class Checkpoints(ApiModel):
    """When the trainer saves what it can resume from; it also saves at the end of an epoch when that is cheap, and when it is stopped."""

    every_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """Longest time between two checkpoints: what a lost node costs at most."""
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """Checkpoints kept besides the best one."""


class RetentionPolicy(StrEnum):
    """What happens to the workspace claim when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class VolumeClaimTemplate(ApiModel):
    """The claim that the operator makes for the workspace."""

    storage: Quantity = "10Gi"
    """Size; dataset, checkpoints and exports lie here."""
    storage_class_name: ObjectName | None = None
    """StorageClass; the cluster's default unless given."""


class Storage(
    ApiModel,
    json_schema_extra=cel(
        "!(has(self.claimName) && has(self.volumeClaimTemplate))", "give claimName or volumeClaimTemplate, not both"
    ),
):
    """The workspace: a PersistentVolumeClaim that every stage before serving works on."""

    volume_claim_template: VolumeClaimTemplate | None = None
    """The claim to make; all its defaults unless given."""
    claim_name: ObjectName | None = None
    """A claim that exists already; it is never deleted by the operator."""
    retention_policy: RetentionPolicy = RetentionPolicy.RETAIN
    """Retain: the claim made by the operator outlives the SpeechModel, and a new one of the same name continues from it."""

    def model_post_init(self, context: Any, /) -> None:
        """Says what the CEL rule says, for manifests that no API server has seen."""
        del context
        if self.claim_name is not None and self.volume_claim_template is not None:
            raise ValueError("storage: give claimName or volumeClaimTemplate, not both")


class TolerationOperator(StrEnum):
    """How a toleration's value is compared."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Which taints a toleration is for."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """As in a pod."""

    key: LabelKey | None = None
    """Taint key; empty with operator Exists: every taint."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """How the value is compared."""
    value: LabelValue | None = None
    """Taint value."""
    effect: TaintEffect | None = None
    """Taint effect; empty: every effect."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """For NoExecute: how long the pod stays."""


ResourceMap = Annotated[dict[Annotated[str, Field(max_length=253)], Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """As in a container."""

    requests: ResourceMap = {}
    """What the scheduler reserves."""
    limits: ResourceMap = {}
    """What the container may not exceed; GPUs are given here, as nvidia.com/gpu."""


class PodTemplate(ApiModel):
    """What may be set on the pods: where they run and what they get, never what they may do."""

    resources: Resources = Resources()
    """Of the stage's or the server's container."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels that the node must have."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Taints that the pods bear."""
    affinity: Annotated[
        dict[str, Any] | None, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = None
    """As in a pod."""
    runtime_class_name: ObjectName | None = None
    """RuntimeClass, such as nvidia."""
    priority_class_name: ObjectName | None = None
    """PriorityClass."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8)] = ()
    """Secrets of the registries that the images come from."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """More labels for the pods."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = {}
    """More annotations for the pods."""


class Training(ApiModel):
    """How the model is trained."""

    max_epochs: Annotated[int, Field(ge=1, le=100000)] = 75
    """Raise it on a finished model and training continues from the last checkpoint."""
    restart_token: Annotated[str, Field(max_length=64)] = ""
    """Change it to train from scratch on the same data."""
    hyperparameters: Hyperparameters = Hyperparameters()
    """The network and how it learns."""
    checkpoints: Checkpoints = Checkpoints()
    """When the trainer saves what it can resume from."""
    storage: Storage = Storage()
    """The workspace claim."""
    pod_template: PodTemplate = PodTemplate()
    """Where training runs. Its nodeSelector, affinity, tolerations and runtimeClassName hold for every pod that mounts the workspace;
    its resources for the training container only."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 12
    """Failures in a row after which a stage waits for an edit or the annotation speechops.dev/retry: 12 last three hours.
    An epoch gained starts the count anew."""
    active_deadline_seconds: Annotated[int, Field(ge=60)] | None = None
    """Longest time that training may run, all attempts together, suspension not counted."""
    termination_grace_period_seconds: Annotated[int, Field(ge=5, le=3600)] = 120
    """Time to save a checkpoint after SIGTERM."""


class DecodingSpec(ApiModel):
    """How audio becomes text: what evaluation measures is what serving does."""

    beam_width: Annotated[int, Field(ge=1, le=10000)] = 500
    """Beams kept by the decoder; more is slower and rarely better."""


class S3Location(ApiModel):
    """A bucket of an S3-compatible service."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
    """Bucket; it must exist."""
    prefix: Annotated[str, Field(max_length=512, pattern=r"^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*)?$")] = ""
    """Key prefix, without slashes at its ends; of the characters that S3 calls safe."""
    endpoint: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^/\s]+$")] | None = None
    """URL of the service; AWS unless given."""
    region: Annotated[str, Field(min_length=1, max_length=64)] = "us-east-1"
    """Region."""


class S3Target(S3Location):
    """A bucket and the Secret that opens it."""

    secret_ref: LocalObjectReference | None = None
    """Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and AWS_SESSION_TOKEN where one is needed."""


class DeletionPolicy(StrEnum):
    """What happens to the published objects when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Publish(ApiModel):
    """Where finished models go."""

    s3: S3Target
    """The bucket."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """Delete: the objects that this SpeechModel published are removed with it."""


class ServiceSpec(ApiModel):
    """The Service in front of the server."""

    name: Annotated[str, Field(max_length=63, pattern=NAME_PATTERN)] | None = None
    """Its name; the SpeechModel's unless given."""


class Serving(ApiModel):
    """The server."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Pods."""
    pod_template: PodTemplate = PodTemplate()
    """Where they run."""
    service: ServiceSpec = ServiceSpec()
    """The Service in front of them."""


class SpeechModelSpec(ApiModel):
    """A speech recogniser: trained, converted, measured, published and served."""

    language: Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
    """BCP 47 language tag, such as es or es-CL."""
    suspend: bool = False
    """True: no stage runs; the training pod saves a checkpoint and ends. Serving is untouched."""
    dataset: Dataset
    """The recordings."""
    training: Training = Training()
    """How the model is trained."""
    decoding: DecodingSpec = DecodingSpec()
    """How audio becomes text."""
    publish: Publish
    """Where finished models go."""
    serving: Serving | None = None
    """The server; absent: nothing is served."""

    @classmethod
    def of(cls, model: dict[str, Any]) -> Self:
        """The spec of a SpeechModel as the API server gives it."""
        return cls.model_validate(model["spec"])
