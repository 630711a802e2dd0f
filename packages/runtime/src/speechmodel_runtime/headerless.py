"""Files of telephone systems that have no header: the ending of the name is all that says what is in them."""

from dataclasses import dataclass
from pathlib import PurePath

_SLIN_RATES = {"": 8, "8": 8, "12": 12, "16": 16, "24": 24, "32": 32, "44": 44.1, "48": 48, "96": 96, "192": 192}
"""Rates in kHz of Asterisk's signed linear files, by what follows `.sln`."""


@dataclass(frozen=True)
class Headerless:
    """One channel of samples without a header."""

    format: str
    """FFmpeg's name of the format."""
    sample_rate: int
    """Hz."""


HEADERLESS = {
    ".gsm": Headerless("gsm", 8_000),
    ".g722": Headerless("g722", 16_000),
    **dict.fromkeys((".ulaw", ".ul", ".mulaw", ".mu"), Headerless("mulaw", 8_000)),
    **dict.fromkeys((".alaw", ".al"), Headerless("alaw", 8_000)),
    **{f".sln{name}": Headerless("s16le", round(1000 * rate)) for name, rate in _SLIN_RATES.items()},
}
"""By the ending of the name, as Asterisk, FreeSWITCH and SoX use them. `.raw` and `.pcm` are not among them,
because they say neither the rate nor the encoding."""


def headerless(name: str) -> Headerless | None:
    """Return the format that the ending of a file's name means, and None if such files have a header."""
    return HEADERLESS.get(PurePath(name).suffix.lower())
