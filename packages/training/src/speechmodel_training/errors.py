"""How training fails, beside what every stage knows (speechmodel_stagekit.errors).

BadData                       65
+-- NoTrainingClips           the train part is empty
+-- UnknownCharacters         transcripts hold characters that the alphabet lacks
+-- TranscriptsTooLong        clips have fewer frames than their transcripts need
ArtefactMissing               66
+-- NothingToExport           an export was asked for and no epoch was finished
TryAgain                      75
+-- Superseded                a newer attempt, or a newer owner, has taken the checkpoints over
+-- LineageBusy               another process holds the checkpoints' lock
BadConfiguration              78
+-- LossDiverged              the loss became NaN or infinite
+-- CheckpointsDamaged        no checkpoint of the lineage can be read
+-- CheckpointMismatch        the checkpoint is of another network or dataset
"""

from collections.abc import Sequence
from pathlib import Path

from speechmodel_stagekit.errors import ArtefactMissing, BadConfiguration, BadData, TryAgain

_NAMED = 5
"""Offenders that a message names; the log has them all."""


class NoTrainingClips(BadData):
    """The train part is empty."""

    def __init__(self, csv: Path) -> None:
        super().__init__(
            "NoTrainingClips", f"{csv} has no clips: add recordings, or lower the split's dev and test percent"
        )


class UnknownCharacters(BadData):
    """Transcripts hold characters that the alphabet lacks."""

    def __init__(self, offenders: Sequence[tuple[str, int, str]]) -> None:
        """`offenders`: character, clips that have it, the first of them."""
        named = some_of([f"{character!r} in {clips} clips (first: {first})" for character, clips, first in offenders])
        super().__init__(
            "UnknownCharacters",
            f"{len(offenders)} characters are not in alphabet.txt: {named}; add them to dataset.alphabet or mend the transcripts",
        )


class TranscriptsTooLong(BadData):
    """Clips have fewer frames than their transcripts need."""

    def __init__(self, offenders: Sequence[tuple[str, int, int]]) -> None:
        """`offenders`: clip, frames that it has, frames that its transcript needs."""
        named = some_of([f"{clip} has {frames} frames, needs {needed}" for clip, frames, needed in offenders])
        super().__init__(
            "TranscriptsTooLong",
            f"{len(offenders)} clips are too short for their transcripts (one frame of 20 ms per character, and one more between "
            f"equal neighbours): {named}; mend or remove them",
        )


class NothingToExport(ArtefactMissing):
    """An export was asked for and no epoch was finished."""

    def __init__(self, folder: Path) -> None:
        super().__init__("NothingToExport", f"{folder} holds no checkpoint of a finished epoch; train first")


class Superseded(TryAgain):
    """A newer attempt, or a newer owner, has taken the checkpoints over."""

    def __init__(self, folder: Path, attempt: int, newer: str) -> None:
        super().__init__(
            "Superseded", f"{folder} was taken over by {newer}; attempt {attempt} ends without writing to it"
        )


class LineageBusy(TryAgain):
    """Another process holds the checkpoints' lock."""

    def __init__(self, lock: Path, seconds: float) -> None:
        super().__init__(
            "LineageBusy", f"{lock} is held by another training process and was not freed within {seconds:.0f} s"
        )


class LossDiverged(BadConfiguration):
    """The loss became NaN or infinite."""

    def __init__(self, epoch: int, what: str, learning_rate: float) -> None:
        super().__init__(
            "LossDiverged",
            f"{what} became infinite or no number after {epoch} finished epochs; the last good checkpoint is kept: lower "
            f"hyperparameters.learningRate (now {learning_rate:g}) and training goes on from it",
        )


class CheckpointsDamaged(BadConfiguration):
    """No checkpoint of the lineage can be read."""

    def __init__(self, folder: Path, reasons: Sequence[str]) -> None:
        super().__init__(
            "CheckpointsDamaged",
            f"no checkpoint in {folder} can be read: {some_of(reasons)}; restore the folder from a backup, or change "
            "training.restartToken to train from scratch",
        )


class CheckpointMismatch(BadConfiguration):
    """The checkpoint is of another network or dataset."""

    def __init__(self, checkpoint: Path, differences: Sequence[str]) -> None:
        super().__init__(
            "CheckpointMismatch",
            f"{checkpoint} does not fit: {some_of(differences)}; set the old value again, or change training.restartToken to train "
            "from scratch",
        )


def some_of(items: Sequence[str]) -> str:
    """The first few of `items` for a message, and how many are left out."""
    rest = len(items) - _NAMED
    return ", ".join(items[:_NAMED]) + (f", and {rest} more" if rest > 0 else "")
