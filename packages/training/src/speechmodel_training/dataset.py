"""The dataset that prepare left, read and checked as a whole before anything is trained."""

import csv
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.stages import Manifest, PrepareOutput
from speechmodel_stagekit.alphabet import read_alphabet
from speechmodel_stagekit.artefacts import MANIFEST, require_file
from speechmodel_stagekit.errors import ArtefactMissing

from speechmodel_training.audio import frame_count
from speechmodel_training.errors import NoTrainingClips, TranscriptsTooLong, UnknownCharacters
from speechmodel_training.features import sample_count

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Clip:
    """A recording and what is said in it."""

    path: Path
    transcript: str
    frames: int
    """Of the runtime: see audio.frame_count."""

    @property
    def frames_needed(self) -> int:
        """CTC needs a frame per label, and a blank between equal neighbours."""
        return len(self.transcript) + sum(left == right for left, right in pairwise(self.transcript))


@dataclass(frozen=True)
class Dataset:
    """The parts that training uses; every clip can be trained on."""

    digest: str
    alphabet: tuple[str, ...]
    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]


def read_dataset(folder: Path, digest: str) -> Dataset:
    """The dataset in `data/<key>/`.

    ArtefactMissing when it is gone, damaged or another one than `digest`; NoTrainingClips, UnknownCharacters and TranscriptsTooLong
    when it cannot be trained on.
    """
    _require_digest(folder, digest)
    alphabet = read_alphabet(require_file(folder / "alphabet.txt"))
    train, dev = _read_part(folder / "train.csv"), _read_part(folder / "dev.csv")
    if not train:
        raise NoTrainingClips(folder / "train.csv")
    _require_known_characters((*train, *dev), alphabet)
    _require_enough_frames((*train, *dev))
    return Dataset(digest, alphabet, train, dev)


def _require_digest(folder: Path, digest: str) -> None:
    path = require_file(folder / MANIFEST)
    try:
        found = Manifest[PrepareOutput].model_validate_json(path.read_bytes()).output.dataset_digest
    except ValidationError as error:
        raise ArtefactMissing(
            "ArtefactDamaged", f"{path} is damaged; the dataset is prepared again: {error}"
        ) from error
    if found != digest:
        raise ArtefactMissing(
            "ArtefactDamaged", f"{folder} holds the dataset {found} instead of {digest}; it is prepared again"
        )


def _read_part(csv_path: Path) -> tuple[Clip, ...]:
    """Clips of a CSV file with the columns wav_filename (relative to the file's folder) and transcript."""
    with require_file(csv_path).open(encoding="utf-8", newline="") as file:
        try:
            rows = [(csv_path.parent / row["wav_filename"], row["transcript"]) for row in csv.DictReader(file)]
        except KeyError as error:
            raise ArtefactMissing(
                "ArtefactDamaged", f"{csv_path} has no column {error}; it is prepared again"
            ) from error
    return tuple(Clip(path, transcript, frame_count(sample_count(path))) for path, transcript in rows)


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
