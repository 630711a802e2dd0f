"""Transcripts by the settings of a dataset."""

from collections.abc import Set
from dataclasses import dataclass

from speechmodel_api.dataset_spec import Annotations, Numbers

from speechmodel_decoding.text.normalise import Normalised, normalise


@dataclass(frozen=True)
class TextSettings:
    """The settings that decide how a text is trained."""

    language: str
    """BCP 47 tag."""
    alphabet: Set[str]
    """Characters that texts may have. If empty, the alphabet is derived from the transcripts."""
    annotations: Annotations
    numbers: Numbers


def normalise_for(settings: TextSettings, text: str) -> Normalised:
    """Return `text` as a transcript of the dataset is trained. Raises TranscriptUnusable."""
    return normalise(
        text,
        language=settings.language,
        alphabet=settings.alphabet,
        annotations=settings.annotations,
        numbers=settings.numbers,
    )
