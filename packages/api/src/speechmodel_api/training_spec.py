"""`SpeechModel.spec.training`: the network, its training, and the workspace."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from speechmodel_api import augmentation
from speechmodel_api.base import ApiModel
from speechmodel_api.dataset_spec import ONE_SOURCE_MESSAGE, ONE_SOURCE_RULE, ClaimSource
from speechmodel_api.pods import Environment, PodTemplate, Resources, gpus
from speechmodel_api.schema import AUTO, ObjectName, Quantity, S3Prefix, S3Target, cel
from speechmodel_api.training_engine import (
    ENGINE_RULES,
    ENGINE_SCHEMA,
    TrainingEngine,
    no_gpu,
    refused_by_engine,
)

_ONE_CLAIM_RULE = "!(has(self.claimName) && has(self.volumeClaimTemplate))"
_RESUME_RULE = "!has(self.resume) || !self.resume || !has(self.dropLayers) || self.dropLayers == 0"
_RESUME_MESSAGE = "dropLayers must be 0 with resume, which continues all layers; leave one of them out"
_ONE_CLAIM_MESSAGE = "set either claimName or volumeClaimTemplate, not both"
NO_GPUS_RULE = (
    f"!has(self.stageResources) || "
    f"({no_gpu('self.stageResources.limits')}) && ({no_gpu('self.stageResources.requests')})"
)
NO_GPUS_MESSAGE = (
    "stageResources must not have GPUs in limits or requests, because only train uses them; "
    "set them in podTemplate.resources"
)


def _each_parsed(entries: "str | tuple[str, ...]") -> "str | tuple[str, ...]":
    for entry in () if isinstance(entries, str) else entries:
        augmentation.parse(entry)
    return entries


_ENTRY = augmentation.pattern(augmentation.PARAMETERS)
Augmentations = Annotated[
    Literal["Auto"] | Annotated[tuple[str, ...], Field(max_length=32)],
    AfterValidator(_each_parsed),
    WithJsonSchema(
        {
            # a structural schema has no unions; these bounds hold for a string and for a list
            "x-kubernetes-preserve-unknown-fields": True,
            "pattern": f"^{AUTO}$",
            "maxItems": 32,
            "items": {"type": "string", "maxLength": augmentation.LONGEST, "pattern": _ENTRY},
        }
    ),
]
"""Auto, or entries that augmentation.py reads."""


class ScheduleType(StrEnum):
    """Course of the learning rate."""

    AUTO = "Auto"
    CONSTANT = "Constant"
    COSINE = "Cosine"


class Schedule(ApiModel):
    """Course of the learning rate over the epochs."""

    type: ScheduleType = ScheduleType.AUTO
    """Shape of the course. Constant keeps hyperparameters.learningRate, as DeepSpeech does. Cosine
    rises to it within warmupPercent, and then falls along half a cosine, to floorPercent of it at
    the end of the last epoch. When maxEpochs is raised later, the rate goes back to where it is on
    the longer curve. Auto is Cosine, and Constant with the engine CoquiSTT. A change takes effect from the last checkpoint on. Defaults to
    Auto."""
    warmup_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Percentage of maxEpochs in which the rate rises from 0. It applies to Cosine only. Defaults to
    10."""
    floor_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Percentage of the learning rate at which it ends. It applies to Cosine only. Defaults to
    1."""


class Precision(StrEnum):
    """Precision of the products of matrices in training."""

    AUTO = "Auto"
    FLOAT32 = "Float32"
    BFLOAT16 = "BFloat16"


class CheckpointBucket(S3Target):
    """A checkpoint in a bucket."""

    prefix: S3Prefix = ""
    """Key prefix of the checkpoint, without a slash at either end: the objects below `<prefix>/` are the
    files of a folder that persistentVolumeClaim.path could name. All of them are downloaded. Only
    characters that are safe in S3 keys are allowed. Defaults to the root of the bucket."""


class InitFrom(ApiModel, json_schema_extra=cel(ONE_SOURCE_RULE, ONE_SOURCE_MESSAGE, (_RESUME_RULE, _RESUME_MESSAGE))):
    """A checkpoint that training from scratch begins with, instead of random weights. It is either on a
    claim or in a bucket."""

    persistent_volume_claim: ClaimSource | None = None
    """PersistentVolumeClaim and path of the checkpoint. The path is the folder of a lineage, one
    checkpoint in it, a folder with checkpoints of DeepSpeech, or one of those without its ending,
    such as best_dev-1466475. Of several checkpoints, the one with the lowest dev loss is used; in a
    folder of DeepSpeech's, that is best_dev if there is one, or else the newest. The claim may be
    that of the dataset or of the workspace. A file alphabet.txt beside a checkpoint of DeepSpeech
    names its labels; without it, they must be those of the dataset, or dropLayers at least 1.
    Mutually exclusive with s3."""
    s3: CheckpointBucket | None = None
    """Bucket and prefix of the checkpoint. The download stage downloads it to the workspace, which must
    have room for it, before training. After the objects have changed, change restartToken: only those
    that changed are downloaded. The access key needs to list and to read. Mutually exclusive with
    persistentVolumeClaim."""
    drop_layers: Annotated[int, Field(ge=0, le=5)] = 0
    """Number of layers, counted from the output, that begin with random weights instead
    (`drop_source_layers` in DeepSpeech): the output layer, layer 5, the LSTM, layer 3 and layer 2.
    With 0 and another alphabet, the output layer takes over the labels that both alphabets have.
    Defaults to 0."""
    resume: bool = False
    """If true, training also continues with the checkpoint's optimizer steps and Adam's moments, and with
    the weights of its last step instead of their averages. Of several checkpoints, the newest is used.
    Epochs and the schedule of the learning rate start again at 0. Labels that the checkpoint lacks begin
    with random weights and moments of 0. dropLayers must be 0. If false, the weights alone are taken over.
    Defaults to false."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rules to manifests that do not pass through an API server."""
        del context
        if (self.persistent_volume_claim is None) == (self.s3 is None):
            raise ValueError(ONE_SOURCE_MESSAGE)
        if self.resume and self.drop_layers:
            raise ValueError(_RESUME_MESSAGE)


class EarlyStop(ApiModel):
    """End of training when the dev loss does not improve any more. It needs dev clips."""

    patience: Annotated[int, Field(ge=1, le=1000)] = 25
    """Number of epochs in a row without an improvement after which training ends (`es_epochs` in
    DeepSpeech). Defaults to 25."""
    min_delta: Annotated[float, Field(ge=0, le=1000)] = 0.05
    """Smallest decrease of the dev loss that counts as an improvement (`es_min_delta` in DeepSpeech).
    Defaults to 0.05."""


class ReduceOnPlateau(ApiModel):
    """Reduction of the learning rate when the dev loss does not improve. It needs dev clips."""

    patience: Annotated[int, Field(ge=1, le=1000)] = 10
    """Number of epochs in a row without an improvement after which the rate is reduced
    (`plateau_epochs` in DeepSpeech). Defaults to 10."""
    min_delta: Annotated[float, Field(ge=0, le=1000)] = 0.05
    """Smallest decrease of the dev loss that counts as an improvement. Defaults to 0.05."""
    factor: Annotated[float, Field(gt=0, lt=1)] = 0.1
    """Factor that the rate of the schedule is multiplied by, once more for each plateau
    (`plateau_reduction` in DeepSpeech). Defaults to 0.1."""


class Hyperparameters(ApiModel):
    """Size of the network and settings of the optimizer, with the names of DeepSpeech 0.9.3. A field
    that is not set is chosen from the length of the training clips, the speakers and the labels; see
    docs/training.md. `status.training.settings` and the log show the values. They are chosen once,
    when training from scratch begins."""

    hidden_units: Annotated[int, Field(ge=16, le=4096)] | None = None
    """Number of units in each dense layer and in the LSTM (`n_hidden` in DeepSpeech, where it is
    2048). A change trains from scratch. If not set, it is from 192 for less than half an hour of
    speech to 2048 for a hundred hours and more."""
    batch_size: Annotated[int, Field(ge=1, le=1024)] | None = None
    """Number of clips in each optimizer step. It is lowered to the number of training clips when
    there are fewer. A change takes effect from the last checkpoint on. If not set, it is 16, and
    up to 64 for large datasets, and half of that if consistency is chosen too."""
    learning_rate: Annotated[float, Field(gt=0, le=1)] | None = None
    """Largest learning rate of the Adam optimizer. Lower it when the loss diverges. A change takes
    effect from the last checkpoint on. If not set, it is from 0.0015 for the smallest network to
    0.0005 for the largest, and two to five times as high with layerNorm."""
    dropout: Annotated[float, Field(ge=0, lt=1)] | None = None
    """Fraction of activations that are dropped after the dense layers 1, 2, 3 and 5 during
    training. 0 turns dropout off. A change takes effect from the last checkpoint on. If not set, it
    is from 0.05 to 0.25, and 0.05 higher with fewer than five known speakers."""
    layer_norm: bool | None = None
    """If true, the outputs of the dense layers 1, 2, 3 and 5 are normalised, as by `--layer_norm`
    in DeepSpeech. Such a network bears a higher learning rate and needs fewer epochs, but
    recognised fewer words of a voice that training never heard (decision 12). A change trains from
    scratch. If not set, it is that of the checkpoint of initFrom, or false."""
    gradient_clip_norm: Annotated[float, Field(gt=0, le=1e6)] | None = None
    """Largest norm of the gradients of all weights together. Longer gradients are shortened to it,
    which helps when the loss jumps or diverges; try 10. A change takes effect from the last
    checkpoint on. If not set, it is 10 with layer norm; without it, gradients are used as they
    are."""
    consistency: Annotated[float, Field(ge=0, le=10)] | None = None
    """Weight of the difference between two versions of each clip, which are augmented differently at
    the same speed and with the same pauses. In short trainings it improved the recognition of voices
    that training never heard; the one full training that was measured showed no gain. A step takes
    twice as long, so halve batchSize and maxEpochs to keep the training time. A change takes effect
    from the last checkpoint on. With 0, each clip has one version. If not set when training begins, it
    is 0.2, and 0 with layer norm or if batchSize or maxEpochs is set."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 4568
    """Seed of the initial weights, the order of the clips, augmentation and dropout. A change
    trains from scratch. Defaults to 4568, as in DeepSpeech."""


class Checkpoints(ApiModel):
    """Interval and number of the checkpoints from which training resumes."""

    every_seconds: Annotated[int, Field(ge=1, le=86400)] = 600
    """Longest time between two checkpoints, in seconds. If a node is lost, at most this much
    training is lost. The trainer also saves a checkpoint when it is stopped, and at the end of an
    epoch if saving is fast. Defaults to 600."""
    keep: Annotated[int, Field(ge=1, le=100)] = 3
    """Number of most recent checkpoints to keep. The checkpoint with the lowest dev loss is always
    kept as well. A lower number makes room on a full volume when training continues. Defaults to 3."""


class RetentionPolicy(StrEnum):
    """Defines what happens to the workspace claim when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class VolumeClaimTemplate(ApiModel):
    """The PersistentVolumeClaim that the operator creates for the workspace."""

    storage: Quantity = "10Gi"
    """Size of the volume, as a Kubernetes quantity. It must hold the prepared clips, the
    checkpoints, the exported models, the recordings of dataset.source.s3 and of
    dataset.negatives.source.s3, and the checkpoint of training.initFrom.s3. Raising it expands the claim
    if its StorageClass allows that. A claim cannot shrink: a lower value is reported as ClaimSizeRefused. Defaults to 10Gi."""
    storage_class_name: ObjectName | None = None
    """Name of the StorageClass. It is used when the claim is created, and later changes have no
    effect. Defaults to the default StorageClass of the cluster."""


class Storage(ApiModel, json_schema_extra=cel(_ONE_CLAIM_RULE, _ONE_CLAIM_MESSAGE)):
    """The workspace: the PersistentVolumeClaim that every stage before serving reads and writes."""

    volume_claim_template: VolumeClaimTemplate | None = None
    """Claim that the operator creates as `<name>-workspace`, with the access mode ReadWriteOnce.
    Mutually exclusive with claimName. If neither is set, a claim with all defaults is created."""
    claim_name: ObjectName | None = None
    """Name of an existing PersistentVolumeClaim to use instead. Stages wait until it exists, and
    the operator never changes or deletes it. Mutually exclusive with volumeClaimTemplate."""
    retention_policy: RetentionPolicy = RetentionPolicy.RETAIN
    """Defines what happens to the claim that the operator created when the SpeechModel is deleted.
    Retain keeps it, and a new SpeechModel of the same name continues from it. Delete removes the
    claim and its data. Defaults to Retain."""

    keep_for: Annotated[str, Field(max_length=8, pattern=r"^[0-9]{1,5}[hd]$")] = "7d"
    """Time for which datasets, exports, reports and older checkpoints stay in the workspace after a
    stage first found them unused, in hours or days, such as 12h or 7d. Later stages remove them when
    they start. If the volume is more than 85 % full, they are removed without waiting. The served model
    and the newest and the best checkpoint of every lineage always stay. Defaults to 7d."""

    @property
    def keep_seconds(self) -> int:
        """The time of keep_for in seconds."""
        return int(self.keep_for[:-1]) * {"h": 3600, "d": 86400}[self.keep_for[-1]]

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.claim_name is not None and self.volume_claim_template is not None:
            raise ValueError(_ONE_CLAIM_MESSAGE)


class Training(ApiModel, json_schema_extra=cel(NO_GPUS_RULE, NO_GPUS_MESSAGE, *ENGINE_RULES) | ENGINE_SCHEMA):
    """Settings of training, of its pods and of the workspace that holds the checkpoints."""

    engine: TrainingEngine = TrainingEngine.NATIVE
    """Program that trains. Native is the trainer of this project. CoquiSTT is coqui-stt-training 1.4.0, the
    successor of DeepSpeech's own trainer, on CPUs; it has a constant learning rate, no gradientClipNorm and
    no initFrom, and Auto augmentation leaves the clips as they are. docs/coqui.md compares them. A change
    trains from scratch. Defaults to Native."""
    max_epochs: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Total number of epochs to train. Raise it on a finished model to continue training from the
    last checkpoint. If the checkpoints have already reached it, no epoch is trained. If not set, it
    is chosen from the number of training clips: for 330 clips, 39 with layer norm and 120 without, and
    fewer for more clips."""
    restart_token: Annotated[str, Field(max_length=64)] = ""
    """Arbitrary text. Change it to train from scratch on the same data; earlier checkpoints stay on
    the workspace. Restoring an earlier value continues from the checkpoints of that value."""
    init_from: InitFrom | None = None
    """Checkpoint that training from scratch begins with. The checkpoint decides hiddenUnits if that is
    not set. A change trains from scratch; after the files of the checkpoint have changed, change
    restartToken. If not set, training begins with random weights."""
    augmentation: Augmentations = AUTO
    """Random changes of the clips, drawn again in every epoch, so that the model also understands
    other voices, rooms, levels and lines than those of the recordings. Auto is a tuned set: speed,
    pitch, equaliser, reverberation, babble of other clips, hiss, hum, level, telephone, mp3 and
    pauses. Otherwise, a list of up to 32 entries such as `reverb[p=0.1,delay=50~30]`, with the
    names and parameters of `--augment` in DeepSpeech; docs/augmentation.md describes them. An empty
    list leaves the clips as they are. A change takes effect from the next epoch on. Defaults to
    Auto."""
    hyperparameters: Hyperparameters = Hyperparameters()
    """Size of the network and settings of the optimizer. Fields that are not set are chosen from
    the dataset, except the seed."""
    schedule: Schedule = Schedule()
    """Course of the learning rate over the epochs."""
    precision: Precision = Precision.AUTO
    """Precision of matrix products in training. BFloat16 rounds their factors and results to 8 bits; weights,
    losses, the output layer and the measurement of dev clips stay in Float32. Auto is BFloat16 on processors
    with AMX and on GPUs of compute capability 8.0 and above, and Float32 on all others. On a GPU, cuDNN
    computes the LSTM; with BFloat16, it and everything that stays in Float32 may be TF32. A change restarts a
    running trainer from its last checkpoint, and trains no finished model again. Defaults to Auto."""
    early_stop: EarlyStop | None = None
    """End of training when the dev loss does not improve any more. `{}` sets the defaults of
    DeepSpeech. An edit of the training settings starts the count of epochs again. If not set, training
    ends after maxEpochs."""
    reduce_on_plateau: ReduceOnPlateau | None = None
    """Reduction of the learning rate when the dev loss does not improve. `{}` sets the defaults of
    DeepSpeech. It is meant for the schedule Constant. If not set, the schedule alone gives the
    rate."""
    checkpoints: Checkpoints = Checkpoints()
    """Interval and number of the checkpoints from which training resumes. A change restarts a
    running trainer from its last checkpoint."""
    storage: Storage = Storage()
    """PersistentVolumeClaim for the workspace, which holds the prepared clips, the checkpoints and
    the exported models. If not set, a claim of 10Gi is created."""
    pod_template: PodTemplate = PodTemplate()
    """Settings of the stage pods. All of them share one workspace volume, so nodeSelector,
    tolerations, affinity, runtimeClassName and volumes apply to every stage. All of them run on x86-64 nodes,
    unless nodeSelector names another kubernetes.io/arch. The resources apply to the stage train only;
    stageResources has those of the others. The pod that removes published objects has the volumes
    that are not claims. A change replaces a running stage pod."""
    env: Environment = ()
    """Environment variables to add to the pods of all stages and to the pod that removes published objects, such
    as HTTPS_PROXY for a bucket, or AWS_CA_BUNDLE with the path of a file in volumes of podTemplate. Those that the
    operator sets take precedence, except for AWS_CA_BUNDLE. A change replaces a running stage pod."""
    stage_resources: Resources = Resources()
    """Compute resources of the pods of all stages but train (prepare, download, convert, evaluate,
    publish and compare), and of the pod that removes published objects. They run one after the other,
    so one value for all of them reserves no more than the largest needs. GPUs are refused. If empty,
    each pod requests 100m CPU and 256Mi memory and has no limits; a value replaces both requests.
    A namespace whose ResourceQuota counts limits needs limits here and in podTemplate, or a
    LimitRange with defaults. A change replaces a running pod of these stages, and a stage that ran
    out of memory is tried again. No model is trained again."""
    num_workers: Annotated[int, Field(ge=1, le=64)] = 1
    """Number of pods that train together. Each computes its share of the clips of every step, so the
    losses are those of one pod, but for rounding. Each pod has the resources of podTemplate, such as one
    GPU. On a workspace claim without the access mode ReadWriteMany, all of them run on one node. A change
    restarts a running trainer from its last checkpoint. A finished model is not trained again. Defaults
    to 1."""
    max_attempts: Annotated[int, Field(ge=1, le=100)] = 12
    """Number of consecutive failures after which a stage stops retrying. It then waits for an edit
    of the spec or a new value of the annotation speechops.dev/retry. The delay grows from 30
    seconds to 30 minutes, so that the default of 12 spans about three hours. A finished epoch
    resets the count."""
    active_deadline_seconds: Annotated[int, Field(ge=60)] | None = None
    """Longest time in seconds that training may run, summed over all attempts. Time spent suspended
    or waiting for a node does not count. Raise it to let training continue. If not set, there is no
    limit."""
    termination_grace_period_seconds: Annotated[int, Field(ge=5, le=3600)] = 120
    """Time in seconds that a stage pod has to exit after SIGTERM, before it is killed. The trainer
    uses it to save a checkpoint, so allow more for a large network on slow storage. Defaults to
    120."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rules to manifests that do not pass through an API server, and check the entries of augmentation."""
        del context
        if gpus(self.stage_resources):
            raise ValueError(NO_GPUS_MESSAGE)
        if refusals := refused_by_engine(self):
            raise ValueError("; ".join(refusals))
