"""The wav files of a prepared dataset, by the standard library: 16 kHz, one channel, 16 bit."""

import wave
from pathlib import Path

from speechmodel_api.audio import SAMPLE_RATE
from speechmodel_api.reasons import Reason

from speechmodel_stagekit.errors import ArtefactMissing

_HEADER_BYTES = 44
"""Bytes before the samples in the shortest wav header."""
_ADVICE = "prepare makes the dataset again"


def read_pcm(path: Path) -> bytes:
    """Return the samples as little-endian int16.

    Raises ArtefactMissing when the file is gone, cut or of another form.
    """
    with _opened(path) as clip:
        raw = clip.readframes(clip.getnframes())
        if len(raw) != 2 * clip.getnframes():
            raise _cut(path, clip)
        return raw


def sample_count(path: Path) -> int:
    """Return the number of samples in the header. Raises ArtefactMissing as read_pcm does."""
    with _opened(path) as clip:
        if _HEADER_BYTES + 2 * clip.getnframes() > path.stat().st_size:
            raise _cut(path, clip)
        return clip.getnframes()


def _opened(path: Path) -> wave.Wave_read:
    try:
        clip = wave.open(str(path), "rb")  # noqa: SIM115 - the caller closes it
    except FileNotFoundError as error:
        raise ArtefactMissing(Reason.ARTEFACT_MISSING, f"{path} is missing; {_ADVICE}") from error
    except (wave.Error, EOFError) as error:
        raise _damaged(f"{path} is not a valid wav file ({error})") from error
    rate, channels, bits = clip.getframerate(), clip.getnchannels(), 8 * clip.getsampwidth()
    if (rate, channels, bits) != (SAMPLE_RATE, 1, 16):
        clip.close()
        raise _damaged(f"{path} has {rate} Hz, {channels} channels, {bits} bit instead of {SAMPLE_RATE} Hz mono 16 bit")
    return clip


def _cut(path: Path, clip: wave.Wave_read) -> ArtefactMissing:
    return _damaged(f"{path} is truncated: its header announces {clip.getnframes()} samples")


def _damaged(problem: str) -> ArtefactMissing:
    return ArtefactMissing(Reason.ARTEFACT_DAMAGED, f"{problem}; {_ADVICE}")
