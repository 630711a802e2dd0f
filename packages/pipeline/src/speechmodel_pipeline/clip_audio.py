"""The samples of a clip, and the digest that names it."""

import hashlib

from speechmodel_api.reasons import Reason
from speechmodel_runtime import Pcm, load
from speechmodel_runtime.errors import AudioError
from speechmodel_stagekit.dataset import Clip
from speechmodel_stagekit.errors import ArtefactMissing


def audio_digest(pcm: Pcm) -> str:
    """Return the sha256 over the samples, little endian."""
    return hashlib.sha256(pcm.astype("<i2", copy=False).tobytes()).hexdigest()


def read_clip(clip: Clip) -> Pcm:
    """Return the samples of `clip`, int16 `[samples]` at 16 kHz.

    Raises ArtefactMissing when its file is gone or changed.
    """
    advice = "the dataset is prepared again"
    try:
        pcm = load(clip.path)
    except AudioError as error:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{error}; {advice}") from error
    if audio_digest(pcm) != clip.name:
        raise ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{clip.path} does not have the samples of its name; {advice}")
    return pcm
