"""A prepared dataset, as the stages after prepare read it."""

import csv
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError
from speechmodel_api.stages import Manifest, PrepareOutput
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.artefacts import MANIFEST
from speechmodel_stagekit.errors import ArtefactMissing

from speechmodel_pipeline.prepare.clips import audio_digest
from speechmodel_pipeline.prepare.samples import Part


@dataclass(frozen=True)
class DatasetClip:
    """A clip and what is said in it."""

    path: Path
    transcript: str
    part: Part

    @property
    def name(self) -> str:
        """Its name in the dataset: the digest of its samples."""
        return self.path.stem

    def read(self) -> Pcm:
        """Its samples, int16 `[samples]` at 16 kHz; ArtefactMissing when the file is gone or damaged."""
        try:
            pcm = load(self.path)
        except AudioError as error:
            raise ArtefactMissing("ArtefactDamaged", f"{error}; the dataset is prepared again") from error
        if audio_digest(pcm) != self.name:
            raise ArtefactMissing(
                "ArtefactDamaged", f"{self.path} holds other samples than its name says; the dataset is prepared again"
            )
        return pcm


@dataclass(frozen=True)
class Dataset:
    """A finished folder `data/<key>/`."""

    folder: Path
    digest: str

    def clips(self, part: Part) -> list[DatasetClip]:
        """The clips of a part, shortest first."""
        with (self.folder / f"{part}.csv").open(encoding="utf-8", newline="") as file:
            return [
                DatasetClip(self.folder / row["wav_filename"], row["transcript"], part) for row in csv.DictReader(file)
            ]


def open_dataset(folder: Path) -> Dataset:
    """The dataset in `folder`; ArtefactMissing when prepare has to make it again."""
    try:
        manifest = Manifest[PrepareOutput].model_validate_json((folder / MANIFEST).read_bytes())
    except FileNotFoundError:
        raise ArtefactMissing("ArtefactMissing", f"the dataset {folder} is missing; it is prepared again") from None
    except ValidationError as error:
        raise ArtefactMissing(
            "ArtefactDamaged", f"{folder / MANIFEST} is damaged; the dataset is prepared again"
        ) from error
    return Dataset(folder, manifest.output.dataset_digest)
