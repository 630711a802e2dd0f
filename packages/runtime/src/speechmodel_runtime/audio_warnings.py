"""The reasons to doubt a recording that can be read."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from speechmodel_runtime.readers import Header

MISSING_SECONDS = 0.05
"""Seconds that may be missing at the end without a word: encoders round to whole packets."""
FULL_SCALE = 0.98
"""The largest sample of an A-law or mu-law recording, as a share of full scale."""
CLIPPED_SHARE = 0.001
"""Share of clipped samples from which a recording is called clipped. Speech that is merely loud has
a few samples at full scale, and no two equal ones beside each other."""
SILENCE = 16
"""Largest range of a silent recording, in steps of 16 bit: 72 dB below full scale, less than the
noise of a telephone line."""


class WarningKind(StrEnum):
    """The kinds of doubt."""

    LENGTH_UNKNOWN = "LengthUnknown"
    """The header does not say how long the audio is, or says less than there is, so it is read to the end of the file."""
    CUT_SHORT = "CutShort"
    """The end of the audio is missing, or may be: the file is shorter than its header says, has no end mark, or cannot be
    decoded to its end."""
    DAMAGED = "Damaged"
    """Some of the audio cannot be decoded."""
    OPPOSITE_PHASE = "OppositePhase"
    """The channels cancel each other, so only one is used."""
    INTEGER_SCALE = "IntegerScale"
    """Floating point samples have the values of integers, and are divided by their full scale."""
    CLIPPED = "Clipped"
    """The recording was too loud for the recorder."""
    SILENT = "Silent"
    """The recording has nothing but silence."""


@dataclass(frozen=True)
class AudioWarning:
    """One reason to doubt a recording."""

    kind: WarningKind
    message: str
    """A sentence without the name of the recording: what was found, and what to do."""


def length_unknown(header: Header, frames: int) -> AudioWarning | None:
    """Return the warning when a wav file does not announce how many frames it has, or fewer than there are.

    Formats of FFmpeg that are written while they are recorded never announce it.
    """
    announced, rate = header.announced_frames, header.sample_rate
    if not header.format.startswith("WAV") or (announced is not None and frames - announced <= MISSING_SECONDS * rate):
        return None
    length = "no length" if announced is None else f"only {announced / rate:.2f} s"
    found = f"its header announces {length}, so all {frames / rate:.2f} s up to its end are used"
    return AudioWarning(WarningKind.LENGTH_UNKNOWN, f"{found}; check that the recording is complete")


def cut_short(header: Header, frames: int) -> AudioWarning | None:
    """Return the warning when fewer than the announced frames were decoded, or the file shows that its end is missing."""
    announced, rate = header.announced_frames, header.sample_rate
    if header.missing_end and (announced is None or announced - frames <= MISSING_SECONDS * rate):
        found = f"the file {header.missing_end}, so audio may be missing after {frames / rate:.2f} s"
        return AudioWarning(WarningKind.CUT_SHORT, f"{found}; copy it again")
    if announced is None or announced - frames <= MISSING_SECONDS * rate:
        return None
    found = f"its header announces {announced / rate:.2f} s, but only {frames / rate:.2f} s are there"
    return AudioWarning(WarningKind.CUT_SHORT, f"{found}; copy it again")


def damaged(header: Header, frames: int, seconds: float | None) -> AudioWarning | None:
    """Return the warning when a part could not be decoded, the first after `seconds`."""
    if seconds is None:
        return None
    if frames <= seconds * header.sample_rate:
        found = f"it is cut or damaged after {seconds:.2f} s, and only the audio before that is used"
        return AudioWarning(WarningKind.CUT_SHORT, f"{found}; copy it again")
    found = f"it is damaged, first at {seconds:.2f} s, and the damaged audio is left out"
    return AudioWarning(WarningKind.DAMAGED, f"{found}; copy it again")


def silent(lowest: int, highest: int) -> AudioWarning | None:
    """Return the warning when samples of 16 bit in this range are silence."""
    if highest - lowest > SILENCE:
        return None
    return AudioWarning(WarningKind.SILENT, "it is silent; record it again")


class ClippedSamples:
    """Counts neighbours with the same value at full scale, block by block."""

    def __init__(self) -> None:
        self._clipped = self._samples = 0

    def count(self, mono: NDArray[np.float32]) -> None:
        """Count the next block."""
        limited = np.clip(mono, -1, 1)
        flat = (np.abs(limited[1:]) >= FULL_SCALE) & (limited[1:] == limited[:-1])
        self._clipped += int(flat.sum())
        self._samples += len(mono)

    def warning(self) -> AudioWarning | None:
        """Return the warning when a share of CLIPPED_SHARE is clipped."""
        share = self._clipped / max(self._samples, 1)
        if share < CLIPPED_SHARE:
            return None
        found = f"it is clipped: {100 * share:.1f} % of its samples stay at full scale"
        return AudioWarning(WarningKind.CLIPPED, f"{found}; lower the gain and record it again")
