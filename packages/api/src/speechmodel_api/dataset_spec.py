"""`SpeechModel.spec.dataset`: the recordings, and how they become clips."""

from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, WithJsonSchema

from speechmodel_api.base import ApiModel
from speechmodel_api.schema import AUTO, ObjectName, S3Prefix, S3Target, cel

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


ONE_SOURCE_RULE = "has(self.persistentVolumeClaim) != has(self.s3)"
ONE_SOURCE_MESSAGE = "set exactly one of persistentVolumeClaim and s3"
# the API server fills in the defaults of path and prefix before it checks the rules
_ONE_PLACE_RULE = "!has(self.source) || !has(self.path) || self.path == ''"
_ONE_PLACE_MESSAGE = "set either path or source, not both"
_OTHER_PLACE_MESSAGE = "negatives.source must not be the place of source; set another path or prefix"
_CLAIM, _OTHER_CLAIM = "self.source.persistentVolumeClaim", "self.negatives.source.persistentVolumeClaim"
_BUCKET, _OTHER_BUCKET = "self.source.s3", "self.negatives.source.s3"
_OTHER_CLAIM_RULE = (
    "!has(self.negatives) || !has(self.negatives.source) || "
    f"!has({_CLAIM}) || !has({_OTHER_CLAIM}) || "
    f"{_CLAIM}.claimName != {_OTHER_CLAIM}.claimName || {_CLAIM}.path != {_OTHER_CLAIM}.path"
)
_OTHER_BUCKET_RULE = (
    "!has(self.negatives) || !has(self.negatives.source) || "
    f"!has({_BUCKET}) || !has({_OTHER_BUCKET}) || "
    f"{_BUCKET}.bucket != {_OTHER_BUCKET}.bucket || {_BUCKET}.prefix != {_OTHER_BUCKET}.prefix || "
    f"has({_BUCKET}.endpoint) != has({_OTHER_BUCKET}.endpoint) || "
    f"(has({_BUCKET}.endpoint) && {_BUCKET}.endpoint != {_OTHER_BUCKET}.endpoint)"
)


def _each_once(labels: tuple[str, ...]) -> tuple[str, ...]:
    if repeated := sorted({label for label in labels if labels.count(label) > 1}):
        raise ValueError(f"every label must appear only once; remove the repeated {', '.join(map(repr, repeated))}")
    return labels


VOICE_PATTERN = r"^[A-Za-z][-A-Za-z0-9_]*([+][-A-Za-z0-9_ ]+)?$"
VoiceName = Annotated[str, Field(max_length=64, pattern=VOICE_PATTERN)]
"""A voice of espeak-ng, with or without a variant."""


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
    """Path of the folder on the claim, without a leading slash. No part of it may begin with a dot.
    Defaults to the root of the volume."""


class BucketSource(S3Target):
    """Recordings in a bucket."""

    prefix: S3Prefix = ""
    """Key prefix of the recordings, without a slash at either end: the objects below `<prefix>/` are the
    files of the folder. Only characters that are safe in S3 keys are allowed. Defaults to the root of
    the bucket."""


class DatasetSource(ApiModel, json_schema_extra=cel(ONE_SOURCE_RULE, ONE_SOURCE_MESSAGE)):
    """The place where the recordings are stored: either a claim or a bucket."""

    persistent_volume_claim: ClaimSource | None = None
    """Folder on a PersistentVolumeClaim that holds the dataset. It is mounted read-only by the prepare
    stage, and by the evaluate stage if decoding has a scorer. Mutually exclusive with s3."""
    s3: BucketSource | None = None
    """Bucket that holds the dataset. The prepare stage downloads it to the workspace, which must have
    room for it, and keeps the files there: later it downloads only objects that are new or have
    changed. The access key needs to list and to read, and with serving.takes to write and to delete.
    Mutually exclusive with persistentVolumeClaim."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if (self.persistent_volume_claim is None) == (self.s3 is None):
            raise ValueError(ONE_SOURCE_MESSAGE)

    @property
    def place(self) -> tuple[str | None, ...]:
        """Identifies the folder or the prefix, whatever the credentials."""
        if self.s3 is not None:
            return (self.s3.endpoint, self.s3.bucket, self.s3.prefix)
        claim = self.persistent_volume_claim
        return (claim.claim_name, claim.path) if claim else ()


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
    syntax of the Python library parse. `{id}` stands for the id in commands.csv and takes no format.
    `{speaker}` and `{take}` are optional and may have a format, such as `{take:d}`. `{}` stands for
    any other part. A pattern with a slash applies to the path below `original/<language>/`, such as
    `{speaker}/{id}`. If empty, the layout is found from the names of all files together, and is
    reported when it is ambiguous. It applies to the format Commands only."""


class NegativesSource(DatasetSource):
    """The place where recordings of other speech are stored: either a claim or a bucket. Many models
    may name the same place."""

    persistent_volume_claim: ClaimSource | None = None
    """Folder on a PersistentVolumeClaim that holds the recordings. It is mounted read-only by the
    prepare stage. The claim may be that of the dataset or of the workspace, with a path to a folder
    that holds only other speech. If the pods of several models run on several nodes, it needs the
    access mode ReadOnlyMany or ReadWriteMany. Mutually exclusive with s3."""
    s3: BucketSource | None = None
    """Bucket that holds the recordings. The prepare stage downloads it to the workspace, which must
    have room for it, and keeps the files there: later it downloads only objects that are new or have
    changed. The access key needs to list and to read. It is that of secretRef and never that of
    dataset.source.s3. Mutually exclusive with persistentVolumeClaim."""


class Negatives(ApiModel, json_schema_extra=cel(_ONE_PLACE_RULE, _ONE_PLACE_MESSAGE)):
    """Speech that is no transcript of the dataset. Training learns it as a label of its own, so that
    other people's speech is not taken for a command."""

    built_in: bool = True
    """If true, words of no language that were synthesized with many voices are used. Defaults to
    true."""
    path: Annotated[str, Field(max_length=1024, pattern=r"^([^/.][^/]*(/[^/.][^/]*)*)?$")] = ""
    """Folder with recordings of your own, relative to the folder of the dataset: speech in which no
    transcript is spoken, of any length. Subfolders are included. Recordings that cannot be used are
    invalid samples, and if all are, the dataset is invalid. One in five of the others is held out, to
    measure how much of such speech is accepted. Training uses the rest, for at most one negative for each
    training clip. A recording of up to 30 seconds is used once, or several times if there are few and
    builtIn is false; ones that are shorter than a clip are joined. A longer one makes a negative for about
    every ten seconds of its first hour, at most 100, and fewer if there are clips of more than 5 seconds.
    None of them may be a recording of the dataset, or a copy of one. Mutually exclusive with source. If empty, no folder of
    the dataset is used."""
    source: NegativesSource | None = None
    """Folder on a claim, or bucket, that holds such recordings outside the folder of the dataset.
    Several models may share it. It must not be the place of dataset.source itself. The rules of path
    apply. Other files, such as tables, are ignored. dataset.revision identifies the state of these
    recordings too: change it after you change them. Mutually exclusive with path. If not set, only
    path is used."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rule to manifests that do not pass through an API server."""
        del context
        if self.path and self.source is not None:
            raise ValueError(_ONE_PLACE_MESSAGE)


class Synthesis(ApiModel):
    """Takes of the phrases that espeak-ng speaks. Phrases of several words also get near misses, which
    are negatives: one word is replaced by a word of no language. There are none in free speech, nor
    in a dataset without negatives."""

    voices: Voices = AUTO
    """Voices in the names of espeak-ng, such as `es-419` or `es+f2`; `espeak-ng --voices` and
    `espeak-ng --voices=variant` list the names before and after the plus sign. Auto is every accent
    of the language with up to 72 variants. Defaults to Auto."""
    takes_per_phrase: Annotated[int, Field(ge=1, le=1000)] = 20
    """Number of takes of each phrase, each with another voice, pitch and speed. Half as many near
    misses are added. Defaults to 20."""


class Dataset(
    ApiModel,
    json_schema_extra=cel(_OTHER_CLAIM_RULE, _OTHER_PLACE_MESSAGE, (_OTHER_BUCKET_RULE, _OTHER_PLACE_MESSAGE)),
):
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
    `metadata.csv` and `wavs/` of LJSpeech, or else text files `*.txt` or `*.tsv` with lines such as
    `welcome: Good morning`, as telephone systems have them for their prompts. Kaldi
    expects `wav.scp`, `text` and optionally `utt2spk` or `spk2utt`, and `segments`, which
    cuts recordings into utterances.
    Defaults to Commands."""
    recordings: Recordings = Recordings()
    """The way in which the file names of recordings are read."""
    revision: Annotated[str, Field(max_length=64)] = DEFAULT_REVISION
    """Arbitrary text that identifies the state of the files, including those of negatives.source. The
    operator does not watch the files. After you change them, change the revision to prepare the dataset
    again. A new model is trained only if the resulting clips differ. If source or negatives.source is
    a bucket and the revision is not set, every run of the prepare stage lists the bucket, and prepares
    again when a key, a size or an ETag has changed. Defaults to "1"."""
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
    """Defines what happens to text and signs in brackets or asterisks, such as `[laughs]`, `(inaudible)` or `at [@]`,
    which may not be spoken. Reject makes the row an invalid sample. Strip drops the text and keeps
    the rest of the transcript. Defaults to Reject."""
    numbers: Numbers = Numbers.REJECT
    """Defines what happens to digits in transcripts. Reject makes the row an invalid sample. Spell
    replaces whole numbers by words of the language, for the languages that num2words knows. A number
    that num2words writes in Latin letters, in a transcript of another script, makes the row an invalid
    sample. Dates, times, decimals, ranges, calculations, negative numbers, ordinals, telephone numbers and
    amounts of money are invalid samples in both cases. So are numbers such as 1998 in languages that read
    years in hundreds (English, French, German, Dutch, Danish, Icelandic, Norwegian and Swedish), and a number
    before another word if its word may depend on that word, such as `1 luz` (una). Only a few
    words, such as `para` in `marque 1 para salir`, are known to leave the number as it is. So `canal 1 por favor` is
    an invalid sample too, and so is nearly every number before a word in Japanese, Korean, Arabic and Hebrew. Write
    such numbers in words. Defaults to Reject."""
    negatives: Negatives = Negatives()
    """Speech that is no transcript of the dataset. There is one built-in negative for every four
    training clips, at most one recording of your own for each training clip, and the near misses of
    `synthesize`. Each has the length, bandwidth and level of
    a training clip. If `builtIn` is false, `path` is empty and `source` is not set, there are none. A change
    prepares the dataset again and trains from scratch."""
    synthesize: Synthesis | None = None
    """Takes of the phrases by synthetic voices, which are added to training and never to dev or test.
    They help where few people were recorded. In the format Commands, and where a phrase is said twice
    or more on average, every phrase gets them; otherwise only the sentences in training do. A change prepares the dataset again and trains
    from scratch. If not set, there are none."""
    invalid_sample_policy: InvalidSamplePolicy = InvalidSamplePolicy.REJECT
    """Defines what happens to rows that cannot be used, such as an unreadable recording or an empty
    transcript. Reject leaves them out and reports their number in the condition DatasetReady. Fail
    makes the prepare stage fail if there is at least one. Defaults to Reject."""

    def model_post_init(self, context: Any, /) -> None:
        """Apply the CEL rules to manifests that do not pass through an API server."""
        del context
        other = self.negatives.source
        if other is not None and other.place == self.source.place:
            raise ValueError(_OTHER_PLACE_MESSAGE)
