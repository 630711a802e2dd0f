"""Input and output of prepare."""

from pathlib import PurePosixPath
from typing import Literal

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
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Digest, StageInput, StageName
from speechmodel_api.stages.decoders import Decoding, UnusableWords


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
    decoding: Decoding | None = None
    """Phrases and hot words that are checked against the alphabet. They change nothing in the dataset, so they are not in
    the key. None without any."""


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
    unusable_words: UnusableWords | None = None
    """Phrases or hot words that evaluate will refuse. None when they can be used, there are none, or they were not checked."""
    note: str = ""
    """Sentence for people that counts the rejected rows and the recordings without a row, and
    quotes the first of each. Empty without any."""
