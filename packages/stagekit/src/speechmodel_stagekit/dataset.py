"""A prepared dataset, as the stages after prepare read it."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from pathlib import Path, PurePosixPath

from pydantic import ValidationError
from speechmodel_api.audio import frame_count, frames_needed
from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.reasons import Reason
from speechmodel_api.stages.contract import Manifest
from speechmodel_api.stages.prepare import PrepareOutput
from speechmodel_api.takes import TAKES
from speechmodel_api.workspace import ALPHABET, REGISTRY, part_table

from speechmodel_stagekit.alphabet import read_alphabet
from speechmodel_stagekit.artefacts import MANIFEST, require_file
from speechmodel_stagekit.errors import ArtefactMissing
from speechmodel_stagekit.wav import sample_count


class Part(StrEnum):
    """The use that a dataset makes of a clip."""

    TRAIN = "train"
    DEV = "dev"
    TEST = "test"
    SEEN = "seen"
    """Held out of speakers that are in training, to measure known voices beside unseen ones."""
    NEGATIVES = "negatives"
    """Speech that is no transcript, to measure how much of it is recognised. Its transcript is the
    catch-all label, as that of the negatives in the train part."""


@dataclass(frozen=True)
class Clip:
    """Prepared audio (16 kHz, one channel, 16-bit wav) with its transcript."""

    path: Path
    transcript: str
    part: Part

    @property
    def name(self) -> str:
        """Its name in the dataset: the sha256 of its samples."""
        return self.path.stem

    @cached_property
    def samples(self) -> int:
        """Samples of the audio, read once from the file's header. Raises ArtefactMissing."""
        return sample_count(self.path)

    @property
    def frames(self) -> int:
        """Feature frames of the audio. Raises ArtefactMissing."""
        return frame_count(self.samples)

    @property
    def frames_needed(self) -> int:
        """Fewest frames that CTC can align with the transcript."""
        return frames_needed(self.transcript)


@dataclass(frozen=True)
class Speakers:
    """The speakers of a dataset."""

    of: Mapping[str, str]
    """By the name of the clip."""
    trained: frozenset[str]
    """Speakers with at least one training clip."""

    def is_unseen(self, clip: Clip) -> bool | None:
        """Return True when training never hears the clip's speaker, and None when nobody knows it."""
        speaker = self.of.get(clip.name)
        return None if speaker is None else speaker not in self.trained


@dataclass(frozen=True)
class PreparedDataset:
    """A finished folder `data/<key>/`.

    Its methods raise ArtefactMissing when prepare must make it again.
    """

    folder: Path
    digest: str
    """See PrepareOutput.dataset_digest."""
    speech_level: float | None
    """See PrepareOutput.speech_level."""
    speaker_count: int | None
    """See PrepareOutput.speakers."""
    speakers_guessed: bool = False
    """See PrepareOutput.speakers_guessed."""
    annotations: Annotations | None = None
    """See PrepareOutput.annotations."""
    numbers: Numbers | None = None
    """See PrepareOutput.numbers."""

    def alphabet(self) -> tuple[str, ...]:
        """Return the labels in order."""
        return read_alphabet(require_file(self.folder / ALPHABET))

    def clips(self, part: Part) -> tuple[Clip, ...]:
        """Return the clips of a part, the shortest first."""
        if part in (Part.SEEN, Part.NEGATIVES) and not (self.folder / part_table(part)).exists():
            return ()  # prepared before these parts existed
        path = require_file(self.folder / part_table(part))
        with path.open(encoding="utf-8", newline="") as file:
            try:
                return tuple(
                    Clip(self.folder / row["wav_filename"], row["transcript"], part) for row in csv.DictReader(file)
                )
            except KeyError as error:
                raise _damaged(f"{path} has no column {error}") from error

    def speakers(self) -> Speakers:
        """Return the speakers of the clips. A dataset of before they were recorded has none."""
        rows = self._spoken()
        return Speakers(
            of={Path(row["clip"]).stem: row["speaker"] for row in rows},
            trained=frozenset(row["speaker"] for row in rows if row["part"] == Part.TRAIN),
        )

    def take_speakers(self) -> frozenset[str]:
        """Return the speakers of takes that people recorded on the page of the server, in any part, as the folders of the takes
        are named. The dataset may know such a speaker by another spelling.
        """
        sources = [row["source"].split("/") for row in self._spoken()]
        return frozenset(parts[1] for parts in sources if parts[0] == TAKES and len(parts) > 1)

    def recorded_negatives(self) -> frozenset[str]:
        """Return the names of the clips in the part of the negatives that are recordings. The others are built-in words,
        whose names have no ending.
        """
        rows = (row for row in self._registry() if row["part"] == Part.NEGATIVES)
        return frozenset(Path(row["clip"]).stem for row in rows if PurePosixPath(row["recording"]).suffix)

    def _spoken(self) -> list[dict[str, str]]:
        """Return the rows of the registry that have a clip and a speaker."""
        return [row for row in self._registry() if row.get("speaker") and row["clip"]]

    def _registry(self) -> list[dict[str, str]]:
        path = require_file(self.folder / REGISTRY)
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))


def open_dataset(folder: Path, digest: str | None = None) -> PreparedDataset:
    """Return the dataset in `folder`.

    Raises ArtefactMissing when it is gone, damaged or has another digest than `digest`.
    """
    path = require_file(folder / MANIFEST)
    try:
        found = Manifest[PrepareOutput].model_validate_json(path.read_bytes()).output
    except ValidationError as error:
        raise _damaged(f"{path} is damaged ({error})") from error
    if digest is not None and found.dataset_digest != digest:
        raise _damaged(f"{folder} holds the dataset {found.dataset_digest} instead of {digest}")
    return PreparedDataset(
        folder,
        found.dataset_digest,
        found.speech_level,
        found.speakers,
        found.speakers_guessed,
        found.annotations,
        found.numbers,
    )


def _damaged(problem: str) -> ArtefactMissing:
    return ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{problem}; the dataset is prepared again")
