"""A recording of any kind -> a clip: 16 kHz, one channel, 16 bit."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from speechmodel_api.audio import WINDOW, frame_count, frames_needed
from speechmodel_api.workspace import CLIPS
from speechmodel_decoding.text.rejections import RejectionReason, quoted
from speechmodel_runtime import (
    AudioInfo,
    AudioWarning,
    Pcm,
    Speech,
    WarningKind,
    decode,
    level,
    save,
    seconds,
    speech,
)
from speechmodel_runtime.errors import AudioEmpty, AudioError, AudioMissing, AudioTooLong, AudioUnreadable

from speechmodel_pipeline.clip_audio import audio_digest
from speechmodel_pipeline.prepare.recordings import Recording

LONGEST_SECONDS = 30
"""Longest clip. Clips are sentences and commands; upstream's importers cut at 10 or 15 s. A batch
is padded to its longest clip, and a batch of 16 clips of 30 s with 2048 units needs about 2 GB
of activations (1500 frames x 16 x 2048 x 4 bytes x 10 layers)."""

REASONS = {
    AudioMissing: RejectionReason.NO_RECORDING,
    AudioEmpty: RejectionReason.EMPTY_AUDIO,
    AudioUnreadable: RejectionReason.NOT_AUDIO,
    AudioTooLong: RejectionReason.TOO_LONG,
}
"""Reasons for leaving out a recording that raises an AudioError."""


@dataclass(frozen=True)
class ClipFile:
    """The file of a clip in the dataset."""

    digest: str
    """sha256 over its samples, little endian, which is also its name."""
    seconds: float
    size_bytes: int
    source: AudioInfo
    """Kind of the recording."""
    warnings: tuple[AudioWarning, ...] = ()
    """The reasons to doubt the recording."""
    speech: Speech | None = None
    """The speech in the recording before it was brought to a level, if any was found."""

    @property
    def name(self) -> str:
        """Path relative to the dataset's folder."""
        return f"{CLIPS}/{self.digest}.wav"


class RecordingUnusable(Exception):
    """The recording cannot be trained on, or not with its transcript."""

    def __init__(self, reason: RejectionReason, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class CutUnusable(RecordingUnusable):
    """The times of an utterance do not fit its file."""


def make_clip(recording: Recording, transcript: str, folder: Path, speech_level: float | None) -> ClipFile:
    """Write the clip of `recording` below `folder`, with its speech at `speech_level` in dBFS unless
    it is None. Several threads may write at once, even the same clip.

    Raises RecordingUnusable.
    """
    try:
        audio = decode(recording.path, name=recording.name, max_seconds=LONGEST_SECONDS)
    except AudioError as error:
        raise RecordingUnusable(REASONS[type(error)], str(error)) from error
    require_usable(audio.pcm, audio.warnings, recording.name, transcript)
    clip = write_clip(level(audio.pcm, speech_level), folder, audio.info)
    return replace(clip, warnings=audio.warnings, speech=speech(audio.pcm))


def write_clip(pcm: Pcm, folder: Path, source: AudioInfo) -> ClipFile:
    """Write a clip with these samples below `folder`. Several threads may write at once."""
    digest = audio_digest(pcm)
    path = folder / CLIPS / f"{digest}.wav"
    partial = path.with_suffix(f".{threading.get_ident()}.partial")
    save(partial, pcm)
    size = partial.stat().st_size
    partial.replace(path)
    return ClipFile(digest, seconds(len(pcm)), size, source)


def require_usable(pcm: Pcm, warnings: Sequence[AudioWarning], name: str, transcript: str) -> None:
    """Raise RecordingUnusable for a recording that is silent, or too short for its transcript."""
    for warning in warnings:
        if warning.kind is WarningKind.SILENT:
            raise RecordingUnusable(RejectionReason.SILENT, f"{name}: {warning.message}")
    said = "".join(f"; {warning.message}" for warning in warnings)
    frames, needed = frame_count(len(pcm)), frames_needed(transcript)
    if len(pcm) < WINDOW or frames < needed:
        raise RecordingUnusable(
            RejectionReason.TOO_SHORT,
            f"{name} is too short for its transcript: {seconds(len(pcm)):.2f} s are {frames} frames, {quoted(transcript)} needs {needed}; "
            f"check that recording and transcript belong together{said}",
        )
