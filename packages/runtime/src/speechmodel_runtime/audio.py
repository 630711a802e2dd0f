"""Recordings as the runtime takes them: 16-bit samples of one channel at 16 kHz, from anything that libsndfile reads.

The numbers of windows and frames are those of DeepSpeech 0.9.3: windows of 32 ms every 20 ms, and one more, filled up
with zeros, at the end of every stream.
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

from speechmodel_runtime.errors import AudioEmpty, AudioMissing, AudioTooLong, AudioUnreadable

Pcm: TypeAlias = NDArray[np.int16]
"""Samples of one channel, `[samples]`."""
Source: TypeAlias = str | PathLike[str] | BinaryIO

SAMPLE_RATE = 16_000
"""Hz."""
WINDOW = 512
"""Samples per feature window: 32 ms."""
STEP = 320
"""Samples from one window to the next: 20 ms."""
LOWEST_RATE = 4_000
"""Hz. Below it there is no speech to recognise, and resampling would multiply the data without bound."""
HIGHEST_RATE = 768_000
"""Hz. No recorder samples faster; a header that says so is damaged or made up, and resampling from it takes memory without bound."""


@dataclass(frozen=True)
class AudioInfo:
    """What a file's header says."""

    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel."""
    format: str
    """libsndfile's names of container and encoding, such as `WAV PCM_16`."""

    @property
    def seconds(self) -> float:
        """Duration."""
        return self.frames / self.sample_rate

    @property
    def native(self) -> bool:
        """Whether load() takes the samples as they are."""
        return (self.sample_rate, self.channels) == (SAMPLE_RATE, 1) and self.format.endswith("PCM_16")


def load(
    source: Source, *, name: str | None = None, max_seconds: float | None = None, sample_rate: int = SAMPLE_RATE
) -> Pcm:
    """The recording as int16 `[samples]` at `sample_rate`, its channels averaged; never without samples.

    `source` is a path or a seekable binary file; `name` is what errors call it. Reading stops with AudioTooLong as soon
    as more than `max_seconds` were decoded, whatever the header promised, so memory is bounded. Samples of 16-bit mono
    files at `sample_rate` come out unchanged.

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
            raise AudioEmpty(called, "holds no samples; record it again")
        if resampler is not None:
            parts.append(_to_int16(resampler.resample_chunk(np.zeros(0, np.float32), last=True)))
    pcm: Pcm = np.concatenate(parts)
    if not len(pcm):
        raise AudioEmpty(called, f"holds too little sound to resample ({frames} samples at {rate} Hz); record it again")
    return pcm


def probe(source: Source, *, name: str | None = None) -> AudioInfo:
    """What the header says, without decoding; the source's position is kept.

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

    Raises OSError, such as that of a full disk: encoded in memory, since libsndfile would only say "System error.".
    """
    encoded = io.BytesIO()
    soundfile.write(encoded, pcm, sample_rate, subtype="PCM_16", format="WAV")
    path.write_bytes(encoded.getbuffer())


def seconds(samples: int, *, sample_rate: int = SAMPLE_RATE) -> float:
    """Duration of that many samples."""
    return samples / sample_rate


def runtime_frames(samples: int) -> int:
    """Feature frames that the runtime makes of a clip: every full window, and the last one filled up with zeros."""
    return max((samples - WINDOW) // STEP + 1, 0) + 1


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
    except (soundfile.LibsndfileError, TypeError) as error:  # TypeError: headerless data would need its parameters told
        raise AudioUnreadable(called, "is no audio that can be read here; wav, flac, ogg and mp3 are") from error
    if file.samplerate < LOWEST_RATE:
        file.close()
        raise AudioUnreadable(called, f"has a sample rate of {file.samplerate} Hz; at least {LOWEST_RATE} are needed")
    if file.samplerate > HIGHEST_RATE:
        told = f"says that its sample rate is {file.samplerate} Hz; at most {HIGHEST_RATE} are read; record or copy it again"
        file.close()
        raise AudioUnreadable(called, told)
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
            raise AudioUnreadable(called, "holds samples that are not numbers; export it again as 16-bit wav")
        yield mono


def _to_int16(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return pcm
