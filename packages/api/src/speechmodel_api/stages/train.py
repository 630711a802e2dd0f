"""Inputs and outputs of train, and of download, which fetches the checkpoint that it begins with."""

from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import Field

from speechmodel_api.augmentation import AS_BEFORE
from speechmodel_api.base import Document
from speechmodel_api.learning import LearningSettings
from speechmodel_api.schema import S3Location
from speechmodel_api.stages.contract import Digest, Key, StageInput, StageName
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
    resume: bool = False
    """True to take over the optimizer steps and Adam's moments of that checkpoint too."""
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
    phrase_head_sha256: Digest | None = None
    """Digest of phrase_head.npz, the head of the phrase network. None from CoquiSTT, and from a trainer from before there was one."""
