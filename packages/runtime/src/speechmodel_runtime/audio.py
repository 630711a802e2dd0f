"""Recordings as the runtime takes them: 16-bit samples of one channel at 16 kHz, from any file that
libsndfile or FFmpeg reads.
"""

import errno
import io
import shutil
import tempfile
from collections.abc import Callable, Iterator
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

from speechmodel_runtime.audio_warnings import AudioWarning, ClippedSamples, cut_short, damaged, length_unknown, silent
from speechmodel_runtime.errors import AudioEmpty, AudioMissing, AudioTooLong, AudioUnreadable
from speechmodel_runtime.mixing import Mix, choose_mix
from speechmodel_runtime.readers import Block, Header, Reader, open_reader

Pcm: TypeAlias = NDArray[np.int16]
"""Samples of one channel, int16 `[samples]`."""
Source: TypeAlias = str | PathLike[str] | BinaryIO
"""A path, or a binary file."""

LOWEST_RATE = 4_000
"""Hz. Lower rates hold no speech, and resampling from them multiplies the data without bound."""
HIGHEST_RATE = 768_000
"""Hz. No recorder samples faster. A header with a higher rate is damaged or forged, and resampling
from it takes memory without bound."""


@dataclass(frozen=True)
class AudioInfo:
    """The properties of an audio file."""

    sample_rate: int
    """Hz."""
    channels: int
    frames: int
    """Samples per channel that were decoded."""
    format: str
    """Container and encoding, in the names of libsndfile (`WAV PCM_16`) or FFmpeg (`mov aac`)."""

    @property
    def seconds(self) -> float:
        """Duration of the audio."""
        return self.frames / self.sample_rate


@dataclass(frozen=True)
class DecodedAudio:
    """A recording as the runtime takes it."""

    pcm: Pcm
    info: AudioInfo
    warnings: tuple[AudioWarning, ...]
    """The reasons to doubt the recording, which is used nevertheless."""


def decode(
    source: Source, *, name: str | None = None, max_seconds: float | None = None, sample_rate: int = SAMPLE_RATE
) -> DecodedAudio:
    """Return the recording as int16 `[samples]` at `sample_rate`, with at least one sample, and what
    is doubtful about it. Its channels are averaged, unless they cancel each other.

    Errors name it `name`. A recording of more than `max_seconds` raises AudioTooLong: before it is decoded if its header
    says so and the file is as long, and otherwise as soon as so much is decoded, so memory is bounded. Samples of 16-bit
    mono files at `sample_rate` are returned unchanged.

    Raises AudioMissing, AudioUnreadable, AudioEmpty or AudioTooLong.
    """
    with read_pcm(source, name=name, max_seconds=max_seconds, sample_rate=sample_rate) as reader:
        pcm: Pcm = np.concatenate(list(reader.blocks()))
        return DecodedAudio(pcm, reader.info, reader.warnings)


@contextmanager
def read_pcm(
    source: Source,
    *,
    name: str | None = None,
    max_seconds: float | None = None,
    sample_rate: int = SAMPLE_RATE,
    channel: int | None = None,
    use_damaged: bool = False,
    require_reader: Callable[[], None] = lambda: None,
) -> Iterator["PcmReader"]:
    """Give a reader of the samples of decode(), for long recordings. Raises as decode().

    With `channel`, counted from 0, the others are ignored. A file without it raises AudioUnreadable.
    With `use_damaged`, it reads what can be decoded of a damaged or cut file, and warns. `require_reader` is called before
    each block is read, the first time before this function returns, and may raise an error that ends the reading.
    """
    with _opened(source, name) as (file, called):
        reader = open_reader(file, called)
        _require_rate(reader.header, called)
        _require_channel(reader.header, called, channel)
        bounds = _Bounds(called, max_seconds, use_damaged, require_reader)
        bounds.require_length(reader)
        mix = choose_mix(reader.header, lambda: bounds.blocks(reader), channel)
        yield PcmReader(reader, mix, bounds, sample_rate)


class PcmReader:
    """Decodes a recording in blocks of about a second, so that its length costs no memory."""

    def __init__(self, reader: Reader, mix: Mix, bounds: "_Bounds", sample_rate: int) -> None:
        self._reader, self._mix, self._bounds, self._sample_rate = reader, mix, bounds, sample_rate
        self._frames, self._clipped, self._range = 0, ClippedSamples(), (32_767, -32_768)

    def blocks(self) -> Iterator[Pcm]:
        """Yield the samples once. At least one block comes, and none is empty.

        Raises AudioUnreadable, AudioEmpty or AudioTooLong, also after some blocks.
        """
        rate, called = self._reader.header.sample_rate, self._bounds.called
        resampler = None if rate == self._sample_rate else soxr.ResampleStream(rate, self._sample_rate, 1, "float32")
        produced = False
        for block in self._bounds.blocks(self._reader):
            self._frames += len(block)
            mono = self._mix.apply(block)
            if not np.isfinite(mono).all():
                raise AudioUnreadable(called, "has samples that are not numbers; export it again as 16-bit wav")
            self._clipped.count(mono)
            pcm = _to_int16(mono if resampler is None else resampler.resample_chunk(mono))
            if len(pcm):
                produced = True
                yield self._measured(pcm)
        if self._frames == 0:
            raise AudioEmpty(called, "has no samples; record it again")
        if resampler is not None and len(
            last := _to_int16(resampler.resample_chunk(np.zeros(0, np.float32), last=True))
        ):
            produced = True
            yield self._measured(last)
        if not produced:
            raise AudioEmpty(called, f"is too short to resample ({self._frames} samples at {rate} Hz); record it again")

    @property
    def info(self) -> AudioInfo:
        """The properties of the file, complete after the last block."""
        header = self._reader.header
        return AudioInfo(header.sample_rate, header.channels, self._frames, header.format)

    @property
    def warnings(self) -> tuple[AudioWarning, ...]:
        """The reasons to doubt the recording, complete after the last block."""
        header = self._reader.header
        found = (
            *self._mix.warnings,
            length_unknown(header, self._frames),
            cut_short(header, self._frames) or damaged(header, self._frames, self._reader.damaged_seconds),
            self._clipped.warning(),
            silent(*self._range),
        )
        return tuple(warning for warning in found if warning is not None)

    def _measured(self, pcm: Pcm) -> Pcm:
        lowest, highest = self._range
        self._range = min(lowest, int(pcm.min())), max(highest, int(pcm.max()))
        return pcm


def load(
    source: Source, *, name: str | None = None, max_seconds: float | None = None, sample_rate: int = SAMPLE_RATE
) -> Pcm:
    """Return the samples of decode(), for callers that report no warnings. Raises as decode()."""
    return decode(source, name=name, max_seconds=max_seconds, sample_rate=sample_rate).pcm


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
def _opened(source: Source, name: str | None) -> Iterator[tuple[BinaryIO, str]]:
    """Yield a seekable file that begins where `source` does, and its name in errors."""
    with ExitStack() as stack:
        if isinstance(source, (str, PathLike)):
            called = name or fspath(source)
            try:
                file: BinaryIO = stack.enter_context(Path(source).open("rb"))
                if not file.seekable():
                    file = stack.enter_context(_copied(file))
            except OSError as error:
                raise AudioMissing(called, f"cannot be read ({error.strerror}); {_advice(error)}") from error
        else:
            file, called = source, name or str(getattr(source, "name", "audio"))
        if file.seek(0, io.SEEK_END) == 0:
            raise AudioEmpty(called, "is empty (0 bytes); record it again")
        yield file, called


def _advice(error: OSError) -> str:
    match error.errno:
        case errno.EISDIR:
            return "name the recordings in it"
        case errno.EACCES:
            return "make it readable"
        case _:
            return "correct the name, or copy the file there"


def _copied(pipe: BinaryIO) -> BinaryIO:
    """Return a temporary file with everything that comes from a pipe."""
    copy: BinaryIO = tempfile.TemporaryFile()  # noqa: SIM115 - the caller closes it
    shutil.copyfileobj(pipe, copy)
    return copy


def _require_rate(header: Header, called: str) -> None:
    if header.sample_rate < LOWEST_RATE:
        raise AudioUnreadable(
            called, f"has a sample rate of {header.sample_rate} Hz; record it at {LOWEST_RATE} Hz or more"
        )
    if header.sample_rate > HIGHEST_RATE:
        problem = f"has a sample rate of {header.sample_rate} Hz in its header"
        raise AudioUnreadable(called, f"{problem}, but at most {HIGHEST_RATE} Hz is supported; record or copy it again")


def _require_channel(header: Header, called: str, channel: int | None) -> None:
    if channel is not None and channel >= header.channels:
        has = "1 channel" if header.channels == 1 else f"{header.channels} channels"
        raise AudioUnreadable(called, f"has {has}, and channel {channel + 1} is not among them; correct the channel")


@dataclass(frozen=True)
class _Bounds:
    """Limits for reading a recording."""

    called: str
    max_seconds: float | None
    use_damaged: bool
    require_reader: Callable[[], None]

    def require_length(self, reader: Reader) -> None:
        """Raise AudioTooLong if the header announces too much. The header of a file that was cut may do so, too."""
        announced = reader.header.announced_frames
        if announced is not None and self._exceeded(reader, announced) and reader.reaches(self._most(reader)):
            raise self._too_long()

    def blocks(self, reader: Reader) -> Iterator[Block]:
        """Yield the blocks of a recording. Raises AudioTooLong, and AudioUnreadable for damage that may not be used."""
        frames, blocks = 0, reader.blocks()
        while True:
            self.require_reader()
            if (block := next(blocks, None)) is None:
                break
            if not self.use_damaged:
                self._require_whole(reader)
            frames += len(block)
            if self._exceeded(reader, frames):
                raise self._too_long()
            yield block
        if not self.use_damaged or not frames:
            self._require_whole(reader)

    def _exceeded(self, reader: Reader, frames: int) -> bool:
        return self.max_seconds is not None and frames > self._most(reader)

    def _most(self, reader: Reader) -> int:
        """Return the frames of the longest recording."""
        assert self.max_seconds is not None
        return int(self.max_seconds * reader.header.sample_rate)

    def _too_long(self) -> AudioTooLong:
        return AudioTooLong(self.called, f"is longer than {self.max_seconds:g} s; split it into shorter parts")

    def _require_whole(self, reader: Reader) -> None:
        if (seconds := reader.damaged_seconds) is not None:
            raise AudioUnreadable(self.called, f"is damaged after {seconds:.2f} s; record or copy it again")


def _to_int16(samples: NDArray[np.float32]) -> Pcm:
    pcm: Pcm = np.clip(np.rint(samples * 32768.0), -32768, 32767).astype(np.int16)
    return pcm
