"""Recordings as the runtime takes them: 16-bit samples of one channel at 16 kHz, from any file that
libsndfile reads.
"""

import io
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from os import PathLike, fspath
from pathlib import Path
from typing import BinaryIO, TypeAlias

import numpy as np
import soundfile
import soxr
from numpy.typing import NDArray
from speechmodel_api.audio import SAMPLE_RATE

from speechmodel_runtime.errors import AudioEmpty, AudioMissing, AudioTooLong, AudioUnreadable

Pcm: TypeAlias = NDArray[np.int16]
"""Samples of one channel, int16 `[samples]`."""
Source: TypeAlias = str | PathLike[str] | BinaryIO
"""A path, or a seekable binary file."""

LOWEST_RATE = 4_000
"""Hz. Lower rates hold no speech, and resampling from them multiplies the data without bound."""
HIGHEST_RATE = 768_000
"""Hz. No recorder samples faster. A header with a higher rate is damaged or forged, and resampling
from it takes memory without bound."""


@dataclass(frozen=True)
class AudioInfo:
    """The header of an audio file."""

    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel."""
    format: str
    """libsndfile's names of container and encoding, such as `WAV PCM_16`."""

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return self.frames / self.sample_rate

    @property
    def native(self) -> bool:
        """True when load() takes the samples as they are."""
        return (self.sample_rate, self.channels) == (SAMPLE_RATE, 1) and self.format.endswith("PCM_16")


def load(
    source: Source, *, name: str | None = None, max_seconds: float | None = None, sample_rate: int = SAMPLE_RATE
) -> Pcm:
    """Return the recording as int16 `[samples]` at `sample_rate`, with at least one sample. Its
    channels are averaged.

    Errors name it `name`. Reading stops with AudioTooLong as soon as more than `max_seconds` were
    decoded, regardless of the header, so memory is bounded. Samples of 16-bit mono files at
    `sample_rate` are returned unchanged.

    Raises AudioMissing, AudioUnreadable, AudioEmpty or AudioTooLong.
    """
    with _opened(source, name) as (file, called):
        rate = file.samplerate
        resampler = None if rate == sample_rate else soxr.ResampleStream(rate, sample_rate, 1, dtype="float32")
        parts, frames = [], 0
        for block in _mono_blocks(file, called):
            frames += len(block)
            if max_seconds is not None and frames > max_seconds * rate:
                raise AudioTooLong(called, f"is longer than {max_seconds:g} s; split it into shorter parts")
            parts.append(_to_int16(block if resampler is None else resampler.resample_chunk(block)))
        if frames == 0:
            raise AudioEmpty(called, "has no samples; record it again")
        if resampler is not None:
            parts.append(_to_int16(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    pcm: Pcm = np.concatenate(parts)
    if not len(pcm):
        raise AudioEmpty(called, f"is too short to resample ({frames} samples at {rate} Hz); record it again")
    return pcm


def probe(source: Source, *, name: str | None = None) -> AudioInfo:
    """Return the header without decoding the audio. The position of a binary file is kept.

    Raises AudioMissing, AudioUnreadable or AudioEmpty.
    """
    position = None if isinstance(source, (str, PathLike)) else source.tell()
    with _opened(source, name) as (file, _):
        info = AudioInfo(file.samplerate, file.channels, file.frames, f"{file.format} {file.subtype}")
    if position is not None and not isinstance(source, (str, PathLike)):
        source.seek(position)
    return info


def save(path: Path, pcm: Pcm, *, sample_rate: int = SAMPLE_RATE) -> None:
    """Write `pcm` as a 16-bit mono wav file; equal samples give equal bytes.

    It is encoded in memory, since libsndfile reports a full disk only as "System error.". Raises
    OSError.
    """
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, sample_rate, subtype="PCM_16", format="WAV")
    path.write_bytes(encoded.getbuffer())


def seconds(samples: int, *, sample_rate: int = SAMPLE_RATE) -> float:
    """Return the duration of `samples` samples in seconds."""
    return samples / sample_rate


@contextmanager
def _opened(source: Source, name: str | None) -> Iterator[tuple[soundfile.SoundFile, str]]:
    with ExitStack() as stack:
        if isinstance(source, (str, PathLike)):
            called = name or fspath(source)
            try:
                opened: BinaryIO = stack.enter_context(Path(source).open("rb"))
            except OSError as error:
                raise AudioMissing(called, f"cannot be read ({error.strerror})") from error
        else:
            opened, called = source, name or str(getattr(source, "name", "audio"))
        file = stack.enter_context(_sound_file(opened, called))
        yield file, called


def _sound_file(opened: BinaryIO, called: str) -> soundfile.SoundFile:
    start = opened.tell()
    if opened.seek(0, io.SEEK_END) == start:
        raise AudioEmpty(called, "is empty (0 bytes); record it again")
    opened.seek(start)
    try:
        file = soundfile.SoundFile(opened)
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless data
        raise AudioUnreadable(called, "is not readable audio; use wav, flac, ogg or mp3") from error
    if file.samplerate < LOWEST_RATE:
        file.close()
        raise AudioUnreadable(
            called, f"has a sample rate of {file.samplerate} Hz; record it at {LOWEST_RATE} Hz or more"
        )
    if file.samplerate > HIGHEST_RATE:
        problem = f"has a sample rate of {file.samplerate} Hz in its header, but at most {HIGHEST_RATE} Hz is supported"
        file.close()
        raise AudioUnreadable(called, f"{problem}; record or copy it again")
    return file


def _mono_blocks(file: soundfile.SoundFile, called: str) -> Iterator[NDArray[np.float32]]:
    while True:
        try:
            block: NDArray[np.float32] = file.read(file.samplerate, dtype="float32", always_2d=True)
        except soundfile.LibsndfileError as error:
            where = f"{file.tell() / file.samplerate:.2f} s"
            raise AudioUnreadable(called, f"is damaged after {where}; record or copy it again") from error
        if not len(block):
            return
        mono = block[:, 0] if block.shape[1] == 1 else block.mean(axis=1, dtype=np.float32)
        if not np.isfinite(mono).all():
            raise AudioUnreadable(called, "has samples that are not numbers; export it again as 16-bit wav")
        yield mono


def _to_int16(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return pcm
