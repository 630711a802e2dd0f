"""Takes: recordings that people make for the dataset on the page of the server, in the folder of the dataset.

takes/<speaker>/<id>.wav      16 kHz, mono, 16 bit
takes/<speaker>/<id>.json     Take

A take exists once its document does, so the document is written last and deleted first. The folder has
the name of the speaker.

misheard/<model>/<id>.wav     a clip that a server of this SpeechModel did not understand
misheard/<model>/<id>.json    Misheard

A clip is kept until somebody says what was said in it. Models that share a dataset do not share clips.
"""

import hashlib
import unicodedata
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from speechmodel_api.base import Document
from speechmodel_api.times import Time

TAKES = "takes"
"""The folder of the takes in that of the dataset."""
MISHEARD = "misheard"
"""The folder of the clips that servers did not understand, in that of the dataset. No stage reads it."""


def _composed(name: object) -> object:
    """Return a name with its accents as people type them, not as files of a Mac have them."""
    return unicodedata.normalize("NFC", name) if isinstance(name, str) else name


SpeakerName = Annotated[str, BeforeValidator(_composed), Field(pattern=r"^[^\W_]([\w .'’-]{0,62}[\w])?$")]
"""A name that is valid as the name of a folder on every system: 1 to 64 letters, digits, spaces, underscores,
dots, apostrophes and hyphens. It begins with a letter or digit, and ends with one or an underscore."""


def speaker_hash(name: str) -> str:
    """Return the hash of a speaker's name that published versions have: they tell who is in them to somebody who
    knows the name.
    """
    return hashlib.sha256(unicodedata.normalize("NFC", name).encode()).hexdigest()[:16]


class Take(Document):
    """A recording of one sentence by one speaker."""

    text: Annotated[str, Field(min_length=1, max_length=1000)]
    """The sentence, as it was shown."""
    speaker: SpeakerName
    """The person who speaks."""
    language: str
    """BCP 47 tag of the sentence."""
    recorded_at: Time
    """Time when it was saved."""
    consent: Literal[True]
    """The speaker has agreed that models are trained with the recording."""


class Misheard(Document):
    """A clip that a server rejected, or was not sure of."""

    heard: str
    """The text that was recognised. Empty if it was rejected."""
    confidence: float | None = None
    """Probability from 0 to 1 that `heard` was said. None if it was rejected."""
    candidates: tuple[str, ...] = ()
    """Phrases of the grammar that fit, the best first. Empty in free text."""
    language: str
    """BCP 47 tag of the model."""
    version: str
    """The version that was served."""
    seconds: float
    """Length of the clip."""
    recorded_at: Time
    """Time when it was received."""
