"""`SpeechModel.spec`: the desired state of a speech recogniser.

Attribute docstrings are the descriptions that `kubectl explain` shows. Every list, map and string
has a bound, because the API server rejects CEL rules over unbounded ones. A schema may become less
strict but never stricter, names never change, and a field is added together with its behaviour.
"""

import json
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema
from pydantic.config import JsonDict

from speechmodel_api import augmentation
from speechmodel_api.base import ApiModel

NAME_PATTERN = r"^[a-z]([-a-z0-9]*[a-z0-9])?$"
NAME_LENGTH = 36
"""Longest name of a SpeechModel, so that `<model>-<stage>-<key>-<attempt>` stays within 63
characters."""
NAME_RULE = (
    f"must be at most {NAME_LENGTH} lowercase letters, digits or '-', "
    "start with a letter, and end with a letter or digit"
)

DEFAULT_REVISION = "1"
MOST_HELD_OUT_PERCENT = 90
"""Largest share of the clips that dev and test may take together."""
# the API server checks a rule against the default {} before it fills in the fields' own defaults
_HELD_OUT_RULE = (
    f"!has(self.devPercent) || !has(self.testPercent) || self.devPercent + self.testPercent <= {MOST_HELD_OUT_PERCENT}"
)
_HELD_OUT_MESSAGE = (
    f"devPercent and testPercent must add up to at most {MOST_HELD_OUT_PERCENT}, so that clips are left for training"
)
_ONE_CLAIM_RULE = "!(has(self.claimName) && has(self.volumeClaimTemplate))"
_ONE_CLAIM_MESSAGE = "set either claimName or volumeClaimTemplate, not both"
_ONE_SOURCE_RULE = "has(self.persistentVolumeClaim) != has(self.s3)"
_ONE_SOURCE_MESSAGE = "set exactly one of persistentVolumeClaim and s3"
MOST_GRAMMAR_BYTES = 124 * 1024
"""Largest size of all phrases and lists as JSON in UTF-8. Stage programs receive them in an environment
variable, which Linux limits to 128 KiB, with less than 4 KiB of keys and paths."""
_PHRASES_RULE = (
    "has(self.phrases) && size(self.phrases) > 0 ? !has(self.grammar) || self.grammar == 'Phrases' "
    ": !has(self.grammar) || self.grammar != 'Phrases'"
)
_PHRASES_MESSAGE = "set phrases if grammar is Phrases, and leave them out if grammar is Dataset or FreeText"


def cel(rule: str, message: str) -> JsonDict:
    """Return a validation rule that the API server evaluates, for `json_schema_extra`."""
    return {"x-kubernetes-validations": [{"rule": rule, "message": message}]}


def _each_once(labels: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"every label must appear only once; remove the repeated {', '.join(map(repr, repeated))}")
    return labels


def _each_parsed(entries: "str | tuple[str, ...]") -> "str | tuple[str, ...]":
    for entry in () if isinstance(entries, str) else entries:
        augmentation.parse(entry)
    return entries


AUTO: Final = "Auto"
VOICE_PATTERN = r"^[A-Za-z][-A-Za-z0-9_]*([+][-A-Za-z0-9_ ]+)?$"
VoiceName = Annotated[str, Field(max_length=64, pattern=VOICE_PATTERN)]
"""A voice of espeak-ng, with or without a variant."""
Augmentations = Annotated[
    Literal["Auto"] | Annotated[tuple[str, ...], Field(max_length=32)],
    AfterValidator(_each_parsed),
    WithJsonSchema(
        {
            # a structural schema has no unions; these bounds hold for a string and for a list
            "x-kubernetes-preserve-unknown-fields": True,
            "pattern": f"^{AUTO}$",
            "maxItems": 32,
            "items": {"type": "string", "maxLength": augmentation.LONGEST, "pattern": augmentation.PATTERN},
        }
    ),
]
"""Auto, or entries that augmentation.py reads."""
Voices = Annotated[
    Literal["Auto"] | Annotated[tuple[VoiceName, ...], Field(min_length=1, max_length=256)],
    WithJsonSchema(
        {
            "x-kubernetes-preserve-unknown-fields": True,
            "pattern": f"^{AUTO}$",
            "minItems": 1,
            "maxItems": 256,
            "items": {"type": "string", "maxLength": 64, "pattern": VOICE_PATTERN},
        }
    ),
]
"""Auto, or names of voices."""
ObjectName = Annotated[str, Field(min_length=1, max_length=253, pattern=r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$")]
S3Prefix = Annotated[str, Field(max_length=512, pattern=r"^([A-Za-z0-9!_.*'()-]+(/[A-Za-z0-9!_.*'()-]+)*)?$")]
"""A key prefix without a slash at either end."""
Quantity = Annotated[str, Field(max_length=32, pattern=r"^[0-9]+(\.[0-9]+)?(m|k|M|G|T|P|E|Ki|Mi|Gi|Ti|Pi|Ei)?$")]
"""A Kubernetes quantity such as 500m or 16Gi."""
LabelValue = Annotated[str, Field(max_length=63)]
LabelKey = Annotated[str, Field(max_length=317)]


class LocalObjectReference(ApiModel):
    """Refers to an object in the namespace of the SpeechModel."""

    name: ObjectName
    """Name of the object, which must be in the namespace of the SpeechModel."""


class DatasetFormat(StrEnum):
    """Layout of a dataset folder."""

    COMMANDS = "Commands"
    DEEPSPEECH_CSV = "DeepSpeechCSV"
    COMMON_VOICE = "CommonVoice"
    LIBRISPEECH = "LibriSpeech"
    AUDIO_FOLDER = "AudioFolder"
    KALDI = "Kaldi"


class InvalidSamplePolicy(StrEnum):
    """Defines what happens to dataset rows that cannot be used."""

    REJECT = "Reject"
    FAIL = "Fail"


class Annotations(StrEnum):
    """Defines what happens to text in brackets in a transcript."""

    REJECT = "Reject"
    STRIP = "Strip"


class Numbers(StrEnum):
    """Defines what happens to digits in a transcript."""

    REJECT = "Reject"
    SPELL = "Spell"


class ClaimSource(ApiModel):
    """A folder on a PersistentVolumeClaim. It is mounted read-only."""

    claim_name: ObjectName
    """Name of a PersistentVolumeClaim in the namespace of the SpeechModel. It may be the workspace
    claim itself. Until the claim exists, the pods that mount it stay unscheduled."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")] = ""
    """Path of the dataset folder on the claim, without a leading slash. No part of it may begin
    with a dot. Defaults to the root of the volume."""


class S3Location(ApiModel):
    """A bucket of an S3-compatible service, and a key prefix in it."""

    bucket: Annotated[str, Field(min_length=3, max_length=63, pattern=r"^[a-z0-9][a-z0-9.-]*[a-z0-9]$")]
    """Name of the bucket. It must exist: the operator does not create buckets."""
    prefix: S3Prefix = ""
    """Key prefix of the published objects, without a slash at either end. Only characters that are
    safe in S3 keys are allowed. Objects are written below
    `<prefix>/<namespace>/<name>/<uid>/`. Defaults to the root of the bucket."""
    endpoint: Annotated[str, Field(max_length=1024, pattern=r"^https?://[^/\s]+$")] | None = None
    """URL of the S3 service, without a path, such as https://s3.example.com:9000. It must be
    reachable from the pods. Defaults to AWS."""
    region: Annotated[str, Field(min_length=1, max_length=64)] = "us-east-1"
    """Region of the bucket. Most services other than AWS accept any value. Defaults to
    us-east-1."""


class S3Target(S3Location):
    """A bucket, and the Secret that grants access to it."""

    secret_ref: LocalObjectReference | None = None
    """Secret that holds AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and optionally
    AWS_SESSION_TOKEN. Pods receive the keys as environment variables; the operator does not read
    the Secret. If not set, pods use the credentials of their environment, such as an instance
    profile."""

    @property
    def location(self) -> S3Location:
        """The bucket without the Secret."""
        return S3Location.model_validate(self.model_dump(exclude={"secret_ref"}))


class BucketSource(S3Target):
    """Recordings in a bucket."""

    prefix: S3Prefix = ""
    """Key prefix of the dataset, without a slash at either end: the objects below `<prefix>/` are the
    files of the dataset folder. Only characters that are safe in S3 keys are allowed. Defaults to the
    root of the bucket."""


class DatasetSource(ApiModel, json_schema_extra=cel(_ONE_SOURCE_RULE, _ONE_SOURCE_MESSAGE)):
    """The place where the recordings are stored: either a claim or a bucket."""

    persistent_volume_claim: ClaimSource | None = None
    """Folder on a PersistentVolumeClaim that holds the dataset. It is mounted read-only by the prepare
    stage, and by the evaluate stage if decoding has a scorer. Mutually exclusive with s3."""
    s3: BucketSource | None = None
    """Bucket that holds the dataset. The prepare stage downloads it to the workspace, which must have
    room for it, and keeps the files there: later it downloads only objects that are new or have
    changed. The access key needs to list and to read. Mutually exclusive with persistentVolumeClaim."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if (self.persistent_volume_claim is None) == (self.s3 is None):
            raise ValueError(_ONE_SOURCE_MESSAGE)


class SplitBy(StrEnum):
    """The unit that the division into train, dev and test keeps together."""

    SPEAKER = "Speaker"
    CLIP = "Clip"


class Split(ApiModel, json_schema_extra=cel(_HELD_OUT_RULE, _HELD_OUT_MESSAGE)):
    """Division of the clips into train, dev and test. Adding clips of other speakers or phrases
    rarely moves a clip to another part."""

    by: SplitBy = SplitBy.SPEAKER
    """Unit that is kept together. Speaker gives whole speakers to dev and test, so that the error
    rates are those of voices that training never hears. It needs at least three speakers who are
    known from a column, a folder or the file names. With fewer, or when every such division would
    leave a phrase without training clips, single clips are drawn, and the error rates are those of
    known voices. Clip always draws single clips. Defaults to Speaker."""
    dev_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Percentage of the clips that is held out to choose the best epoch. With 0, the last epoch is
    exported. The sum with testPercent must be at most 90. Defaults to 10."""
    test_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Percentage of the clips that is held out to measure the word and character error rates. With
    0, the model is published without error rates. The sum with devPercent must be at most 90.
    Defaults to 10."""
    seed: Annotated[int, Field(ge=0, le=2**31 - 1)] = 0
    """Seed of the division. Another seed divides the same clips differently, so a new model is
    trained. Defaults to 0."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.dev_percent + self.test_percent > MOST_HELD_OUT_PERCENT:
            raise ValueError(_HELD_OUT_MESSAGE)


class Recordings(ApiModel):
    """The way in which the file names of recordings are read."""

    name_pattern: Annotated[str, Field(max_length=256, pattern=r"^$|\{id\}")] = ""
    """Pattern of the file names without their endings, such as `{speaker}_{}_{id}_{take}`, in the
    syntax of the Python library parse. `{id}` is the id in commands.csv, `{speaker}` and `{take}`
    are optional, and `{}` stands for any other part. A pattern with a slash applies to the path
    below `original/<language>/`, such as `{speaker}/{id}`. If empty, the layout is found from the
    names of all files together, and is reported when it is ambiguous. It applies to the format
    Commands only."""


class Negatives(ApiModel):
    """Speech that is no transcript of the dataset. Training learns it as a label of its own, so that
    other people's speech is not taken for a command."""

    built_in: bool = True
    """If true, words of no language that were synthesized with many voices are used. Defaults to
    true."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")] = ""
    """Folder with recordings of your own, relative to the folder of the dataset: speech in which no
    transcript is spoken, at most 30 seconds each. Subfolders are included. Recordings that cannot be
    used are invalid samples; the others are read as far as they are needed. If empty, there are no
    recordings of your own."""


class Synthesis(ApiModel):
    """Takes of the phrases that espeak-ng speaks."""

    voices: Voices = AUTO
    """Voices in the names of espeak-ng, such as `es-419` or `es+f2`; `espeak-ng --voices` and
    `espeak-ng --voices=variant` list the names before and after the plus sign. Auto is every accent
    of the language with up to 72 variants. Defaults to Auto."""
    takes_per_phrase: Annotated[int, Field(ge=1, le=1000)] = 20
    """Number of takes of each phrase, each with another voice, pitch and speed. Defaults to 20."""


class Dataset(ApiModel):
    """The recordings with their transcripts, and the settings that turn them into clips."""

    source: DatasetSource
    """Place where the recordings and their transcripts are stored."""
    format: DatasetFormat = DatasetFormat.COMMANDS
    """Layout of the dataset folder. Commands expects recordings in `original/<language>/` and a
    table `commands.csv` with the columns `id` and `<language>`. DeepSpeechCSV expects `train.csv`,
    and optionally `dev.csv` and `test.csv`, with the columns `wav_filename` and `transcript`.
    CommonVoice expects `clips/` and `train.tsv`, `dev.tsv` and `test.tsv`, or else `validated.tsv`.
    LibriSpeech expects `<speaker>/<chapter>/<speaker>-<chapter>.trans.txt` with the recordings beside
    it. AudioFolder expects `metadata.csv` or `metadata.jsonl` as Hugging Face has them, or the
    `metadata.csv` and `wavs/` of LJSpeech. Kaldi expects `wav.scp`, `text` and optionally `utt2spk`.
    Defaults to Commands."""
    recordings: Recordings = Recordings()
    """The way in which the file names of recordings are read."""
    revision: Annotated[str, Field(max_length=64)] = DEFAULT_REVISION
    """Arbitrary text that identifies the state of the files. The operator does not watch the files.
    After you change them, change the revision to prepare the dataset again. A new model is trained
    only if the resulting clips differ. If a bucket is the source and the revision is not set, every
    run of the prepare stage lists the bucket, and prepares again when a key, a size or an ETag has
    changed. Defaults to "1"."""
    split: Split = Split()
    """Division of the clips into train, dev and test. It applies to datasets that give no parts, and
    to rows without a value in the column `split`. The tables of DeepSpeechCSV and the official ones
    of CommonVoice define the parts, and so do folders such as `train` and `test` of LibriSpeech,
    AudioFolder and Kaldi."""
    alphabet: Annotated[
        tuple[Annotated[str, Field(min_length=1, max_length=1)], ...],
        Field(max_length=255, json_schema_extra={"x-kubernetes-list-type": "set"}),
        AfterValidator(_each_once),
    ] = ()
    """Characters that the model can output, each listed once, in the order of the network's
    outputs. Rows with other characters are invalid samples. The space, which separates words, is
    added at the end if it is missing. If empty, the alphabet is the space and every character of the
    normalised transcripts, sorted."""
    annotations: Annotations = Annotations.REJECT
    """Defines what happens to text in brackets or asterisks, such as `[laughs]` or `(inaudible)`,
    which may not be spoken. Reject makes the row an invalid sample. Strip drops the text and keeps
    the rest of the transcript. Defaults to Reject."""
    numbers: Numbers = Numbers.REJECT
    """Defines what happens to digits in transcripts. Reject makes the row an invalid sample. Spell
    replaces whole numbers by words of the language, for the languages that num2words knows. Dates,
    times, decimals, ordinals, telephone numbers and amounts of money are invalid samples in both
    cases. Defaults to Reject."""
    negatives: Negatives = Negatives()
    """Speech that is no transcript of the dataset. There is at most one negative for every four
    training clips. Each has the length, bandwidth and level of a training clip. If `builtIn` is
    false and `path` is empty, there are none. A change prepares the dataset again and trains from
    scratch."""
    synthesize: Synthesis | None = None
    """Takes of the phrases by synthetic voices, which are added to training and never to dev or test.
    They help where few people were recorded. In the format Commands, and where a phrase is said twice
    or more on average, every phrase gets them; otherwise only the sentences in training do. A change prepares the dataset again and trains
    from scratch. If not set, there are none."""
    invalid_sample_policy: InvalidSamplePolicy = InvalidSamplePolicy.REJECT
    """Defines what happens to rows that cannot be used, such as an unreadable recording or an empty
    transcript. Reject leaves them out and reports their number in the condition DatasetReady. Fail
    makes the prepare stage fail if there is at least one. Defaults to Reject."""


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
    the longer curve. Auto is Cosine. A change takes effect from the last checkpoint on. Defaults to
    Auto."""
    warmup_percent: Annotated[int, Field(ge=0, le=50)] = 10
    """Percentage of maxEpochs in which the rate rises from 0. It applies to Cosine only. Defaults to
    10."""
    floor_percent: Annotated[int, Field(ge=0, le=100)] = 1
    """Percentage of the learning rate at which it ends. It applies to Cosine only. Defaults to
    1."""


class InitFrom(ApiModel):
    """A checkpoint that training from scratch begins with, instead of random weights."""

    persistent_volume_claim: ClaimSource
    """PersistentVolumeClaim and path of the checkpoint. The path is the folder of a lineage, one
    checkpoint in it, a folder with checkpoints of DeepSpeech, or one of those without its ending,
    such as best_dev-1466475. Of several checkpoints, the one with the lowest dev loss is used; in a
    folder of DeepSpeech's, that is best_dev if there is one, or else the newest. The claim may be
    that of the dataset or of the workspace. A file alphabet.txt beside a checkpoint of DeepSpeech
    names its labels; without it, they must be those of the dataset, or dropLayers at least 1."""
    drop_layers: Annotated[int, Field(ge=0, le=5)] = 0
    """Number of layers, counted from the output, that begin with random weights instead
    (`drop_source_layers` in DeepSpeech): the output layer, layer 5, the LSTM, layer 3 and layer 2.
    With 0 and another alphabet, the output layer takes over the labels that both alphabets have.
    Defaults to 0."""


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
    there are fewer. A change takes effect from the last checkpoint on. If not set, it is 16, and up
    to 64 for large datasets."""
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
    kept as well. Defaults to 3."""


class RetentionPolicy(StrEnum):
    """Defines what happens to the workspace claim when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class VolumeClaimTemplate(ApiModel):
    """The PersistentVolumeClaim that the operator creates for the workspace."""

    storage: Quantity = "10Gi"
    """Size of the volume, as a Kubernetes quantity. It must hold the prepared clips, the
    checkpoints, the exported models and the recordings of dataset.source.s3. Raising it expands the
    claim if its StorageClass allows that; lowering it has no effect. Defaults to 10Gi."""
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

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.claim_name is not None and self.volume_claim_template is not None:
            raise ValueError(_ONE_CLAIM_MESSAGE)


class TolerationOperator(StrEnum):
    """Defines how a toleration is compared with the value of a taint."""

    EXISTS = "Exists"
    EQUAL = "Equal"


class TaintEffect(StrEnum):
    """Effect of a taint on pods that do not tolerate it."""

    NO_SCHEDULE = "NoSchedule"
    PREFER_NO_SCHEDULE = "PreferNoSchedule"
    NO_EXECUTE = "NoExecute"


class Toleration(ApiModel):
    """A taint that the pods tolerate. A taint is tolerated when its key, value and effect match."""

    key: LabelKey | None = None
    """Key of the taint that the toleration applies to. If empty, the operator must be Exists, and
    every taint is tolerated."""
    operator: TolerationOperator = TolerationOperator.EQUAL
    """Comparison with the value of the taint. Equal requires the same value, and Exists accepts any
    value. Defaults to Equal."""
    value: LabelValue | None = None
    """Value of the taint that the toleration applies to. Leave it empty when the operator is
    Exists."""
    effect: TaintEffect | None = None
    """Effect of the taint that the toleration applies to: NoSchedule, PreferNoSchedule or
    NoExecute. If empty, every effect is tolerated."""
    toleration_seconds: Annotated[int, Field(ge=0)] | None = None
    """Time in seconds that a pod stays on a node after a taint with the effect NoExecute appears.
    0 evicts the pod at once. If not set, the pod stays."""


ResourceMap = Annotated[dict[Annotated[str, Field(max_length=253)], Quantity], Field(max_length=16)]


class Resources(ApiModel):
    """Compute resources of a container, as in a pod."""

    requests: ResourceMap = {}
    """Resources that the scheduler reserves for the container, by name, such as cpu and memory. If
    a resource has only a limit, the request equals the limit."""
    limits: ResourceMap = {}
    """Largest amounts that the container may use, by resource name. A container that exceeds its
    memory limit is killed. Request GPUs here, such as nvidia.com/gpu: "1"."""


class PodTemplate(ApiModel):
    """Scheduling, resources and metadata of pods. Security settings, volumes and service accounts
    cannot be changed."""

    resources: Resources = Resources()
    """Compute resources of the trainer's container (training) or of the server's container
    (serving). If empty, a server requests 100m CPU and 256Mi memory, and a trainer requests
    nothing."""
    node_selector: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels that a node must have for the pods to be scheduled on it. If empty, any node is
    eligible."""
    tolerations: Annotated[tuple[Toleration, ...], Field(max_length=16)] = ()
    """Node taints that the pods tolerate. If empty, the pods are not scheduled on tainted nodes."""
    affinity: Annotated[
        dict[str, Any] | None, Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True})
    ] = None
    """Node affinity, pod affinity and pod anti-affinity, in the format of a pod's `spec.affinity`.
    The API server checks it when the pods are created, not here."""
    runtime_class_name: ObjectName | None = None
    """Name of the RuntimeClass that runs the pods, such as nvidia. It must exist in the cluster.
    Defaults to the container runtime's default."""
    priority_class_name: ObjectName | None = None
    """Name of the PriorityClass of the pods. It must exist in the cluster. Defaults to the default
    priority of the cluster."""
    image_pull_secrets: Annotated[tuple[LocalObjectReference, ...], Field(max_length=8)] = ()
    """Secrets in the namespace of the SpeechModel that grant access to the registries of the
    images. Not needed for public registries."""
    labels: Annotated[dict[LabelKey, LabelValue], Field(max_length=16)] = {}
    """Labels to add to the pods. They cannot replace the labels that the operator sets."""
    annotations: Annotated[dict[LabelKey, Annotated[str, Field(max_length=1024)]], Field(max_length=16)] = {}
    """Annotations to add to the pods, such as those that a service mesh reads."""


class Training(ApiModel):
    """Settings of training, of its pods and of the workspace that holds the checkpoints."""

    max_epochs: Annotated[int, Field(ge=1, le=100000)] | None = None
    """Total number of epochs to train. Raise it on a finished model to continue training from the
    last checkpoint. If the checkpoints have already reached it, no epoch is trained. If not set, it
    is chosen from the number of training clips: 39 for 330 clips, and fewer for more."""
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
    tolerations, affinity and runtimeClassName apply to every stage. The resources apply to training
    only. A change replaces a running stage pod."""
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


class GrammarSource(StrEnum):
    """Origin of the phrases that a model may answer with."""

    DATASET = "Dataset"
    PHRASES = "Phrases"
    FREE_TEXT = "FreeText"


class ForeignSpeech(StrEnum):
    """Defines what free text makes of speech that is unlike the dataset."""

    TRANSCRIBE = "Transcribe"
    REJECT = "Reject"


class Scorer(ApiModel):
    """A language model for free text, as DeepSpeech's `--scorer`. Only its words are recognised."""

    path: Annotated[str, Field(min_length=1, max_length=1024, pattern=r"^[^/.][^/]*(/[^/.][^/]*)*$")]
    """File of DeepSpeech 0.9.3, relative to the folder of the dataset, such as `es.scorer`. It must be
    made for the alphabet of the model, so give `dataset.alphabet` too unless it was made from the
    alphabet of this dataset. After you change the file, change `dataset.revision`; nothing is trained if
    the recordings are the same. A file that you add to a bucket later is found with another
    `dataset.revision` only. Each evaluation stores a copy of the file in the workspace claim, so each
    edit of the scorer, its weights or hot words needs that much space again."""
    alpha: Annotated[float, Field(ge=0, le=20)] | None = None
    """Weight of the language model against the network. If not set, it is tuned on the dev clips."""
    beta: Annotated[float, Field(ge=-20, le=20)] | None = None
    """Reward of each word, in natural logarithms. A larger one gives more and shorter words. If not
    set, it is tuned on the dev clips."""
    hot_words: Annotated[
        dict[Annotated[str, Field(min_length=1, max_length=63)], Annotated[float, Field(ge=-100, le=100)]],
        Field(max_length=100),
    ] = {}
    """Words that are more likely than the language model says, such as names, each with its boost
    in natural logarithms, as for DeepSpeech's `--hot_words`. A boost of a few units is already
    strong; a negative one makes the word less likely. Every word must be a word of the scorer, in
    the letters of the transcripts. DeepSpeech does not boost the last word of a recording."""


class DecodingSpec(ApiModel, json_schema_extra=cel(_PHRASES_RULE, _PHRASES_MESSAGE)):
    """Settings of the decoder, which turns audio into text. Evaluation and serving share them."""

    beam_width: Annotated[int, Field(ge=1, le=10000)] = 500
    """Number of beams that the decoder keeps in free text. A larger width is slower and rarely more
    accurate. After a change, the model is evaluated and published again but not trained. Defaults to
    500, as in DeepSpeech."""
    grammar: GrammarSource | None = None
    """Origin of the phrases that the model may answer with. Dataset is every transcript of the
    dataset. Phrases is the field phrases. With either, a recording of anything else gives an empty
    text. FreeText is any sequence of characters. After a change, the model is evaluated and
    published again but not trained. Defaults to Phrases if there are phrases, else to Dataset for
    the dataset format Commands, and to FreeText for the others."""
    phrases: Annotated[tuple[Annotated[str, Field(min_length=1, max_length=500)], ...], Field(max_length=1000)] = ()
    """Phrases that the model may answer with, and templates in the syntax of hassil: `(a|b)` is one
    of them, `[a]` is optional, `(a;b)` is both in any order, `{name}` is a value of the list of that
    name, and `{list:slot}` gives its slot another name. Every character must be in the alphabet of
    the model; a backslash takes the next character as it is. Needed if grammar is Phrases. Phrases
    and lists together may have 124 KiB as JSON; larger sets belong in the transcripts of the dataset."""
    lists: Annotated[
        dict[
            Annotated[str, Field(min_length=1, max_length=63)],
            Annotated[tuple[Annotated[str, Field(min_length=1, max_length=200)], ...], Field(max_length=1000)],
        ],
        Field(max_length=32),
    ] = {}
    """Values of the lists that the phrases refer to, by the name of the list. A value may be a
    template without lists. Answers report which value was said."""
    foreign_speech: ForeignSpeech = ForeignSpeech.TRANSCRIBE
    """Defines what free text makes of speech that is unlike the dataset: another language, other words,
    noise. Transcribe writes down what it resembles. Reject gives an empty text. The threshold loses 1 %
    of the right dev clips; the report shows how many test clips it rejects, and how many negatives it
    accepts. After a change, the model is evaluated and published again but not trained. A grammar
    always rejects, so the field has no effect with one. Defaults to
    Transcribe, because a text with errors is often more useful than none."""
    scorer: Scorer | None = None
    """Language model for free text. After a change, the model is evaluated and published again but not
    trained. It has no effect with a grammar. If not set, any sequence of characters is possible."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        needed = self.grammar is GrammarSource.PHRASES
        if bool(self.phrases) != needed and not (self.phrases and self.grammar is None):
            raise ValueError(_PHRASES_MESSAGE)
        content = json.dumps([self.phrases, self.lists], ensure_ascii=False, separators=(",", ":"))
        if (size := len(content.encode())) > MOST_GRAMMAR_BYTES:
            raise ValueError(
                f"phrases and lists have {size} bytes as JSON, more than {MOST_GRAMMAR_BYTES}; "
                "remove some, or use the grammar Dataset and put them into the transcripts"
            )

    def source(self, format: DatasetFormat) -> GrammarSource:  # noqa: A002 - the field's name in the spec
        """Return the origin of the phrases for a dataset of this format."""
        if self.grammar is not None:
            return self.grammar
        if self.phrases:
            return GrammarSource.PHRASES
        return GrammarSource.DATASET if format is DatasetFormat.COMMANDS else GrammarSource.FREE_TEXT


class DeletionPolicy(StrEnum):
    """Defines what happens to the published objects when the SpeechModel is deleted."""

    RETAIN = "Retain"
    DELETE = "Delete"


class Publish(ApiModel):
    """Destination of finished models."""

    s3: S3Target
    """Bucket that finished models are uploaded to and served from. If the bucket, the prefix or the
    endpoint changes, the model is published again, and earlier objects stay where they are."""
    deletion_policy: DeletionPolicy = DeletionPolicy.RETAIN
    """Defines what happens to the published objects when the SpeechModel is deleted. Retain keeps
    them. Delete removes every object below the prefix of this SpeechModel before the SpeechModel
    itself. If that takes longer than 120 seconds, an Event names the prefix, which must then be
    removed by hand. Defaults to Retain."""


class ServiceSpec(ApiModel):
    """The Service in front of the server pods."""

    name: Annotated[str, Field(max_length=63, pattern=NAME_PATTERN)] | None = None
    """Name of the Service, which listens on port 80. A Service that belongs to something else is
    never taken over. Defaults to the name of the SpeechModel."""


class Serving(ApiModel):
    """The server that transcribes audio with the published model."""

    replicas: Annotated[int, Field(ge=0, le=1000)] = 1
    """Number of server pods. 0 keeps the Deployment and serves nothing. Defaults to 1."""
    pod_template: PodTemplate = PodTemplate()
    """Settings of the server pods. They do not mount the workspace and are independent of
    training.podTemplate. A change rolls out new pods while the old ones still serve."""
    service: ServiceSpec = ServiceSpec()
    """Service in front of the server pods. It sends requests only to pods that are ready."""


class SpeechModelSpec(ApiModel):
    """Desired state of a speech recogniser. An edit reruns only the stages that it affects."""

    language: Annotated[str, Field(min_length=2, max_length=35, pattern=r"^[A-Za-z]{2,8}(-[A-Za-z0-9]{1,8})*$")]
    """Language of the recordings as a BCP 47 tag, such as es or es-CL. It selects the folder and
    the column of a Commands dataset, and the rules that normalise transcripts."""
    suspend: bool = False
    """If true, no stage runs. A running trainer saves a checkpoint and exits, and serving
    continues. Set it to false to continue from that checkpoint. Defaults to false."""
    dataset: Dataset
    """Recordings with their transcripts, and the settings that turn them into clips."""
    training: Training = Training()
    """Settings of training, of its pods and of the workspace that holds the checkpoints. If not
    set, every field has its default."""
    decoding: DecodingSpec = DecodingSpec()
    """Settings of the decoder, which turns audio into text. Evaluation and serving share them, so
    the measured error rate is the one that users get."""
    publish: Publish
    """Destination of finished models. The servers load models from there."""
    serving: Serving | None = None
    """Server that transcribes audio with the published model. If not set, the model is published
    but not served; `{}` serves it with one pod. Removing it deletes the Deployment and the
    Service."""

    @classmethod
    def of(cls, model: dict[str, Any]) -> Self:
        """Return the spec of a SpeechModel object from the API server."""
        return cls.model_validate(model["spec"])
