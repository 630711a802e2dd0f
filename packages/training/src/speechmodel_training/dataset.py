"""The clips that training uses, all of them checked before anything is trained."""

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.workspace import part_table
from speechmodel_stagekit.dataset import Clip, Part, open_dataset

from speechmodel_training.errors import NoTrainingClips, TranscriptsTooLong, UnknownCharacters

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainingSet:
    """The train and dev parts of a prepared dataset; every clip can be trained on."""

    digest: str
    """The prepared dataset's."""
    alphabet: tuple[str, ...]
    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    speakers: int | None = None
    """Known speakers; see PrepareOutput."""

    @property
    def train_seconds(self) -> float:
        """Length of the training clips together. Raises ArtefactMissing."""
        return sum(clip.samples for clip in self.train) / SAMPLE_RATE


def read_training_set(folder: Path, digest: str) -> TrainingSet:
    """Return the training set in `data/<key>/`.

    Raises ArtefactMissing when the dataset is gone, damaged or not the one with `digest`, and
    NoTrainingClips, UnknownCharacters or TranscriptsTooLong when it cannot be trained on.
    """
    dataset = open_dataset(folder, digest)
    alphabet = dataset.alphabet()
    train, dev = dataset.clips(Part.TRAIN), dataset.clips(Part.DEV)
    if not train:
        raise NoTrainingClips(folder / part_table(Part.TRAIN))
    _require_known_characters((*train, *dev), alphabet)
    _require_enough_frames((*train, *dev))
    return TrainingSet(digest, alphabet, train, dev, dataset.speaker_count)


def _require_known_characters(clips: Sequence[Clip], alphabet: Sequence[str]) -> None:
    known = set(alphabet)
    counts: Counter[str] = Counter()
    first: dict[str, str] = {}
    for clip in clips:
        for character in set(clip.transcript) - known:
            counts[character] += 1
            first.setdefault(character, clip.path.name)
    if counts:
        offenders = [(character, count, first[character]) for character, count in sorted(counts.items())]
        for character, count, name in offenders:
            log.error("%r is not in the alphabet: %d clips, the first is %s", character, count, name)
        raise UnknownCharacters(offenders)


def _require_enough_frames(clips: Sequence[Clip]) -> None:
    offenders = [
        (clip.path.name, clip.frames, clip.frames_needed) for clip in clips if clip.frames < clip.frames_needed
    ]
    if offenders:
        for name, frames, needed in offenders:
            log.error("%s has %d frames, its transcript needs %d", name, frames, needed)
        raise TranscriptsTooLong(offenders)
