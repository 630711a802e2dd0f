"""A recording of any kind -> a clip that trains: 16 kHz, one channel, 16 bit."""

import hashlib
import os
import threading
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from speechmodel_runtime import AudioInfo, Pcm, load, probe, runtime_frames, save, seconds
from speechmodel_runtime.audio import WINDOW
from speechmodel_runtime.errors import AudioEmpty, AudioError, AudioMissing, AudioTooLong, AudioUnreadable

from speechmodel_pipeline.prepare.report import Reason, quoted
from speechmodel_pipeline.prepare.samples import Sample

LONGEST_SECONDS = 30
"""Clips are sentences and commands: upstream's importers cut at 10 or 15 s. A batch is padded to its longest clip, and at 30 s one of
16 clips and 2048 units already holds about 2 GB of activations (1500 frames x 16 x 2048 x 4 bytes x 10 layers)."""

SILENCE = 16
"""Steps of 16 bit from lowest to highest sample: 72 dB below full scale, less than the noise of any telephone line."""

_REASONS = {
    AudioMissing: Reason.NO_RECORDING,
    AudioEmpty: Reason.EMPTY_AUDIO,
    AudioUnreadable: Reason.NOT_AUDIO,
    AudioTooLong: Reason.TOO_LONG,
}


@dataclass(frozen=True)
class Clip:
    """A recording that can be trained on, written to the clips' folder."""

    digest: str
    """sha256 over its samples, little endian: also its name."""
    seconds: float
    size_bytes: int
    source: AudioInfo
    """What the recording was."""

    @property
    def name(self) -> str:
        """Relative to the dataset's folder."""
        return f"clips/{self.digest}.wav"


class RecordingUnusable(Exception):
    """This recording cannot be trained on, or not with this transcript."""

    def __init__(self, reason: Reason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


def make_clip(sample: Sample, transcript: str, folder: Path) -> Clip:
    """Write the clip of `sample` below `folder`; safe in several threads, also for recordings of the same samples.

    Raises RecordingUnusable.
    """
    try:
        source = probe(sample.recording, name=sample.name)
        pcm = load(sample.recording, name=sample.name, max_seconds=LONGEST_SECONDS)
    except AudioError as error:
        raise RecordingUnusable(_REASONS[type(error)], str(error)) from error
    _require_usable(pcm, sample.name, transcript)
    digest = audio_digest(pcm)
    path = folder / "clips" / f"{digest}.wav"
    partial = path.with_suffix(f".{threading.get_ident()}.partial")
    save(partial, pcm)
    size = partial.stat().st_size
    os.replace(partial, path)  # noqa: PTH105 - the same call as Path.replace, and the word says what it is for
    return Clip(digest, seconds(len(pcm)), size, source)


def audio_digest(pcm: Pcm) -> str:
    """sha256 over the samples, little endian."""
    return hashlib.sha256(pcm.astype("<i2", copy=False).tobytes()).hexdigest()


def frames_needed(transcript: str) -> int:
    """Frames that CTC needs at least: one per label, and a blank between two equal ones."""
    repeats = sum(left == right for left, right in pairwise(transcript))
    return len(transcript) + repeats


def _require_usable(pcm: Pcm, name: str, transcript: str) -> None:
    if int(pcm.max()) - int(pcm.min()) <= SILENCE:
        raise RecordingUnusable(Reason.SILENT, f"{name} holds nothing but silence; record it again")
    frames, needed = runtime_frames(len(pcm)), frames_needed(transcript)
    if len(pcm) < WINDOW or frames < needed:
        raise RecordingUnusable(
            Reason.TOO_SHORT,
            f"{name} is too short for its transcript: {seconds(len(pcm)):.2f} s are {frames} frames, {quoted(transcript)} needs {needed}; "
            "check that they belong together",
        )
