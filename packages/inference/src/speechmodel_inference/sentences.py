"""The sentences of takes, as prepare makes them. The rules take a while to import, so only the routers of takes do."""

from speechmodel_api.dataset_spec import Annotations, Numbers
from speechmodel_api.published import VersionManifest
from speechmodel_decoding.text.normalise import TranscriptUnusable, normalise

from speechmodel_inference.errors import BadRequest


def trained_text(text: str, version: VersionManifest) -> str:
    """Return a sentence as prepare makes it, by the settings that made the version.

    A version from before they were recorded may have been made with any, so the most lenient are taken. Raises
    TranscriptUnusable.
    """
    dataset = version.card.dataset if version.card else None
    annotations = (dataset and dataset.annotations) or Annotations.STRIP
    numbers = (dataset and dataset.numbers) or Numbers.SPELL
    return normalise(text, language=version.language, annotations=annotations, numbers=numbers).text


def require_trainable(text: str, version: VersionManifest) -> str:
    """Return a sentence as prepare makes it. Raises BadRequest if prepare would leave it out."""
    try:
        return trained_text(text, version)
    except TranscriptUnusable as error:
        raise BadRequest(f"text: {error}.", code="take_unusable", param="text") from error
