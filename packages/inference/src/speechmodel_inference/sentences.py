"""The sentences of takes, as prepare makes them. The rules take a while to import, so only the routers of takes do."""

import unicodedata
from collections.abc import Set

from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.published import VersionManifest
from speechmodel_decoding.text.normalise import TranscriptUnusable
from speechmodel_decoding.text.settings import TextSettings, normalise_for

from speechmodel_inference.errors import BadRequest


def trained_text(text: str, version: VersionManifest) -> str:
    """Return a sentence as prepare makes it, by the settings that made the version. Raises TranscriptUnusable.

    A version from before they were recorded may have been made with any, so no sentence is unusable: those that
    the settings by default refuse are returned as they are.
    """
    if settings := _recorded(version):
        return normalise_for(settings, text).text
    try:
        by_default = TextSettings(version.language, frozenset(), Annotations.REJECT, Numbers.REJECT)
        return normalise_for(by_default, text).text
    except TranscriptUnusable:
        return text


def new_letters(trained: str, known: Set[str]) -> list[str]:
    """Return the characters of a sentence as prepare makes it that a version cannot write, because its alphabet lacks them.

    They are a reason to record the sentence: a dataset without a given alphabet takes its letters from the transcripts.
    """
    composed = unicodedata.normalize("NFC", trained)
    return sorted({each for each in composed if each not in known and each.lower() not in known})


def require_trainable(text: str, version: VersionManifest) -> str:
    """Return a sentence as prepare makes it. Raises BadRequest if prepare would leave it out."""
    try:
        return trained_text(text, version)
    except TranscriptUnusable as error:
        raise BadRequest(f"text: {error}.", code="take_unusable", param="text") from error


def _recorded(version: VersionManifest) -> TextSettings | None:
    dataset = version.card.dataset if version.card else None
    if dataset is None or dataset.given_alphabet is None or dataset.annotations is None or dataset.numbers is None:
        return None
    return TextSettings(version.language, frozenset(dataset.given_alphabet), dataset.annotations, dataset.numbers)
