"""The ways in which training fails, beside those of every stage (speechmodel_stagekit.errors).

BadData                       65
+-- NoTrainingClips           the train part is empty
+-- UnknownCharacters         transcripts have characters that the alphabet lacks
+-- TranscriptsTooLong        clips have fewer frames than their transcripts need
ArtefactMissing               66
+-- NothingToExport           no epoch is finished
TryAgain                      75
+-- Superseded                a newer attempt or another owner took over the checkpoints
+-- LineageBusy               another process holds the checkpoints' lock
+-- WorkerMissing             a worker of the set did not start
+-- WorkerLost                a worker of the set does not answer any more
BadConfiguration              78
+-- LossDiverged              the loss became NaN or infinite
+-- CheckpointsDamaged        no checkpoint of the lineage can be read
+-- CheckpointMismatch        the checkpoint is of another network or dataset
+-- ForeignCheckpoints        the folder has only checkpoints of another program or lineage, which are not continued there
+-- InitialCheckpointUnusable the checkpoint of initFrom cannot be read or used
"""

import logging
from collections.abc import Sequence
from pathlib import Path

from speechmodel_api.reasons import Reason
from speechmodel_stagekit.errors import ArtefactMissing, BadConfiguration, BadData, TryAgain

log = logging.getLogger(__name__)

_NAMED = 5
"""Largest number of items that a message names. The log names all of them."""


class NoTrainingClips(BadData):
    """The train part is empty."""

    def __init__(self, csv: Path) -> None:
        super().__init__(
            Reason.NO_TRAINING_CLIPS, f"{csv} has no clips; add recordings, or lower the split's dev and test percent"
        )


class UnknownCharacters(BadData):
    """Transcripts have characters that the alphabet lacks."""

    def __init__(self, offenders: Sequence[tuple[str, int, str]]) -> None:
        """Take `offenders` as (character, clips that have it, name of the first one)."""
        named = some_of([f"{character!r} in {clips} clips (first: {first})" for character, clips, first in offenders])
        super().__init__(
            Reason.UNKNOWN_CHARACTERS,
            f"{len(offenders)} characters are not in alphabet.txt: {named}; add them to dataset.alphabet or correct the transcripts",
        )


class TranscriptsTooLong(BadData):
    """Clips have fewer frames than their transcripts need."""

    def __init__(self, offenders: Sequence[tuple[str, int, int]]) -> None:
        """Take `offenders` as (clip, frames that it has, frames that its transcript needs)."""
        named = some_of([f"{clip} has {frames} frames, needs {needed}" for clip, frames, needed in offenders])
        super().__init__(
            Reason.TRANSCRIPTS_TOO_LONG,
            f"{len(offenders)} clips are too short for their transcripts (one frame of 20 ms per character, and one more between "
            f"equal neighbours): {named}; correct or remove them",
        )


class NothingToExport(ArtefactMissing):
    """No epoch is finished, so there is nothing to export."""

    def __init__(self, folder: Path) -> None:
        super().__init__(Reason.NOTHING_TO_EXPORT, f"{folder} holds no checkpoint of a finished epoch; train first")


class Superseded(TryAgain):
    """A newer attempt or another owner took over the checkpoints."""

    def __init__(self, folder: Path, attempt: int, newer: str) -> None:
        super().__init__(
            Reason.SUPERSEDED, f"{folder} was taken over by {newer}; attempt {attempt} ends without writing to it"
        )


class LineageBusy(TryAgain):
    """Another process holds the checkpoints' lock."""

    def __init__(self, lock: Path, seconds: float) -> None:
        super().__init__(
            Reason.LINEAGE_BUSY, f"{lock} is held by another training process and was not freed within {seconds:.0f} s"
        )


class WorkerMissing(TryAgain):
    """A worker of the set did not start."""

    def __init__(self, missing: str, seconds: float) -> None:
        super().__init__(
            Reason.WORKER_MISSING,
            f"{missing} did not start within {seconds:.0f} s; see why its pod is not running, or lower training.numWorkers",
        )


class WorkerLost(TryAgain):
    """A worker of the set does not answer any more."""

    def __init__(self, lost: str, problem: str) -> None:
        super().__init__(
            Reason.WORKER_LOST,
            f"{lost} does not answer ({problem}); all workers continue together from the last checkpoint",
        )


class LossDiverged(BadConfiguration):
    """The loss became NaN or infinite."""

    def __init__(self, epoch: int, name: str, learning_rate: float) -> None:
        super().__init__(
            Reason.LOSS_DIVERGED,
            f"{name} became infinite or NaN after {epoch} finished epochs; the last good checkpoint is kept: lower "
            f"hyperparameters.learningRate (now {learning_rate:g}), and training continues from it",
        )


class CheckpointsDamaged(BadConfiguration):
    """No checkpoint of the lineage can be read."""

    def __init__(self, folder: Path, reasons: Sequence[str]) -> None:
        super().__init__(
            Reason.CHECKPOINTS_DAMAGED,
            f"no checkpoint in {folder} can be read: {some_of(reasons)}; restore the folder from a backup, or change "
            "training.restartToken to train from scratch",
        )


class CheckpointMismatch(BadConfiguration):
    """The checkpoint is of another network or dataset."""

    def __init__(self, checkpoint: Path, differences: Sequence[str]) -> None:
        super().__init__(
            Reason.CHECKPOINT_MISMATCH,
            f"{checkpoint} does not fit: {some_of(differences)}; restore the old value, or change training.restartToken to train "
            "from scratch",
        )


class ForeignCheckpoints(BadConfiguration):
    """The folder of a lineage has only checkpoints of another program or lineage, which are not continued there."""

    def __init__(self, folder: Path, names: Sequence[str], advice: str) -> None:
        super().__init__(
            Reason.CHECKPOINT_MISMATCH,
            f"{folder} has checkpoints of another program or training: {some_of(names)}; {advice}",
        )


_OTHER_SIZES = (
    "correct the path or the prefix, give the hiddenUnits and layerNorm of the checkpoint, or raise dropLayers"
)


class InitialCheckpointUnusable(BadConfiguration):
    """The checkpoint of training.initFrom cannot be read, has other sizes, or has weights that are infinite or NaN."""

    def __init__(self, checkpoint: Path, differences: Sequence[str], advice: str = _OTHER_SIZES) -> None:
        for difference in differences:
            log.error("%s: %s", checkpoint, difference)
        super().__init__(
            Reason.INIT_FROM_UNUSABLE,
            f"training.initFrom: {checkpoint} cannot be used: {some_of(differences)}; {advice}",
        )


def some_of(items: Sequence[str]) -> str:
    """Return the first few of `items` for a message, and how many more there are."""
    rest = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f", and {rest} more" if rest > 0 else "")
