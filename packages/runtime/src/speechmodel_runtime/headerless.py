"""Files of telephone systems that have no header: the ending of the name is all that says what is in them."""

from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO

from speechmodel_runtime.errors import AudioUnreadable

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
    **dict.fromkeys((".ulaw", ".ul"), Headerless("mulaw", 8_000)),
    **dict.fromkeys((".alaw", ".al"), Headerless("alaw", 8_000)),
    **{f".sln{name}": Headerless("s16le", round(1000 * rate)) for name, rate in _SLIN_RATES.items()},
}
"""By the ending of the name, as Asterisk, FreeSWITCH and SoX use them. `.raw` and `.pcm` are not among them,
because they say neither the rate nor the encoding."""


_SIGNATURES = (
    (
        0,
        (
            b"RIFF",
            b"RIFX",
            b"RF64",
            b".snd",
            b"fLaC",
            b"OggS",
            b"FORM",
            b"caff",
            b"NIST",
            b"#!AMR",
            b"wvpk",
            b"ID3",
            b"\x1aE\xdf\xa3",
        ),
    ),
    (4, (b"ftyp",)),
)
"""Place and bytes by which files with a header are known."""
_LOOKED_AT = 512
_TEXT = frozenset(range(0x20, 0x7F)) | frozenset(b"\t\r\n")


def headerless(file: BinaryIO, called: str) -> Headerless | None:
    """Return the format that the ending of a file's name means, and None if such files, or this one, have a header.

    Raises AudioUnreadable for text. The file is left at its beginning.
    """
    found = HEADERLESS.get(PurePath(called).suffix.lower())
    if found is None:
        return None
    file.seek(0)
    head = file.read(_LOOKED_AT)
    file.seek(0)
    if any(head.startswith(signature, place) for place, signatures in _SIGNATURES for signature in signatures):
        return None
    if _TEXT.issuperset(head):
        raise AudioUnreadable(called, "is text instead of a recording; correct its name or remove it")
    return found
